"""Roles where there are none yet: who makes them, and what a DBA must run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import WAREHOUSE, settings_of
from tests.support.lines import clean_file, rows, value
from tests.support.processes import Finished, finish, run
from warehouse import embedded
from warehouse.database import connect_as_analyst, connect_as_builder
from warehouse.schema.access import roles
from warehouse.schema.migrate import Migrated, migrate
from warehouse.settings import settings

SERVER_VERSION = 16  # The oldest: of roles it knows the least.


@pytest.fixture(scope="module")
def admin() -> Iterator[psycopg.Connection]:
    """The superuser of a server of its own, on which nobody ever made a warehouse."""
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    with settings_of(home, SERVER_VERSION, None):
        embedded.start()
        try:
            with psycopg.connect(url(settings().cluster), autocommit=True) as connection:
                yield connection
        finally:
            embedded.stop()
            shutil.rmtree(home)


def url(cluster: Path, user: str = "postgres", database: str = "postgres") -> str:
    return f"postgresql://{user}@/{database}?host={embedded.socket_dir(cluster)}"


def url_at(admin: psycopg.Connection, user: str, database: str) -> str:
    return f"postgresql://{user}@/{database}?host={admin.info.host}"


@pytest.fixture
def no_roles(admin: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A server without roles and databases of a warehouse."""
    yield admin
    for (database,) in rows(admin, "select datname from pg_database where datname ~ '^db_'"):
        admin.execute(f"drop database {database} with (force)")
    theirs = "select rolname from pg_roles where rolname ~ '^(warehouse_|owner)' order by 1 desc"
    for (role,) in rows(admin, theirs):
        admin.execute(f"drop role {role}")


def owner_of(admin: psycopg.Connection, *options: str) -> str:
    """Make a database with an owner who is no superuser; return the URL."""
    admin.execute(f"create role owner_1 login {' '.join(options)}")
    admin.execute("create database db_1 owner owner_1")
    return url_at(admin, "owner_1", "db_1")


def groups(admin: psycopg.Connection) -> dict[str, bool]:
    """The roles that are there, and whether they may log in."""
    return dict(
        rows(admin, "select rolname, rolcanlogin from pg_roles where rolname ~ '^warehouse_'")
    )


def as_superuser(admin: psycopg.Connection, statements: list[str]) -> None:
    """Run statements in db_1."""
    with psycopg.connect(url_at(admin, "postgres", "db_1"), autocommit=True) as superuser:
        for statement in statements:
            superuser.execute(statement)


def rights(connection: psycopg.Connection) -> set[tuple[str, ...]]:
    return set(
        rows(connection, "select role, object, column_name, privilege from warehouse.granted")
    )


