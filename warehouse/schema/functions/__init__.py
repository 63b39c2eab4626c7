"""The database's own functions and views: one SQL file each, ``SCHEMA/NAME.sql``.

A file holds the one current definition (``create or replace``), with all overloads of the name. It
is run whenever its text has changed. Where that changes arguments or results, which PostgreSQL does
not replace, the file begins with the ``drop function if exists`` of the old signature.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
from psycopg import sql

FUNCTIONS = Path(__file__).parent


def apply_functions(connection: psycopg.Connection) -> None:
    """Run the files whose text is not the one that was run last; drop what has no file any more.

    Runs in the caller's transaction, who keeps others from doing the same at that time.
    """
    applied = dict(connection.execute("select name, digest from warehouse.functions").fetchall())
    # A function may call one that is made after it; views read tables and earlier views.
    connection.execute("set local check_function_bodies = off")
    for path in sorted(FUNCTIONS.glob("*/*.sql")):
        name = f"{path.parent.name}.{path.stem}"
        text = path.read_bytes()
        digest = hashlib.sha256(text).hexdigest()
        if applied.pop(name, None) != digest:
            connection.execute(text)
            connection.execute(
                "insert into warehouse.functions (name, digest) values (%s, %s) "
                "on conflict (name) do update set digest = excluded.digest",
                (name, digest),
            )
    for name in applied:
        _drop(connection, name)
    connection.execute("set local check_function_bodies = on")


def _drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a view, or all functions, of this name."""
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
    connection.execute("delete from warehouse.functions where name = %s", (name,))
