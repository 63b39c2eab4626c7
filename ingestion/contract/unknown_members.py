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

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


class UnknownNames(NamedTuple):
    """The unknown members of an event: its name, and (path of the object, name) of each, sorted."""

    event: str
    members: tuple[tuple[str, str], ...]


def unknown_names(event: str, slices: Slices) -> UnknownNames | None:
    """Return the unknown members of a valid event, None if it has none."""
    found: list[tuple[str, str]] = []
    for known in _known(event):
        if raw := getattr(slices, known.path):
            _add_unknown(raw, known, found)
    return UnknownNames(event, tuple(sorted(found))) if found else None


def _add_unknown(raw: msgspec.Raw, known: _Known, found: list[tuple[str, str]]) -> None:
    # An optional object may be null.
    members = _decode_members(raw) or {}
    if not members.keys() <= known.names:
        found += [(known.path, name) for name in members if name not in known.names]
    for name, below in known.objects.items():
        if name in members:
            _add_unknown(members[name], below, found)


class _Known(NamedTuple):
    """The names that an object may have, and those of its members that are objects themselves."""

    path: str
    names: frozenset[str]
    objects: dict[str, _Known]


@cache
def _known(event: str) -> tuple[_Known, ...]:
    def known(path: str, members: Mapping[str, Member]) -> _Known:
        below = {
            name: known(f"{path}.{name}", member.members)
            for name, member in members.items()
            if member.members
        }
        return _Known(path, frozenset(members), below)

    plan = tracking_plan()
    return (
        known("actor", plan.actor),
        known("context", plan.context),
        known("properties", plan.events[event].properties),
    )


# Bounded: producers may invent any number of names.
@lru_cache(maxsize=4096)
def nearest_known(event: str, path: str, name: str) -> str | None:
    """Return the path of the known member that an unknown one may stand for, None if none is like.

    It is the member of the same object with the most similar name or, if none is similar, a member
    of the same name elsewhere in the event.
    """
    objects = dict(_objects(event))
    spellings = {other.lower(): f"{path}.{other}" for other in objects.get(path, ())}
    if close := difflib.get_close_matches(name.lower(), spellings, n=1):
        return spellings[close[0]]
    return next((f"{other}.{name}" for other, names in objects.items() if name in names), None)


def _objects(event: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of every object that an event may have, with the names of its members."""
    waiting = list(_known(event))
    while waiting:
        known = waiting.pop(0)
        yield known.path, sorted(known.names)
        waiting += known.objects.values()
