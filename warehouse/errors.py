"""Errors that people read."""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """How a command ends; 2, wrong usage, is Typer's."""

    FAILED = 1
    REJECTED = 3
    CHECK_FAILED = 4


class WarehouseError(Exception):
    """Something failed; the message says what, where and what to do, and holds no secret."""

    exit_code = ExitCode.FAILED


def printable(path: str | Path) -> str:
    """Return a path, or what names one, as text that the ledger can hold, whatever its bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
