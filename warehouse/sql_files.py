"""SQL of more than a few lines is in files, ``sql/NAME.sql`` beside the module that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString, cast


def read_sql(module_file: str, name: str) -> LiteralString:
    """Return the text of a file; ``module_file`` is the module's ``__file__``."""
    path = Path(module_file).with_name("sql") / f"{name}.sql"
    # As much the program's own text as a literal is: psycopg asks for one.
    return cast(LiteralString, path.read_text("utf-8"))
