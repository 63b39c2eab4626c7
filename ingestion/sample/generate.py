"""Generates a sample of a small business: 135 days of events and their entities.

The sample has the properties of a real feed: consistent stories (a lead asks, is answered, books,
pays and rates), growth, weekends, churn, late and duplicate events, lines without consent and
invalid lines. The same seed gives the same bytes.

There are three steps: a *world* (clients, users, units, documents) is generated, *families* of
events are generated for it, and the events become *lines* with arrival times.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ingestion.sample.arrival import EVENT_FILES, by_arrival, lines, settled
from ingestion.sample.business import (
    api_costs,
    builder,
    credits,
    dashboards,
    revenue,
    subscriptions,
)
from ingestion.sample.events import Event, dumped
from ingestion.sample.leads import lead_stories
from ingestion.sample.operations import api_requests, system_metrics
from ingestion.sample.traffic import signups, traffic
from ingestion.sample.usage import chats, engagement
from ingestion.sample.world import World, draw_world, entity_rows
from warehouse import private_files

Family = Callable[[World, Random], Iterator[Event]]


@dataclass(frozen=True)
class SampleFiles:
    """The written files: event files in the order to load them, entity files by kind."""

    events: tuple[Path, ...]
    entities: dict[str, Path]


def write_sample(directory: Path, *, seed: int = 7) -> SampleFiles:
    """Write the sample into ``directory`` (created if missing) and return its files.

    A file gets its name only when it is complete; files of an earlier run are replaced.
    """
    private_files.make_folder(directory)
    world = draw_world(Random(f"{seed}:world"))

    entities = {}
    for kind, rows in entity_rows(world).items():
        entities[kind] = directory / f"{kind}.ndjson"
        _write(entities[kind], [dumped(row) for row in rows])

    events: list[Event] = []
    for name, family in FAMILIES.items():
        events.extend(family(world, Random(f"{seed}:{name}")))

    files = by_arrival(lines(settled(events, world, seed), seed))
    for name in EVENT_FILES:
        _write(directory / name, files[name])
    return SampleFiles(tuple(directory / name for name in EVENT_FILES), entities)


FAMILIES: dict[str, Family] = {
    "leads": lead_stories,
    "traffic": traffic,
    "signups": signups,
    "engagement": engagement,
    "chats": chats,
    "subscriptions": subscriptions,
    "revenue": revenue,
    "credits": credits,
    "api_costs": api_costs,
    "builder": builder,
    "dashboards": dashboards,
    "api_requests": api_requests,
    "system_metrics": system_metrics,
}


def _write(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines under a temporary name, compressed for .gz, and rename the complete file."""
    content = b"".join(line + b"\n" for line in lines)
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
