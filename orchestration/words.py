"""The words of the warehouse's own: rows of everybody hold them, so none of them is erased."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import cache

import msgspec
import psycopg

from ingestion import ledger
from ingestion.consent import BROWSER_SOURCES
from ingestion.entities import SHAPES
from ingestion.functions import FUNCTIONS
from ingestion.line import Reason
from ingestion.migrate import MIGRATIONS
from ingestion.tracking_plan import Member, tracking_plan
from orchestration.build import DBT_PROJECT

_comments = re.compile(r"--[^\n]*|\{#.*?#\}", re.DOTALL).sub
_literals = re.compile(r"'([^'\n]+)'").findall
# What is shorter, or begins otherwise, is punctuation, a flag or a number.
_is_word = re.compile(r"[A-Za-z_]..").match


@cache
def own_words() -> frozenset[str]:
    """Return the words of the plan, of entities, and of the project's SQL and seeds."""
    plan = tracking_plan()
    words = {"_platform", ledger.EVENTS, ledger.ERASURE, *plan.events, *BROWSER_SOURCES, "api"}
    for members in (plan.actor, plan.context, *(e.properties for e in plan.events.values())):
        words.update(_of_members(members))
    for kind, shape in SHAPES.items():
        words.update((kind.value, *_of_shape(shape)))
    words.update(reason.value for reason in Reason)
    for file in (
        path for folder in (MIGRATIONS, FUNCTIONS, DBT_PROJECT) for path in folder.rglob("*.sql")
    ):
        literals = _literals(_comments("", file.read_text("utf-8")))
        words.update((file.stem, *filter(_is_word, literals)))
    for file in DBT_PROJECT.glob("seeds/*.csv"):
        for row in csv.reader(file.read_text("utf-8").splitlines()):
            words.update(filter(_is_word, row))
    return frozenset(words)


def names_kept(connection: psycopg.Connection) -> set[str]:
    """Return the names of tables, columns, checks and jobs, which rows hold as values."""
    return {
        name
        for (name,) in connection.execute(
            "with relations as ("
            "select c.oid, n.nspname, c.relname from pg_class as c "
            "inner join pg_namespace as n on c.relnamespace = n.oid "
            "where n.nspname in ('staging', 'intermediate', 'marts', 'export', 'warehouse') "
            "and c.relkind in ('r', 'p', 'v', 'm') and pg_has_role(c.relowner, 'usage')"
            ") select relname from relations "
            "union select nspname || '.' || relname from relations "
            "union select a.attname from pg_attribute as a "
            "inner join relations as r on a.attrelid = r.oid where a.attnum > 0 "
            "union select check_name from warehouse.check_results "
            "union select job from warehouse.run_events where event <> 'file_set_aside'"
        )
    }


def _of_members(members: dict[str, Member]) -> Iterator[str]:
    for name, member in members.items():
        yield name
        yield from member.one_of or ()
        yield from _of_members(member.members)


def _of_shape(shape: type[msgspec.Struct]) -> Iterator[str]:
    """Yield the columns of an entity, and the values of those that have only some."""
    for field in msgspec.structs.fields(shape):
        yield field.name
    for field in msgspec.inspect.type_info(shape).fields:
        for one in getattr(field.type, "types", (field.type,)):
            yield from getattr(one, "values", ())
