"""What tests of builds share: events to land, builds by a warm dbt, and the state they leave."""

from __future__ import annotations

import fcntl
import itertools
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import parsedatetime
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row, dict_row

from ingestion.load.entities import EntityKind, load_entities
from ingestion.load.ledger import Counts
from ingestion.load.loader import load
from ingestion.sources.files import open_source
from orchestration.operations import build as builds
from orchestration.operations import lineage
from orchestration.operations.build import BuildOptions, BuildResult, build
from orchestration.operations.lineage import MANIFEST, with_ancestors
from tests.conftest import TEMPLATE, Server
from tests.reference.stats import DayParts, Event, MarketingRow
from warehouse.schema.access import roles
from warehouse.settings import settings

FACTS = {
    "session": "int_session_events",
    "chat": "int_chat_events",
    "pdf_download": "int_pdf_download_events",
}
MODELS = (*FACTS.values(), "int_platform_activity_daily", "int_platform_stats")

# The name of the database of a warm dbt.
WARM = "warm"

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

_file_numbers = itertools.count()


def event(
    name: str, at: datetime, unit: str | None = None, client: str = "acme", id: str | None = None
) -> Event:
    """Make an event of the plan; without a unit it is of a visitor."""
    actor = {"client_id": client, "anonymous_id": "a1"}
    return {
        "event_id": id or str(uuid.uuid4()),
        "event": name,
        "timestamp": at.isoformat(),
        "actor": actor if unit is None else actor | {"unit_id": unit},
    }


def land(directory: Path, events: Iterable[Event]) -> Counts:
    """Load the events as one file, that is one batch."""
    return load(open_source(str(_file(directory, events)))).counts


def land_units(directory: Path, unit_ids: Iterable[str], updated_at: datetime) -> None:
    """Load units as one file, that is one batch."""
    rows = ({"unit_id": unit, "updated_at": updated_at.isoformat()} for unit in unit_ids)
    land_entities(directory, EntityKind.UNITS, rows)


def land_entities(directory: Path, kind: EntityKind, rows: Iterable[dict[str, Any]]) -> Counts:
    """Load entities as one file, that is one batch."""
    return load_entities(kind, open_source(str(_file(directory, rows))))


def build_at(as_of: datetime, *, with_dbt: bool = False, **options: Any) -> BuildResult:
    """Build as `warehouse build --as-of` does; ``with_dbt`` also where dbt is not needed."""
    with dbt_runs(with_dbt):
        return build(BuildOptions(as_of=as_of, **options))


@contextmanager
def dbt_runs(always: bool = True) -> Iterator[None]:
    """Let builds run dbt also where they could execute what is stored."""
    with pytest.MonkeyPatch.context() as patch:
        if always:
            patch.setattr(builds, "why_dbt", lambda *_: "a test asks for it")
        yield


@contextmanager
def warm_warehouse(server: Server, only: Sequence[str] = ()) -> Iterator[psycopg.Connection]:
    """Give a migrated database that the settings point to, and a dbt that knows its project.

    Builds of this process are of the models, or folders of them, ``only`` and of what those are
    built from.

    dbt reads its project anew for every database's name, which takes longer than all else: all of
    these bear one name, and tests share one, made fresh by `start_afresh`. Without ``only``, dbt
    has run already: a first build executes what it has stored.
    """
    url = server.new_database(TEMPLATE if only else _compiled(server), name=WARM)
    _made.clear()
    with (
        server.environment(url),
        psycopg.connect(url, autocommit=True) as connection,
        _warm_dbt(server) as manifest,
        pytest.MonkeyPatch.context() as patch,
    ):
        if only:
            beside = _models_beside(manifest, only)
            patch.setattr(builds, "EXCLUDED", (*builds.EXCLUDED, *beside))
        yield connection
    server.drop_database(url)


def _compiled(server: Server) -> str:
    """Return the name of a database in which dbt has built the whole project, of nothing."""
    name = "compiled"
    if not server.has_database(name):
        url = server.new_database(name=WARM)
        with (
            server.environment(url),
            psycopg.connect(url, autocommit=True) as connection,
            _warm_dbt(server),
        ):
            build_at(datetime(2026, 1, 1, tzinfo=UTC))
            start_afresh(connection)
        server.rename_database(WARM, name)
    return name


