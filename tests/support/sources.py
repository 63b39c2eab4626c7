"""Operational databases for tests of `warehouse pull`, beside the warehouse in the same server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.sources.postgres import pull as pulls
from ingestion.sources.postgres.compare import Compared, compare
from ingestion.sources.postgres.declared import find_source
from ingestion.sources.postgres.pull import Pulled
from tests.support.lines import rows
from warehouse.settings import settings

VARIABLE = "SHOP_URL"
TABLES = """
create table messages (
    id bigint generated always as identity primary key,
    client_id text not null,
    lead_id text not null,
    direction text not null default 'inbound',
    body text not null default 'private words',
    updated_at timestamptz not null default now()
);
create table accounts (
    id text primary key,
    name text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
"""
STREAMS = {
    "messages": """
        select
            id as key,
            'message' as event,
            updated_at as "timestamp",
            jsonb_build_object('client_id', client_id, 'lead_id', lead_id) as actor,
            jsonb_build_object('direction', direction, 'sender_type', 'lead') as properties
        from messages
        where updated_at >= :since and updated_at < :until;
    """,
    "accounts": """
        select id as client_id, name, created_at, updated_at
        from accounts where updated_at >= :since and updated_at < :until
    """,
}


@contextmanager
def source_of(
    folder: Path,
    url: str,
    streams: Mapping[str, str] = STREAMS,
    *,
    name: str = "shop",
    **declaration: object,
) -> Iterator[Path]:
    """Declare a source in a folder of sources that the settings point to; give its folder."""
    declared = {"url_variable": VARIABLE} | declaration
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    (own / "source.yml").write_text(json.dumps(declared))
    for stream, text in streams.items():
        (own / f"{stream}.sql").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_SOURCES", str(folder))
        patch.setenv(VARIABLE, url)
        settings.cache_clear()
        yield own
    settings.cache_clear()


def pull(
    name: str = "shop", *, full: bool = False, overlap: timedelta | None = None
) -> dict[str, Pulled]:
    """Pull all streams of a source; return what became of each.

    ``overlap`` may be shorter than a declared one: then only open transactions are reread.
    """
    source = find_source(name)
    if overlap is not None:
        source = replace(source, overlap=overlap)
    with pulls.opened(source) as context:
        return {one.stream: one for one in pulls.pull(context, source.streams, full=full)}


def compared(name: str = "shop", back: timedelta = timedelta(hours=1)) -> dict[str, Compared]:
    """Compare all streams of a source over a span of time."""
    source = find_source(name)
    with pulls.opened(source, is_recorded=False) as context:
        return {one.stream: one for one in compare(context, source.streams, back)}


def events(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Return the rows that are events, by key and time."""
    return rows(
        connection,
        "select context ->> 'row', timestamp from staging.raw_events order by 1, 2",
    )
