"""Loads and builds along any path, for tests that hold where it ends against a reference."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, settings
from psycopg import sql
from psycopg.rows import dict_row

from ingestion.entities import EntityKind
from orchestration.build import BuildOptions, build
from tests.building import build_at, land, land_entities, start_afresh
from tests.conftest import examples

Row = dict[str, Any]


def few_cases(count: int) -> settings:
    """Return the settings of a test whose cases take seconds: failures are shown as found."""
    return settings(
        examples(count), suppress_health_check=list(HealthCheck), phases=(Phase.generate,)
    )


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

    def walk(self, events: list[Row], *entities: Entities) -> datetime:
        """Go from an empty warehouse to one that holds all of this; return its as_of."""
        chance = random.Random(self.seed)
        start_afresh(self.connection)
        looks = sorted(chance.sample(range(len(self.as_ofs)), chance.randint(1, 4)))
        for position in looks:
            for batch in _batches(chance, events, parts=len(looks)):
                land(self.directory, batch)
            for kind in entities:
                if chance.random() < 0.5:
                    self._land_some(chance, kind)
            build_at(self.as_ofs[position])
            self._detour(chance, self.as_ofs[position])
        land(self.directory, events)
        for kind in entities:
            land_entities(self.directory, kind.kind, kind.rows)
        as_of = self.as_ofs[chance.randint(looks[-1], len(self.as_ofs) - 1)]
        build_at(as_of)
        return as_of

    def _land_some(self, chance: random.Random, entities: Entities) -> None:
        once = [entities.once(chance, row) for row in entities.rows]
        for rows in (once, entities.rows):
            land_entities(self.directory, entities.kind, chance.sample(rows, len(rows) // 2))

    def _detour(self, chance: random.Random, as_of: datetime) -> None:
        """Something that must not matter: a model alone, a window again, a refresh of one."""
        match chance.randint(0, 5):
            case 0:
                build_at(as_of, select=chance.choice(self.models))
            case 1:
                start = as_of.date() - timedelta(days=chance.randint(0, 40))
                build(BuildOptions(start=start, end=start + timedelta(days=chance.randint(1, 40))))
            case 2:
                build_at(as_of, full_refresh=True, select=chance.choice(self.models))


def _batches(chance: random.Random, events: list[Row], parts: int) -> list[list[Row]]:
    """Some of the events, in any order, some of them twice, as a batch or two."""
    some = chance.sample(events, len(events) * chance.randint(0, 2) // (parts + 1))
    again = chance.sample(some, len(some) // 4)
    cut = chance.randint(0, len(some))
    return [some[:cut], some[cut:] + again]


def hold_against(connection: psycopg.Connection, expected: Mapping[str, Iterable[Row]]) -> None:
    """Hold marts, by name, against the rows that a reference tells."""
    for mart, rows in expected.items():
        wanted = _comparable(rows)
        columns = list(wanted[0]) if wanted else []
        found = (
            connection.cursor(row_factory=dict_row)
            .execute(
                sql.SQL("select {} from {}").format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("marts", mart)
                )
            )
            .fetchall()
        )
        rows = _comparable(found)
        missing = [row for row in wanted if row not in rows]
        too_many = [row for row in rows if row not in wanted]
        assert (missing, too_many, len(rows)) == ([], [], len(wanted)), mart


def _comparable(rows: Iterable[Row]) -> list[Row]:
    return sorted(({name: _plain(value) for name, value in row.items()} for row in rows), key=repr)


def _plain(value: object) -> object:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return Decimal(value).normalize() + 0
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    return value
