"""What a query of the API makes the database do, counted instead of timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from serving.mart_query import MartQuery, page_statement


@dataclass(frozen=True)
class Work:
    """The rows that were read, passed on or not, the pages, and by how many scans.

    ``removed`` are rows that were read and not passed on.
    """

    rows: int
    removed: int
    pages: int
    scans: int
    nodes: str


def work_of(owner: psycopg.Connection, role: str, query: MartQuery) -> Work:
    """Run a page of a mart in a role, as the API does, and return what it took."""
    return work_of_statement(owner, role, page_statement(query.shape), query.values)


def work_of_statement(
    owner: psycopg.Connection, role: str, statement: bytes, values: Mapping[str, Any]
) -> Work:
    """Run a statement in a role, within a transaction of the owner, and return what it took."""
    # Parameters of `explain` have no values when it plans: the client writes them.
    with psycopg.ClientCursor(owner) as cursor:
        cursor.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        try:
            cursor.execute(
                b"explain (analyze, buffers, timing off, format json) " + statement, values
            )
            ((found,),) = cursor.fetchall()
        finally:
            cursor.execute("reset role")
    plan = found[0]["Plan"]
    nodes = list(_nodes(plan))
    scans = [node for node in nodes if "Relation Name" in node or "Index Name" in node]
    removed = sum(round(_removed(node) * node["Actual Loops"]) for node in nodes)
    passed = sum(round(node["Actual Rows"] * node["Actual Loops"]) for node in scans)
    return Work(
        passed + removed,
        removed,
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        sum(node["Actual Loops"] for node in scans),
        " ".join(f"{node['Node Type']} {node.get('Index Name', '')}" for node in nodes),
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _removed(node: dict[str, Any]) -> float:
    return sum(
        value for name, value in node.items() if name.startswith("Rows Removed by") and value
    )


# Tables of the marts and of what views among them read, with their columns and those of their keys.
_TABLES = """
    select
        c.oid::regclass::text,
        array_agg(a.attname::text order by a.attnum),
        array_agg(format_type(a.atttypid, a.atttypmod) order by a.attnum),
        (
            select array_agg(k.attname::text)
            from pg_index as i
            inner join pg_attribute as k on i.indrelid = k.attrelid and k.attnum = any(i.indkey)
            where i.indrelid = c.oid and i.indisunique
        )
    from pg_class as c
    inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
    where
        c.relkind = 'r' and a.attgenerated = '' and a.attidentity = ''
        and (
            c.relnamespace = 'marts'::regnamespace
            or c.oid in (
                'intermediate.int_clients'::regclass, 'intermediate.int_users'::regclass,
                'intermediate.int_documents'::regclass, 'warehouse.restatements'::regclass
            )
        )
    group by c.oid
"""
_OF_RIVAL = {
    "client_id": sql.SQL("client_id = 'rival'"),
    "user_id": sql.SQL("right(user_id, 9) = ' of rival'"),
}


def grow_rival(owner: psycopg.Connection, rows: int) -> int:
    """Add about so many copies of rival's rows to each table; return to how many tables.

    Events get new ids and stay rival's; other rows become those of further tenants like it.
    """
    grown = 0
    for table, columns, types, found in owner.execute(_TABLES).fetchall():
        of_rival = next((_OF_RIVAL[name] for name in _OF_RIVAL if name in columns), None)
        if of_rival is None:
            continue
        key, kinds = found or (), dict(zip(columns, types, strict=True))
        by_uuid = [name for name in key if kinds.get(name) == "uuid"]
        by_text = [name for name in (*_OF_RIVAL, *columns) if name in key and kinds[name] == "text"]
        changed = by_uuid or by_text[:1]
        values = [_copied(name, kinds[name]) if name in changed else sql.Identifier(name)
                  for name in columns]  # fmt: skip
        ((count,),) = owner.execute(
            sql.SQL("select count(*) from {} where {}").format(sql.SQL(table), of_rival)
        ).fetchall()
        if not count:
            continue
        owner.execute(
            sql.SQL(
                "insert into {table} ({columns}) select {values} from {table} "
                "cross join (select %(rows)s || '-' || n as n from generate_series(1, %(copies)s) "
                "as n) as copies where {of_rival}"
            ).format(
                table=sql.SQL(table),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
                values=sql.SQL(", ").join(values),
                of_rival=of_rival,
            ),
            {"rows": rows, "copies": max(1, rows // count)},
        )
        owner.execute(sql.SQL("analyze {}").format(sql.SQL(table)))
        grown += 1
    return grown


def _copied(column: str, type: str) -> sql.Composable:
    if type == "uuid":
        return sql.SQL("gen_random_uuid()")
    return sql.Identifier(column) + sql.SQL(" || '-' || n")
