"""How the parts of `warehouse serve` on this machine do, in a file of the home.

`warehouse serve` writes it; `warehouse status` and a monitoring check read it.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

from warehouse import private_files
from warehouse.settings import settings

# A part that has ended so many times in a row is reported: starting it again did not help.
REPORTED_ENDS = 3


class PartState(msgspec.Struct, frozen=True):
    """How a part does: it runs as ``pid``, or it is down until it ``starts_at``.

    ``ended`` counts the times in a row that it ended by itself, the last time as ``how``.
    """

    name: str
    pid: int | None
    since: datetime
    ended: int = 0
    how: str | None = None
    starts_at: datetime | None = None


class Serving(msgspec.Struct, frozen=True):
    """How a running `warehouse serve` does: its own process, and its parts."""

    pid: int
    parts: list[PartState]


_decode = msgspec.json.Decoder(Serving).decode


def serving() -> Serving | None:
    """Return how the `warehouse serve` of this home does; None where none runs."""
    try:
        found = _decode(_file().read_bytes())
        os.kill(found.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return found


def described(found: Serving | None) -> str:
    """Return in a sentence or more how the parts do."""
    if found is None:
        return "`warehouse serve` does not run on this machine."
    troubled = [part for part in found.parts if part.ended or part.pid is None]
    if not troubled:
        return f"`warehouse serve` runs: {', '.join(part.name for part in found.parts)}."
    return "\n".join(
        ["`warehouse serve` runs, but:", *(f"- {_trouble(part)}" for part in troubled)]
    )


def failing(found: Serving | None) -> list[str]:
    """Return a sentence for each part that ends again and again."""
    parts = found.parts if found else []
    return [_trouble(part) for part in parts if part.ended >= REPORTED_ENDS]


def _trouble(part: PartState) -> str:
    since = f"{part.since:%Y-%m-%d %H:%M:%S} UTC"
    if not part.ended:
        return f"The {part.name} waits for the code server."
    times = "once" if part.ended == 1 else f"{part.ended} times in a row"
    ended = f"ended by itself {times}, the last time with {part.how}"
    if part.pid is None:
        return f"The {part.name} has been down since {since}: it {ended}."
    return f"The {part.name} runs since {since}, and {ended}."


def _file() -> Path:
    return settings().dagster_home / "serve.json"


def write(found: Serving) -> None:
    """Write how the parts do now."""
    private_files.make_folder(_file().parent)
    private_files.replace(_file(), msgspec.json.encode(found))


def forget() -> None:
    """Remove what is written: `warehouse serve` ends."""
    _file().unlink(missing_ok=True)
