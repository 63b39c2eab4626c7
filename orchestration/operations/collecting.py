"""How far the collector is behind: what waits in its spool on this machine."""

from __future__ import annotations

from datetime import timedelta

from ingestion.collector.segments import Waiting, waiting
from warehouse.settings import settings

# It lands within seconds. A restart of the database takes less than this.
LAG_LIMIT = timedelta(minutes=5)


def spooled() -> Waiting:
    """Return what waits in the spool; nothing where no collector has run."""
    return waiting(settings().spool_folder)


def is_behind(found: Waiting) -> bool:
    """Return whether an event waits for longer than it should."""
    return found.oldest_seconds > LAG_LIMIT.total_seconds()


def described(found: Waiting) -> str:
    """Return in one sentence what waits."""
    if not found.segments:
        return "Nothing waits in the collector's spool."
    age = timedelta(seconds=round(found.oldest_seconds))
    return f"{found.bytes:,} bytes wait in the collector's spool, the oldest for {age}."
