"""Recognizes why the server refused a row of events.

The coordinator of a cluster reports what a worker refused as an internal error (XX000) with the
worker's message, which is in English where ``lc_messages`` is (docs/scaling.md).
"""

from __future__ import annotations

import psycopg

_DUPLICATE = "duplicate key value violates unique constraint"
_NO_PARTITION = "no partition of relation"


def is_duplicate(error: psycopg.Error) -> bool:
    """Return whether a row with the same key is there already."""
    return isinstance(error, psycopg.errors.UniqueViolation) or _quotes(error, _DUPLICATE)


def lacks_partition(error: psycopg.Error) -> bool:
    """Return whether there is no partition for a row."""
    if isinstance(error, psycopg.errors.CheckViolation):
        # Only a check that is broken has a name.
        return error.diag.constraint_name is None
    return _quotes(error, _NO_PARTITION)


def _quotes(error: psycopg.Error, message: str) -> bool:
    is_relayed = isinstance(error, psycopg.errors.InternalError_)
    return is_relayed and message in f"{error} {error.diag.message_detail}"
