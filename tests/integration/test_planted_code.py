# ruff: noqa: S608 (names of tables that stand in this file)
"""Code that builders plant in what they own runs with nobody's rights but a builder's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psycopg
import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.operations.build import builder_environment
from tests.conftest import DEEP, Server
from tests.support.building import build_at, warm_warehouse
from tests.support.lines import rows, value
from tests.support.people import AS_OF, land_both_tenants, people, sign_in, url_of
from warehouse import database
from warehouse.database import DatabaseError, connect_as_builder

# Steps back to the session's login, does what it may then, and counts as whom it ran. A sequence
# keeps its number whatever is rolled back.
CODE = """
    create sequence marts.ran_as_owner;
    create sequence marts.ran_as_loader;
    create sequence marts.ran;
    grant usage on all sequences in schema marts to warehouse_loader;
    create function marts.planted(given text) returns text language plpgsql immutable as $$
    begin
        begin
            perform set_config('role', 'none', false);
        exception when others then null;
        end;
        perform nextval('marts.ran');
        if (select rolsuper from pg_roles where rolname = current_user) then
            perform nextval('marts.ran_as_owner');
            begin
                execute 'alter role tim_transformer superuser';
            exception when others then null;
            end;
        elsif pg_has_role('warehouse_loader', 'usage') then
            perform nextval('marts.ran_as_loader');
        end if;
        return given;
    end
    $$;
    create function marts.planted_trigger() returns trigger language plpgsql as $$
    begin
        perform marts.planted('');
        return old;
    end
    $$;
