"""Loads, builds and erasures along any path, to hold where it ends against a reference."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import HealthCheck, assume, settings

from ingestion.load.entities import EntityKind
from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.operations.build import BuildOptions, build
from orchestration.operations.erase import erase
from tests.conftest import examples
from tests.support.building import dbt_runs, land, land_entities, start_afresh

Row = dict[str, Any]


# A walk takes seconds: too long for the streams of next to nothing that Hypothesis begins with.
FEWEST_EVENTS = 20


def few_cases(count: int) -> settings:
    """Return the settings of a test whose examples take seconds each."""
    return settings(examples(count), suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Entities:
    """Entities of a kind as they are in the end, and as they may have been some day before."""

    kind: EntityKind
    rows: list[Row]
    once: Callable[[random.Random, Row], Row]


@dataclass(frozen=True)
class AnyPath:
    """A way to the marts: loads in any order, with every kind of build in between."""

    connection: psycopg.Connection
    directory: Path
    seed: int
    as_ofs: Sequence[datetime]
    models: Sequence[str]
    erased: list[Subject] = field(default_factory=list)

    def walk(self, events: list[Row], *entities: Entities) -> datetime:
        """Go from an empty warehouse to one that holds all of this; return its as_of.

        Less what is of the subjects that are erased on the way, which is loaded again after that:
        see `left`.
        """
        assume(self.seed > 0 and len(events) >= FEWEST_EVENTS)
        chance = random.Random(self.seed)
        start_afresh(self.connection, keeps_code=chance.random() < 0.8)
        looks = sorted(chance.sample(range(len(self.as_ofs)), chance.randint(1, 4)))
        erases_at = chance.choice(looks)
        for position in looks:
            for batch in _batches(chance, events, parts=len(looks)):
                land(self.directory, batch)
            for kind in entities:
                if chance.random() < 0.5:
                    self._land_some(chance, kind)
            self._build(chance, as_of=self.as_ofs[position])
            self._detour(chance, self.as_ofs[position])
            if position == erases_at:
                self._erase_some(chance, events)
        self._land_all_again(events, entities)
        if chance.random() < 0.5:
            # The next build then has no unread input.
            self._build(chance, as_of=self.as_ofs[looks[-1]])
        as_of = self.as_ofs[chance.randint(looks[-1], len(self.as_ofs) - 1)]
        self._build(chance, as_of=as_of)
        return as_of

    def left(self, rows: Iterable[Row]) -> list[Row]:
        """Return the events or entities that name nobody erased, nor mention them in a path."""
        named_nobody = [
            row for row in rows if not any(_is_of(row, subject) for subject in self.erased)
        ]
        for subject in self.erased:
            named_nobody = [_without(row, subject) for row in named_nobody]
        return named_nobody

    def _erase_some(self, chance: random.Random, events: list[Row]) -> None:
        subjects = sorted(_subjects(events), key=repr)
        for subject in chance.sample(subjects, min(len(subjects), chance.randint(1, 2))):
            # News may wait meanwhile: the erasure's build is the first to see them.
            land(self.directory, chance.sample(events, len(events) // 4))
            receipt = erase(subject, "somebody")
            assert (receipt.state, receipt.found) == ("verified", {})
            self.erased.append(subject)

    def _land_all_again(self, events: list[Row], entities: Iterable[Entities]) -> None:
        suppressed = land(self.directory, events).suppressed_erased
        assert suppressed == len(events) - len(self.left(events))
        for kind in entities:
            suppressed = land_entities(self.directory, kind.kind, kind.rows).suppressed_erased
            assert suppressed == len(kind.rows) - len(self.left(kind.rows))

    def _land_some(self, chance: random.Random, entities: Entities) -> None:
        once = [entities.once(chance, row) for row in entities.rows]
        for rows in (once, entities.rows):
            land_entities(self.directory, entities.kind, chance.sample(rows, len(rows) // 2))

    def _build(self, chance: random.Random, **options: Any) -> None:
        """Build with dbt, or without it where nothing has to be compiled."""
        with dbt_runs(always=chance.random() < 0.25):
            build(BuildOptions(**options))

    def _detour(self, chance: random.Random, as_of: datetime) -> None:
        """Something that must not matter: a model alone, a window again, a refresh."""
        match chance.randint(0, 6):
            case 0:
                self._build(chance, as_of=as_of, select=chance.choice(self.models))
            case 1:
                start = as_of.date() - timedelta(days=chance.randint(0, 40))
                end = start + timedelta(days=chance.randint(1, 40))
                self._build(chance, start=start, end=end)
            case 2:
                model = chance.choice(self.models)
                self._build(chance, as_of=as_of, full_refresh=True, select=model)
            case 3:
                self._build(chance, as_of=as_of, full_refresh=True)


def _subjects(events: Iterable[Row]) -> set[Subject]:
    """Everybody who may be erased; a lead of one client, or whosever lead bears its id."""
    found = set()
    for event in events:
        actor = event["actor"]
        for kind in SubjectKind:
            # Words of the warehouse itself: it refuses to erase somebody of that name.
            if not actor.get(kind) or actor[kind] in {"_platform", "none"}:
                continue
            found.add(Subject(kind, actor[kind]))
            if kind in (SubjectKind.LEAD, SubjectKind.ANONYMOUS) and actor.get("client_id"):
                found.add(Subject(kind, actor[kind], actor["client_id"]))
    return found


def _is_of(row: Row, subject: Subject) -> bool:
    """Tell whether an event or entity holds the identifier, as a whole, in any place."""
    if subject.of_client and row.get("actor", row).get("client_id") != subject.of_client:
        return False
    return subject.identifier in _strings(row)


def _without(row: Row, subject: Subject) -> Row:
    """Return an event with the identifier cut out of its page's path, where it is a segment."""
    context = row.get("context") or {}
    page = context.get("page") or {}
    path = page.get("path")
    if not path or (subject.of_client and row["actor"]["client_id"] != subject.of_client):
        return row
    segments = [one if one != subject.identifier else "(erased)" for one in path.split("/")]
    return row | {"context": context | {"page": page | {"path": "/".join(segments)}}}


def _strings(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set(value).union(*map(_strings, value.values()))
    return set().union(*map(_strings, value)) if isinstance(value, list) else set()


def _batches(chance: random.Random, events: list[Row], parts: int) -> list[list[Row]]:
    """Some of the events, in any order, some of them twice, as a batch or two."""
    some = chance.sample(events, len(events) * chance.randint(0, 2) // (parts + 1))
    again = chance.sample(some, len(some) // 4)
    cut = chance.randint(0, len(some))
    return [some[:cut], some[cut:] + again]