@contextmanager
def warm_warehouse_with_roles(server: Server) -> Iterator[psycopg.Connection]:
    """Give such a database of which the server has all roles and logins."""
    with warm_warehouse(server) as connection:
        assert roles.set_up() == []
        yield connection


def _models_beside(manifest: Manifest, only: Sequence[str]) -> list[str]:
    models = {id: node for id, node in manifest.nodes.items() if node.resource_type == "model"}
    models |= manifest.functions
    named = [id for id, node in models.items() if set(only) & {node.name, *node.fqn}]
    needed = with_ancestors(named, {id: node.depends_on.nodes for id, node in models.items()})
    return sorted(node.name for id, node in models.items() if id not in needed)


# dbt's own runner, while a warm one stands in for it.
_cold: list[Callable[..., Any]] = []


class _WarmDbt:
    """Stands in for dbt's runner: knows the project, and writes neither log nor artifacts.

    These take a third of a build's time; what failed is in the error.
    """

    def __init__(self, manifest: Manifest, callbacks: Sequence[Callable[..., Any]] = ()) -> None:
        self._runner = cold_dbt()(manifest, list(callbacks))

    def invoke(self, arguments: list[str]) -> Any:
        quick = ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        return self._runner.invoke([*quick, *arguments])


@contextmanager
def _warm_dbt(server: Server) -> Iterator[Manifest]:
    from dbt.cli import main
    from dbt.graph.selector import NodeSelector
    from dbt_common.behavior_flags import BehaviorFlagRendered

    _cold.append(main.dbtRunner)
    manifest = parsed_project(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "dbtRunner", partial(_WarmDbt, manifest))
        # Every result of a query makes two of them anew, from a hundred expressions.
        patch.setattr(parsedatetime, "Constants", cache(parsedatetime.Constants))
        # To name whom a warning is about, every build looks for each frame of the stack through all
        # modules: seconds, under a test runner's deep stack and many modules.
        patch.setattr(BehaviorFlagRendered, "_default_source", staticmethod(lambda: "dbt"))
        # Every build looks for each model that it leaves out among all of the project.
        patch.setattr(NodeSelector, "select_included", _search_once(NodeSelector.select_included))
        try:
            yield manifest
        finally:
            _cold.pop()


def _search_once(search: Callable[..., set[str]]) -> Callable[..., set[str]]:
    """Remember what dbt has found: the project that a warm dbt knows stays as it is."""
    found: dict[tuple[frozenset[str], str], set[str]] = {}

    def search_once(selector: Any, nodes: set[str], criteria: Any) -> set[str]:
        key = frozenset(nodes), criteria.raw
        if key not in found:
            found[key] = search(selector, nodes, criteria)
        return set(found[key])

    return search_once


@cache
def parsed_project(server: Server) -> Manifest:
    """Return the project as dbt reads it: one process reads it for all of a session.

    Dagster's definitions, which read it too, find it read.
    """
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder

    path, as_json = server.shared / "manifest.msgpack", server.shared / "manifest.json"
    target = settings().dbt_target
    with open(server.shared / "manifest.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            with (
                server.environment(server.url(WARM)),
                builds.environment(builds.dbt_environment()),
            ):
                parsed = cold_dbt()().invoke(["--quiet", "parse"])
            assert parsed.success, parsed.exception
            shutil.copyfile(target / as_json.name, as_json)
            path.write_bytes(parsed.result.to_msgpack(extended_mashumaro_encoder))
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(as_json, target / MANIFEST.format(digest=builds.code_digest()))
    manifest = Manifest.from_msgpack(path.read_bytes(), extended_mashumuro_decoder)
    manifest.build_flat_graph()
    return manifest


def cold_dbt() -> Callable[..., Any]:
    """Return dbt's own runner, which reads the project anew: for tests that change it."""
    from dbt.cli import main

    return _cold[-1] if _cold else main.dbtRunner