"""
FACT = "intermediate.int_chat_events"


@dataclass(frozen=True)
class Plant:
    """What a builder plants and takes away, and what an owner must not do: there it runs."""

    plant: str
    undo: str
    bites: str


def view(name: str, kind: str = "view") -> Plant:
    schema, _, short = name.partition(".")
    return Plant(
        f"alter {kind} {name} rename to kept; create view {name} as "
        f"select k.* from {schema}.kept as k where marts.planted('') is not null",
        f"drop view {name}; alter {kind} {schema}.kept rename to {short}",
        f"select * from {name}",
    )


def on(table: str, kind: str) -> Plant:
    """Something beside the columns of a table."""
    delete = f"delete from {table}"
    return {
        "a trigger": Plant(
            f"create trigger planted before delete on {table} "
            "for each row execute function marts.planted_trigger()",
            f"drop trigger planted on {table}",
            delete,
        ),
        "a deferred trigger": Plant(
            f"create constraint trigger planted after delete on {table} deferrable "
            "initially deferred for each row execute function marts.planted_trigger()",
            f"drop trigger planted on {table}",
            f"{delete}; set constraints all immediate",
        ),
        "a rule": Plant(
            f"create rule planted as on delete to {table} do also select marts.planted('')",
            f"drop rule planted on {table}",
            delete,
        ),
        "an index": Plant(
            f"create index planted on {table} ((marts.planted('x') || client_id))",
            "drop index intermediate.planted",
            f"select count(*) from only {table} where client_id = 'x'",
        ),
        "an index of some rows": Plant(
            f"create index planted on {table} (client_id) where client_id > marts.planted('x')",
            "drop index intermediate.planted",
            f"select count(*) from only {table} where client_id = 'x'",
        ),
        "statistics": Plant(
            "create statistics intermediate.planted on (marts.planted('x') || client_id), "
            f"client_id from {table}; analyze {table}",
            "drop statistics intermediate.planted",
            f"select count(*) from only {table} where client_id = 'x'",
        ),
        "a table that inherits": Plant(
            f"create table intermediate.child () inherits ({table}); "
            f"insert into intermediate.child select * from {table}; "
            "create trigger planted before delete on intermediate.child for each row "
            "execute function marts.planted_trigger()",
            "drop table intermediate.child",
            delete,
        ),
        "a type with a cast": Plant(
            "create type intermediate.jsonb as (content text); "
            "create function intermediate.as_text(intermediate.jsonb) returns text "
            "language sql as 'select marts.planted($1.content)'; "
            "create cast (intermediate.jsonb as text) with function intermediate.as_text; "
            f"alter table {table} add column planted intermediate.jsonb "
            "default row('x')::intermediate.jsonb",
            f"alter table {table} drop column planted; drop type intermediate.jsonb cascade",
            f"select planted::text from {table}",
        ),
        "a domain": Plant(
            "create domain intermediate.planted as text check (marts.planted(value) is not null); "
            f"alter table {table} add column planted intermediate.planted default 'x'",
            f"alter table {table} drop column planted; drop domain intermediate.planted",
            f"update {table} set planted = 'y'",
        ),
        "a check": Plant(
            f"alter table {table} add constraint planted "
            "check (marts.planted(client_id) is not null)",
            f"alter table {table} drop constraint planted",
            f"update {table} set client_id = client_id",
        ),
        # PostgreSQL's own function runs the SQL that it is given.
        "a check that runs SQL": Plant(
            f"alter table {table} add constraint planted check (ts_rewrite('a'::tsquery, "
            "'select ''a''::tsquery, ''b''::tsquery where marts.planted('''') is not null'"
            ") is not null) not valid",
            f"alter table {table} drop constraint planted",
            f"update {table} set client_id = client_id",
        ),
        "a policy of a table of a builder's own": Plant(
            f"reset role; alter table {table} owner to tim_transformer; "
            f"alter table {table} enable row level security; "
            f"create policy planted on {table} using (marts.planted('') is not null)",
            f"reset role; drop policy planted on {table}; "
            f"alter table {table} disable row level security; "
            f"alter table {table} owner to warehouse_transformer",
            # A superuser is under no policy; an owner who is none would be.
            "select marts.planted('')",
        ),
        "a default": Plant(
            f"alter table {table} add column planted text; "
            f"alter table {table} alter column planted set default marts.planted('')",
            f"alter table {table} drop column planted",
            f"update {table} set planted = default",
        ),
        "a generated column": Plant(
            f"alter table {table} add column planted text "
            "generated always as (marts.planted(client_id)) stored",
            f"alter table {table} drop column planted",
            f"update {table} set client_id = client_id",
        ),
        "a policy": Plant(
            f"alter table {table} force row level security; alter table {table} enable row level "
            f"security; create policy planted on {table} using (marts.planted('') is not null)",
            f"drop policy planted on {table}; alter table {table} no force row level security; "
            f"alter table {table} disable row level security",
            # Nobody whom it would not be refused to: a superuser is under no policy.
            "select marts.planted('')",
        ),
        "a view in its place": view(table, "table"),
        "a statement of builds": Plant(
            "update warehouse.stored_models set replace_rows = "
            "array_prepend('select marts.planted('''')', replace_rows) where is_time_dependent",
            "update warehouse.stored_models set replace_rows = replace_rows[2:] "
            "where is_time_dependent",
            "select marts.planted('')",
        ),
        "a function and an operator of a common name": Plant(
            "create function marts.count(text) returns bigint language sql as "
            "'select length(marts.planted($1))'; create function marts.same(text, text) returns "
            "boolean language sql as 'select marts.planted($1) is null'; "
            "create operator marts.= (leftarg = text, rightarg = text, function = marts.same)",
            "drop operator marts.= (text, text); drop function marts.same, marts.count(text)",
            "select marts.count('x')",
        ),
    }[kind]  # fmt: skip


ON_FACTS = (
    "a trigger", "a deferred trigger", "a rule", "an index", "an index of some rows", "statistics",
    "a table that inherits", "a type with a cast", "a domain", "a check", "a check that runs SQL",
    "a policy of a table of a builder's own", "a default",
    "a generated column", "a policy", "a view in its place",
)  # fmt: skip
PLANTS = {
    **{f"{kind} on the chats": on(FACT, kind) for kind in ON_FACTS},
    **{
        f"{kind} on the fact of all events": on("intermediate.int_events", kind)
        for kind in (
            "an index",
            "a view in its place",
            "statistics",
            "a type with a cast",
            "a check that runs SQL",
        )
    },
    **{
        kind: on(FACT, kind)
        for kind in ("a statement of builds", "a function and an operator of a common name")
    },
    **{
        f"a view in the place of {name}": view(name, kind)
        for name, kind in {
            "marts.mart_status": "view",
            "marts.alert_history": "view",
            "intermediate.stg_clients": "view",
            "intermediate.stg_users": "view",
            "intermediate.int_platform_stats": "table",
            "intermediate.int_sequence_uses": "table",
        }.items()
    },
}
# Where these are planted nothing is erased: the rest has nothing to do with the facts, or takes the
# builders' session.
REFUSED = {
    name for name in PLANTS if "on the" in name and not name.startswith("a view in its place")
} | {"a view in the place of intermediate.int_sequence_uses"}
# The oldest server knows no `restrict_nonsystem_relation_kind`, and fires deferred triggers as
# whoever is the user at commit.
OF_THE_OLDEST_SERVER = [
    "a deferred trigger on the chats",
    "an index on the chats",
    "a type with a cast on the chats",
    "a view in its place on the fact of all events",
    "a view in the place of marts.mart_status",
    "a view in the place of intermediate.stg_users",
]
# On a fact, and in the place of a view.
TYPICAL = {"a trigger on the chats", "a view in the place of marts.mart_status"}
COMMANDS = (
    ["status"],
    ["alerts", "list", "--all"],
    ["check"],
    ["export", "--accept"],
    ["erase", "--user-id", "u1 of acme", "--dry-run"],
    ["erase", "--client-id", "rival", "--dry-run"],
    ["expire", "--dry-run"],
    ["build", "--as-of", AS_OF.isoformat()],
    ["init"],
)


@pytest.fixture(scope="module")
def owner(
    servers: Callable[[int], Server],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[psycopg.Connection]:
    """The owner of a warehouse that somebody else builds."""
    server = servers(getattr(request, "param", 18))
    only = [
        "mart_status", "alert_history", "int_platform_stats", "int_sequence_uses", "facts",
        "stg_clients",
    ]  # fmt: skip
    with (
        warm_warehouse(server, only) as connection,
        people(connection),
        server.environment(url_of(connection, "postgres"), url_of(connection, "tim_transformer")),
    ):
        land_both_tenants(tmp_path_factory.mktemp("events"))
        build_at(AS_OF)
        for command in COMMANDS:
            done = CliRunner().invoke(app, command)
            assert done.exit_code == 0, (command, done.output, done.exception)
        with sign_in(connection, "tim_transformer") as tim:
            tim.execute("set role warehouse_transformer")
            tim.execute(CODE)
        yield connection


def times_run(owner: psycopg.Connection, sequence: str) -> int:
    return value(
        owner, f"select case when is_called then last_value else 0 end from marts.{sequence}"
    )


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        *((18, name) if name in TYPICAL else DEEP(18, name) for name in PLANTS),
        *(DEEP(16, name) for name in OF_THE_OLDEST_SERVER),
    ],
    indirect=["owner"],
)
def test_code_of_a_builder_never_runs_as_the_owner_or_a_loader(
    owner: psycopg.Connection, name: str
) -> None:
    planted = PLANTS[name]
    with sign_in(owner, "tim_transformer") as tim:
        tim.execute("set role warehouse_transformer")
        tim.execute(planted.plant)
        try:
            outputs = {}
            for command in COMMANDS:
                done = CliRunner().invoke(app, command)
                outputs[" ".join(command)] = done.exit_code, done.output, done.exception
            with sign_in(owner, "lou_loader") as lou, suppress(psycopg.errors.RaiseException):
                lou.execute(
                    "select staging.landed_and_dropped(array['acme'], "
                    "array[gen_random_uuid()], array[now()])"
                )
            for sequence in ("ran_as_owner", "ran_as_loader"):
                assert times_run(owner, sequence) == 0, (sequence, outputs)
            for command, (code, output, exception) in outputs.items():
                if command.startswith("erase") and name in REFUSED:
                    assert code == 1, (command, output)
                    said = f"{output} {exception}"
                    assert "intermediate." in said, said
                    assert "code of builders would run as the owner" in said, said
            # It would, where the owner did what the commands must not.
            bitten = times_run(owner, "ran")
            with owner.transaction(force_rollback=True):
                owner.execute(planted.bites)
            assert times_run(owner, "ran") > bitten
            assert times_run(owner, "ran_as_owner") > 0
        finally:
            tim.execute("set role warehouse_transformer")
            tim.execute(planted.undo)
            owner.execute("alter role tim_transformer nosuperuser")
            owner.execute("select setval('marts.ran_as_owner', 1, false)")
    assert not value(owner, "select rolsuper from pg_roles where rolname = 'tim_transformer'")


def test_an_owner_who_is_not_the_only_builder_is_asked_to_let_builds_sign_in(
    owner: psycopg.Connection, servers: Callable[[int], Server]
) -> None:
    server = servers(owner.info.server_version // 10_000)
    with server.environment(url_of(owner, "postgres")):
        for command in (["status"], ["alerts", "list"], ["check"], ["export"], ["build"]):
            done = CliRunner().invoke(app, command)
            assert isinstance(done.exception, DatabaseError), command
            assert "WAREHOUSE_BUILDER_URL" in str(done.exception)
            assert "tim_transformer may build, too" in str(done.exception)
        with pytest.raises(DatabaseError):
            builder_environment()
        for command in (["query", "freshness_of_marts"], ["psql"]):
            done = CliRunner().invoke(app, command)
            assert isinstance(done.exception, DatabaseError), command
            assert "WAREHOUSE_ANALYST_URL" in str(done.exception)
    # A login that may become the owner is no better.
    owner.execute("create role olga login superuser")
    try:
        with (
            server.environment(url_of(owner, "postgres"), url_of(owner, "olga")),
            pytest.raises(DatabaseError, match="WAREHOUSE_BUILDER_URL"),
        ):
            connect_as_builder()
    finally:
        owner.execute("drop role olga")
    with (
        server.environment(url_of(owner, "postgres"), server.url("elsewhere")),
        pytest.raises(DatabaseError, match="another database"),
    ):
        connect_as_builder()


def test_builders_sign_in_as_themselves_in_the_role_that_owns_what_they_make(
    owner: psycopg.Connection,
) -> None:
    with connect_as_builder() as connection:
        found = rows(connection, "select session_user::text, current_user::text")
        assert found == [("tim_transformer", "warehouse_transformer")]
    environment = builder_environment()
    assert environment["PGUSER"] == "tim_transformer"
    assert "role=warehouse_transformer" in environment["PGOPTIONS"]
    with database.connect() as connection:
        assert value(connection, "select session_user::text") == "postgres"


def test_what_was_planted_after_a_transaction_began_is_seen(owner: psycopg.Connection) -> None:
    """A snapshot of before would not show it."""
    with owner.transaction():
        owner.execute("set transaction isolation level repeatable read")
        with pytest.raises(psycopg.errors.RaiseException, match="read committed"):
            owner.execute("select warehouse.is_safe_to_touch(%s)", (FACT,))


def test_a_table_that_was_found_safe_stays_so_until_the_transaction_ends(
    owner: psycopg.Connection,
) -> None:
    with sign_in(owner, "tim_transformer") as tim, owner.transaction():
        assert value(owner, "select warehouse.is_safe_to_touch(%s)", FACT)
        tim.execute("set lock_timeout = '100ms'")
        for kind in ON_FACTS:
            tim.execute("begin")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                tim.execute(on(FACT, kind).plant)
            tim.execute("rollback")
        # Neither readers nor builds wait.
        tim.execute("set role warehouse_transformer")
        tim.execute(f"select count(*) from {FACT}")
        tim.execute(f"delete from {FACT} where false")
