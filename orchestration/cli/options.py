"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import getpass
import os
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.output import message
from warehouse.errors import ExitCode

if TYPE_CHECKING:
    from ingestion.load.ledger import Counts

# As the value of an option that names a person or client: read it from standard input. Arguments
# are visible to everyone on the machine in the list of processes.
FROM_STANDARD_INPUT = "-"


def user_name() -> str:
    """Return who runs this: a name, or the number of a user without one, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
By = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Who does this; `-` reads the name from standard input. Default: the current user.",
        default_factory=user_name,
        show_default=False,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 3 if lines were rejected.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Change nothing; show what would be deleted.")
]


def parse_day(text: str) -> date:
    """Return a day of the form 2026-01-31. Raises typer.BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a day: write it like 2026-01-31 (year-month-day)"
        ) from None


def parse_instant(text: str) -> datetime:
    """Return a time with its offset from UTC. Raises typer.BadParameter."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min
    if instant.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} is not a time with a time zone: write it like 2026-01-31T00:00:00Z"
        )
    return instant


def read_names(**options: str | None) -> dict[str, str | None]:
    """Return the options; the value of one that is `-` is the line on standard input.

    Raises typer.BadParameter.
    """
    asking = [name for name, value in options.items() if value == FROM_STANDARD_INPUT]
    if not asking:
        return options
    if len(asking) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in asking)
        raise typer.BadParameter(f"{names} can't both be read from standard input")
    try:
        given = "" if sys.stdin is None else sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is not UTF-8 text") from None
    line = given.removesuffix("\n").removesuffix("\r")
    if not line or "\n" in line:
        what = "several lines" if line else "none"
        raise typer.BadParameter(f"expected one line on standard input, got {what}")
    return options | {asking[0]: line}


def exit_if_all_rejected(total: Counts) -> None:
    """End with the exit code of a failure if there were lines and each was rejected."""
    if 0 < total.received == total.rejected:
        message("Nothing was loaded: every line was rejected.")
        raise SystemExit(ExitCode.FAILED)


def exit_if_rejected(count: int, strict: bool) -> None:
    """End with the exit code for rejected lines, if there are any and `--strict` is given."""
    if strict and count:
        raise SystemExit(ExitCode.REJECTED)
