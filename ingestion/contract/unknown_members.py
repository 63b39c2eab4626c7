"""Finds the members of an event that the tracking plan does not know, and what they may stand for.

They are kept as received. Many are misspellings, so loads count and report them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import NamedTuple

import msgspec

from ingestion.contract.envelope import Slices
from ingestion.contract.tracking_plan import Member, tracking_plan

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class UnknownNames(NamedTuple):
    """The unknown members of an event: its name, and (path of the object, name) of each, sorted."""

    event: str
    members: tuple[tuple[str, str], ...]


def unknown_names(event: str, slices: Slices) -> UnknownNames | None:
    """Return the unknown members of a valid event, None if it has none."""
    found = [
        unknown
        for part, known in _known(event).items()
        if (raw := getattr(slices, part))
        for unknown in _unknown_below(part, raw, known)
    ]
    return UnknownNames(event, tuple(sorted(found))) if found else None


def _unknown_below(
    path: str, raw: msgspec.Raw, known: Mapping[str, Member]
) -> Iterator[tuple[str, str]]:
    # An optional object may be null.
    for name, value in (_decode_members(raw) if bytes(raw) != b"null" else {}).items():
        member = known.get(name)
        if member is None:
            yield path, name
        elif member.members:
            yield from _unknown_below(f"{path}.{name}", value, member.members)


@cache
def _known(event: str) -> dict[str, Mapping[str, Member]]:
    plan = tracking_plan()
    return {
        "actor": plan.actor,
        "context": plan.context,
        "properties": plan.events[event].properties,
    }


# Bounded: producers may invent any number of names.
@lru_cache(maxsize=4096)
def nearest_known(event: str, path: str, name: str) -> str | None:
    """Return the path of the known member that an unknown one may stand for, None if none is like.

    It is the member of the same object with the most similar name or, if none is similar, a member
    of the same name elsewhere in the event.
    """
    known = dict(_paths(event))
    spellings = {other.lower(): f"{path}.{other}" for other in known.get(path, ())}
    if close := difflib.get_close_matches(name.lower(), spellings, n=1):
        return spellings[close[0]]
    elsewhere = (f"{other}.{name}" for other, names in known.items() if name in names)
    return next(elsewhere, None)


@cache
def _paths(event: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return every object that an event may have, with the names of its known members."""

    def below(path: str, members: Mapping[str, Member]) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield path, tuple(members)
        for name, member in members.items():
            if member.members:
                yield from below(f"{path}.{name}", member.members)

    return tuple(found for part, known in _known(event).items() for found in below(part, known))