def test_inits_of_two_databases_at_once_make_the_roles_once(no_roles: psycopg.Connection) -> None:
    running = []
    for database in ("db_1", "db_2"):
        no_roles.execute(f"create database {database}")
        with settings_of(settings().home, SERVER_VERSION, url_at(no_roles, "postgres", database)):
            running += [
                subprocess.Popen(
                    [*WAREHOUSE, "init"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
                for _ in range(2 if database == "db_1" else 1)
            ]
    ended = [finish(process) for process in running]
    assert [end.code for end in ended] == [0, 0, 0], ended
    assert groups(no_roles) == dict.fromkeys(roles.ROLES, False)
    found = []
    for database in ("db_1", "db_2"):
        with psycopg.connect(url_at(no_roles, "postgres", database)) as connection:
            found.append({(*right[:1], *right[2:]) for right in rights(connection)})
    assert found[0] == found[1]
    assert {right[0] for right in found[0]} == set(roles.ROLES)


def test_init_makes_the_roles_where_it_may_though_it_is_no_superuser(
    no_roles: psycopg.Connection,
) -> None:
    address = owner_of(no_roles, "createrole")
    with settings_of(settings().home, SERVER_VERSION, address):
        for_superuser = migrate().for_dba
        taken = {re.search(r"function (\w+)", statement)[1] for statement in for_superuser}
        assert taken == set(roles.WRITING_FUNCTIONS)
        as_superuser(no_roles, for_superuser)
        assert migrate() == Migrated(ran=[], for_dba=[])
    assert groups(no_roles) == dict.fromkeys(roles.ROLES, False)
    with psycopg.connect(address) as owner:
        assert value(owner, "select pg_has_role('warehouse_transformer', 'usage')")
        assert ("warehouse_api", "db_1", None, "connect") in rights(owner)
        assert ("warehouse_tenant", "db_1", None, "connect") not in rights(owner)
        assert not [right for right in rights(owner) if right[0] == "public"]


@pytest.mark.deep
def test_init_that_may_not_prints_for_a_dba_what_to_run_and_works_for_its_owner_meanwhile(
    no_roles: psycopg.Connection, tmp_path: Path
) -> None:
    address = owner_of(no_roles)
    events = tmp_path / "events.ndjson"
    events.write_bytes(clean_file(10))

    def build() -> Finished:
        return run("build", "--select", "+int_platform_stats", "--as-of", "2026-02-01T00:00:00Z")

    with settings_of(settings().home, SERVER_VERSION, address), psycopg.connect(address) as owner:
        owner.autocommit = True
        said = run("init")
        assert (said.code, said.errors) == (0, "")
        reported = said.output.splitlines()[1:]
        assert reported == migrate().for_dba
        assert groups(no_roles) == {}
        assert run("load", events).code == 0
        assert build().code == 0
        owns = "select distinct pg_get_userbyid(owner_id) from warehouse.objects"
        assert set(rows(owner, owns)) == {("owner_1",), ("pg_database_owner",)}

        for statement in reported:
            no_roles.execute(statement)
        as_superuser(no_roles, migrate().for_dba)
        assert migrate().for_dba == []
        assert groups(no_roles) == dict.fromkeys(roles.ROLES, False)
        # What was built is handed over, and building goes on.
        owns += " where schema_name in ('intermediate', 'marts')"
        assert rows(owner, owns) == [("warehouse_transformer",)]
        assert ("warehouse_marketing", "export.analytics_platform_stats", None, "select") in rights(
            owner
        )
        ended = build()
        assert ended.code == 0, ended.errors
        assert rows(owner, owns) == [("warehouse_transformer",)]


@pytest.mark.deep
def test_init_of_the_embedded_server_makes_logins_for_builds_and_for_reading() -> None:
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    with settings_of(home, SERVER_VERSION, None):
        try:
            ended = run("build")
            assert ended.code == 1
            assert "run `warehouse init`." in ended.errors
            assert migrate().for_dba == []
            assert migrate() == Migrated(ran=[], for_dba=[])
            assert run("build", "--select", "+int_platform_stats").code == 0
            with connect_as_builder() as builder:
                found = rows(builder, "select session_user::text, current_user::text")
                assert found == [("warehouse_builder", "warehouse_transformer")]
                for role in ("postgres", "warehouse_loader"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), builder.transaction():
                        builder.execute(f"set role {role}")
            environment = run("environment").output
            assert "export PGUSER=warehouse_builder" in environment
            with connect_as_analyst() as reader:
                found = rows(reader, "select session_user::text, current_user::text")
                assert found == [("warehouse_reader", "warehouse_analyst")]
                for role in ("postgres", "warehouse_transformer"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
                        reader.execute(f"set role {role}")
        finally:
            embedded.stop()
            shutil.rmtree(home)


def test_limits_that_an_owner_may_not_set_are_for_a_dba(no_roles: psycopg.Connection) -> None:
    address = owner_of(no_roles, "createrole")
    with settings_of(settings().home, SERVER_VERSION, address):
        as_superuser(no_roles, migrate().for_dba)
        no_roles.execute("create role owner_ann login in role warehouse_analyst")
        for_dba = migrate().for_dba
        limits = roles.LIMITS["warehouse_analyst"]
        assert f'alter role "owner_ann" connection limit {limits["connection limit"]};' in for_dba
        assert len(for_dba) == len(limits)
        as_superuser(no_roles, for_dba)
        assert migrate().for_dba == []


def test_init_of_anothers_database_prints_what_its_owner_must_run(
    no_roles: psycopg.Connection,
) -> None:
    no_roles.execute("create role owner_1 login createrole")
    no_roles.execute("create database db_1")
    no_roles.execute("grant create on database db_1 to owner_1")
    address = url_at(no_roles, "owner_1", "db_1")
    with settings_of(settings().home, SERVER_VERSION, address):
        reported = migrate().for_dba
        assert "revoke connect on database db_1 from public" in reported
        with psycopg.connect(url_at(no_roles, "postgres", "db_1"), autocommit=True) as dba:
            for statement in reported:
                dba.execute(statement)
            # The owner of the warehouse is none of its groups.
            dba.execute("grant connect on database db_1 to owner_1")
        assert migrate().for_dba == []
