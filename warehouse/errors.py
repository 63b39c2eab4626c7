"""The base of all errors that are shown to users."""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of the commands; 2, wrong usage, comes from Typer."""

    FAILED = 1
    REJECTED = 3
    CHECK_FAILED = 4
    # What shells report of a process that Ctrl-C ended.
    INTERRUPTED = 130


class WarehouseError(Exception):
    """A failure. The message says what happened, where and how to fix it; it holds no secret."""

    exit_code = ExitCode.FAILED


def printable(path: str | Path) -> str:
    """Return a path as valid text for the ledger and messages, whatever bytes it consists of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
