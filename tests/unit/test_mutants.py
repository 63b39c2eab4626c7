from __future__ import annotations

import pytest

from ingestion.settings import PROJECT_DIR
from tests.mutants import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_changes_stands_in_the_file(name):
    for edit in MUTANTS[name]:
        assert edit.old in (PROJECT_DIR / edit.file).read_text("utf-8")
