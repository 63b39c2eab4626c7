"""Errors that people read."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ends; 2, wrong usage, is Typer's."""

    FAILED = 1
    REJECTED = 3
    CHECK_FAILED = 4


class WarehouseError(Exception):
    """Something failed; the message says what, where and what to do, and holds no secret."""

    exit_code = ExitCode.FAILED
