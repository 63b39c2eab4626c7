"""The database's functions and views: one SQL file each, ``SCHEMA/NAME.sql``.

A file holds the current definition (``create or replace``) of all overloads of its name and is run
whenever its text has changed. PostgreSQL can't replace a function with other arguments or results:
such a change needs a ``drop function if exists`` of the old signature at the start of the file.
"""

from __future__ import annotations

import hashlib
import re
from graphlib import TopologicalSorter
from pathlib import Path

import psycopg
from psycopg import sql

FUNCTIONS = Path(__file__).parent


def apply_functions(connection: psycopg.Connection) -> None:
    """Run the files whose text has changed; drop functions and views that have no file any more.

    Runs in the caller's transaction. The caller holds the lock that keeps others from doing the
    same.
    """
    applied = dict(
        connection.execute(
            "select name, digest from warehouse.applied_files where name <> 'access'"
        ).fetchall()
    )
    # A function may call another one that is created after it.
    connection.execute("set local check_function_bodies = off")
    for name, text in _in_order({_name(path): path.read_bytes() for path in _files()}):
        digest = hashlib.sha256(text).hexdigest()
        if applied.pop(name, None) != digest:
            connection.execute(text)
            connection.execute(
                "insert into warehouse.applied_files (name, digest) values (%s, %s) "
                "on conflict (name) do update set digest = excluded.digest",
                (name, digest),
            )
    for name in applied:
        _drop(connection, name)
    connection.execute("set local check_function_bodies = on")


def _files() -> list[Path]:
    return sorted(FUNCTIONS.glob("*/*.sql"))


def _name(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def _in_order(texts: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """Return the files in running order: functions, then each view after those that it reads."""
    views = {name for name, text in texts.items() if re.search(rb"(?m)^create .*view ", text)}
    reads = {
        name: {
            other
            for other in views - {name}
            if re.search(rb"\b%s\b" % re.escape(other).encode(), texts[name])
        }
        for name in views
    }
    ordered = [*sorted(set(texts) - views), *TopologicalSorter(reads).static_order()]
    return [(name, texts[name]) for name in ordered]


def _drop(connection: psycopg.Connection, name: str) -> None:
    """Drop the view, or all functions, of this name."""
    identifier = sql.Identifier(*name.split("."))
    ((is_view,),) = connection.execute("select to_regclass(%s) is not null", (name,))
    if is_view:
        connection.execute(sql.SQL("drop view {}").format(identifier))
    else:
        signatures = connection.execute(
            "select oid::regprocedure::text from pg_proc "
            "where pronamespace::regnamespace::text || '.' || proname = %s",
            (name,),
        ).fetchall()
        for (signature,) in signatures:
            connection.execute(sql.SQL("drop function {}").format(sql.SQL(signature)))
    connection.execute("delete from warehouse.applied_files where name = %s", (name,))