@contextmanager
def other_project(folder: Path) -> Iterator[None]:
    """Let builds use a copy of the dbt project, and a dbt that reads it anew each time."""
    cached = (lineage.manifest_path, lineage.manifest)
    target = settings().dbt_target
    manifests = {path: path.read_bytes() for path in target.glob(MANIFEST.format(digest="*"))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "DBT_PROJECT", folder)
        patch.setattr("dbt.cli.main.dbtRunner", cold_dbt())
        for function in cached:
            function.cache_clear()
        try:
            yield
        finally:
            for function in cached:
                function.cache_clear()
            # dbt recognises changed YAML by its time of change, which two copies may share.
            (target / "partial_parse.msgpack").unlink(missing_ok=True)
            for path, content in manifests.items():
                path.write_bytes(content)


# What dbt leaves beside the rows of models: with it, a build of an empty warehouse needs no dbt.
COMPILED = ("stored_models", "stored_tests", "compiled_nodes", "view_digests", "access")


def start_afresh(connection: psycopg.Connection, *, keeps_code: bool = True) -> None:
    """Bring the warehouse back to what dbt leaves, if it has run: nothing landed, tables empty.

    Without ``keeps_code`` to what migrations leave, so that the next build runs dbt: seconds.
    """
    schemas = ["staging", "warehouse", "export"]
    kept = ["warehouse.migrations"]
    if keeps_code:
        schemas += ["intermediate", "marts"]
        seeds = connection.execute(
            "select relation from warehouse.compiled_nodes as n "
            "where relation is not null and node not in (select model from warehouse.stored_models)"
        ).fetchall()
        kept += [*(f"warehouse.{name}" for name in COMPILED), *(name for (name,) in seeds)]
    else:
        for schema in ("intermediate", "marts"):
            connection.execute(f"drop schema if exists {schema} cascade")
            connection.execute(f"create schema {schema} authorization {roles.BUILDER}")
    tables = connection.execute(
        "select schemaname, tablename from pg_tables "
        "where schemaname = any(%s) and not schemaname || '.' || tablename = any(%s)",
        (schemas, kept),
    ).fetchall()
    connection.execute(
        sql.SQL("truncate {}").format(
            sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
        )
    )


T = TypeVar("T")
# By database and name: tables that were kept, code beside them, and what their maker returned.
_made: dict[tuple[str, str], tuple[list[tuple[int, str, str]], str, Any]] = {}


def made_once(connection: psycopg.Connection, name: str, make: Callable[[], T]) -> T:
    """Give a warehouse as ``make`` leaves it, after `start_afresh`, and what it returns.

    Made by the first caller and brought back for the others, which takes a tenth of the time; made
    again where `start_afresh` has dropped its tables, or a test has left other views or dropped
    the copy.
    """
    key = (connection.info.dbname, name)
    tables = _tables(connection)
    (is_kept,) = connection.execute("select to_regnamespace(%s) is not null", (name,)).fetchone()
    if is_kept and key in _made and _made[key][:2] == (tables, _views(connection)):
        restore = sql.SQL("; ").join(
            sql.SQL("delete from {table}; insert into {table} overriding system value table {kept}")
            .format(table=sql.Identifier(schema, table), kept=sql.Identifier(name, str(oid)))
            for oid, schema, table in tables
        )  # fmt: skip
        with connection.transaction():
            connection.execute(restore)
        return _made[key][2]
    start_afresh(connection)
    value = make()
    tables = _tables(connection)
    connection.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(name)))
    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
    for oid, schema, table in tables:
        connection.execute(
            sql.SQL("create table {} as table {}").format(
                sql.Identifier(name, str(oid)), sql.Identifier(schema, table)
            )
        )
    _made[key] = (tables, _views(connection), value)
    return value


def _tables(connection: psycopg.Connection) -> list[tuple[int, str, str]]:
    """Return oid, schema and name of all tables of the warehouse, partitions as one."""
    return connection.execute(
        "select c.oid, n.nspname, c.relname from pg_class as c "
        "inner join pg_namespace as n on c.relnamespace = n.oid "
        "where n.nspname in ('staging', 'warehouse', 'export', 'intermediate', 'marts') "
        "and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> 'migrations' "
        "order by c.oid"
    ).fetchall()


def _views(connection: psycopg.Connection) -> str:
    """Return a digest of what dbt has made that is no table: views, and functions of marts."""
    ((digest,),) = connection.execute(
        "select md5(string_agg(definition, '' order by definition)) from ("
        "select viewname || definition from pg_views where schemaname in ('intermediate', 'marts') "
        "union all select proname || prosrc from pg_proc "
        "where pronamespace::regnamespace::text in ('intermediate', 'marts')"
        ") as made (definition)"
    )
    return digest


def stats_row(connection: psycopg.Connection) -> MarketingRow:
    """Return the candidate of the marketing row."""
    rows = connection.cursor(row_factory=class_row(MarketingRow)).execute(
        "select active_users, questions_answered, pdf_downloads, engagement_rate, updated_at "
        "from intermediate.int_platform_stats"
    )
    (row,) = rows.fetchall()
    return row


def days(connection: psycopg.Connection) -> list[DayParts]:
    """Return the parts of all days, in order."""
    return (
        connection.cursor(row_factory=class_row(DayParts))
        .execute(
            "select activity_on, chats, pdf_downloads "
            "from intermediate.int_platform_activity_daily order by activity_on"
        )
        .fetchall()
    )


def rows_of_models(connection: psycopg.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all incremental models, less what says when a row was computed.

    The marketing row's `updated_at` is part of what it says, and stays.
    """
    models = connection.execute(
        "select t.schemaname, t.tablename from warehouse.model_offsets as o "
        "inner join pg_tables as t on o.model = t.tablename "
        "where t.schemaname in ('intermediate', 'marts')"
    ).fetchall()
    return {name: _rows(connection, schema, name) for schema, name in models}


def _rows(connection: psycopg.Connection, schema: str, name: str) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(
        sql.SQL("select * from {}").format(sql.Identifier(schema, name))
    ).fetchall()
    if name != "int_platform_stats":
        for row in rows:
            for column in ("updated_at", "built_batch_seq", "built_as_of"):
                row.pop(column, None)
    return sorted(rows, key=repr)


def touched(
    connection: psycopg.Connection, cells: Mapping[str, str], do: Callable[[], object]
) -> dict[str, set[str]]:
    """Return the cells of each mart whose `updated_at` is another after ``do``.

    ``cells`` says in SQL, by mart, what names a cell.
    """
    before = _updated_at(connection, cells)
    do()
    after = _updated_at(connection, cells)
    return {
        mart: {
            cell for cell in before[mart].keys() | after[mart].keys()
            if before[mart].get(cell) != after[mart].get(cell)
        }
        for mart in cells
    }  # fmt: skip


def _updated_at(
    connection: psycopg.Connection, cells: Mapping[str, str]
) -> dict[str, dict[str, datetime]]:
    return {
        mart: dict(
            connection.execute(
                sql.SQL("select {}, max(updated_at) from {} group by 1").format(
                    sql.SQL(cell), sql.Identifier("marts", mart)
                )
            ).fetchall()
        )
        for mart, cell in cells.items()
    }


def offsets(connection: psycopg.Connection) -> dict[str, tuple[int, datetime | None]]:
    """Return how far each of MODELS has read; `as_of` is None for facts: they hold every event."""
    rows = connection.execute(
        "select model, batch_seq, nullif(as_of, 'infinity') from warehouse.model_offsets "
        "where model = any(%s)",
        (list(MODELS),),
    ).fetchall()
    return {model: (batch_seq, as_of) for model, batch_seq, as_of in rows}


def models_of_the_last_build(connection: psycopg.Connection) -> set[str]:
    """Return the models whose rows the last build wrote."""
    return {
        model
        for (model,) in connection.execute(
            "select distinct model from warehouse.touched_periods where invocation_id = "
            "(select invocation_id from warehouse.builds order by started_at desc limit 1)"
        )
    }


def _file(directory: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path = directory / f"{next(_file_numbers)}.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
