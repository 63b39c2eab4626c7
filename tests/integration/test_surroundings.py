"""Neither the server's defaults nor the shell that a command is started from change a result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import WAREHOUSE, Server
from tests.support.building import rows_of_models
from tests.support.lines import NAMESPACE, contents, rows, value
from tests.support.people import AS_OF, entities_of, story_of
from warehouse import database, session
from warehouse.schema.migrate import migrate

# Each of these breaks something, or changes what is stored, computed or printed.
DEFAULTS = {
    "client_encoding": "LATIN1",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "search_path": "decoy, pg_catalog",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "row_security": "off",
    "quote_all_identifiers": "on",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "role": "nobody_much",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
}

VARIABLES = {
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "German",
    "PGTZ": "Asia/Kathmandu",
    "PGGEQO": "nonsense",
    "PGOPTIONS": "-c default_transaction_read_only=on -c search_path=decoy",
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGPASSWORD": "of another server",
    "PGDATABASE": "nothing",
    "PGSERVICE": "unknown",
    "PGSSLMODE": "disable",
    "PGTARGETSESSIONATTRS": "standby",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "nobody",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii",
    "TZ": "Asia/Kathmandu",
}

CLIENT = "Зоë 例"
# When something was done, and what says so in words or as a condition.
OF_A_RUN = {"checked_at", "last_check_at", "freshness_seconds", "updated_at", "begun_at",
            "verified_at", "query", "detail"}  # fmt: skip


def everything(
    url: str, directory: Path, server: Server, variables: dict[str, str]
) -> dict[str, Any]:
    """Do all that the command line does to a new database; return what it says and leaves."""
    said: dict[str, Any] = {}

    def run(*arguments: str) -> None:
        finished = subprocess.run(
            [*WAREHOUSE, *arguments],
            env=os.environ | variables, capture_output=True, encoding="utf-8", timeout=300,
        )  # fmt: skip
        assert finished.returncode == 0, (arguments, finished.stderr)
        said[" ".join(arguments)] = plain(json.loads(finished.stdout))

    with server.environment(url):
        run("init", "--json")
        for kind in entities_of(CLIENT):
            run("load-entities", kind, str(directory / f"{kind} ü.ndjson"), "--json")
        run("load", str(directory / "события.ndjson"), "--json")
        run("build", "--as-of", AS_OF.isoformat(), "--json")
        run("check", "--json")
        run("export", "--json")
        run("status", "--json")
        with database.connect() as connection:
            left = {"staging": contents(connection), "models": rows_of_models(connection)}
        run("erase", "--user-id", f"u2 of {CLIENT}", "--by", "é", "--json")
        with database.connect() as connection:
            left |= {"then": rows_of_models(connection)}
    return {"said": said, **left}


def plain(said: Any) -> Any:
    """Return an answer without what differs from one run to the next."""
    if isinstance(said, list):
        return [plain(one) for one in said]
    if isinstance(said, dict):
        return {name: plain(one) for name, one in said.items() if name not in OF_A_RUN}
    return said


def write_inputs(directory: Path) -> None:
    def write(name: str, objects: list[dict[str, Any]]) -> None:
        lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in objects]
        (directory / name).write_text("".join(lines), "utf-8")

    for kind, entities in entities_of(CLIENT).items():
        write(f"{kind} ü.ndjson", entities)
    story = story_of(CLIENT)
    ids = [{"event_id": str(uuid.uuid5(NAMESPACE, str(n)))} for n in range(len(story))]
    write("события.ndjson", [event | id for event, id in zip(story, ids, strict=True)])


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_the_whole_pipeline_does_the_same_under_hostile_defaults_and_variables(
    servers: Callable[[int], Server], tmp_path: Path
) -> None:
    server = servers(18)
    write_inputs(tmp_path)
    plain_url, hostile_url = (server.new_database(template="template0") for _ in range(2))
    right = everything(plain_url, tmp_path, server, {})
    assert right["models"]["user_daily_usage"]
    assert right["staging"]["rejected_events"] == []

    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute("create role hostile superuser login")
        admin.execute("create role nobody_much")
        name = conninfo_to_dict(hostile_url)["dbname"]
        # Half of them by the database, half by the role, which wins over it.
        for number, (setting, default) in enumerate(DEFAULTS.items()):
            of = f"database {name}" if number % 2 else "role hostile"
            quoted = default if setting == "search_path" else f"'{default}'"
            admin.execute(f"alter {of} set {setting} = {quoted}")
        as_role = hostile_url.replace("postgres@", "hostile@")
        found = everything(as_role, tmp_path, server, VARIABLES)
        for part in right:
            assert found[part] == right[part], part

        for url in (plain_url, hostile_url):
            server.drop_database(url)
        admin.execute("drop role hostile")
        admin.execute("drop role nobody_much")


def shown(connection: psycopg.Connection) -> dict[str, str]:
    names = [*session.SETTINGS, *session.LIMITS, *session.ROLE, session.VIEWS]
    names += ["search_path", "client_encoding"]
    return {name: value(connection, f"show {name}") for name in names}


def test_every_way_to_connect_sets_the_same(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2
    import sqlalchemy

    with database.connect() as connection:
        right = shown(connection)
    assert right["TimeZone"] == "UTC"
    assert right["client_encoding"] == "UTF8"
    for driver in ("psycopg", "psycopg2"):
        engine = sqlalchemy.create_engine(database.sqlalchemy_url(driver))
        with engine.connect() as connection:
            for name, setting in right.items():
                assert connection.exec_driver_sql(f"show {name}").scalar() == setting
        engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        for name, setting in database.libpq_environment().items():
            patch.setenv(name, setting)
        connection = psycopg2.connect("")
        with connection.cursor() as cursor:
            for name, setting in right.items():
                cursor.execute(f"show {name}")
                assert cursor.fetchone() == (setting,)
        connection.close()


HOSTILE = {
    "quote_all_identifiers": "on",
    "restrict_nonsystem_relation_kind": "'view, foreign-table'",
    "role": "warehouse_analyst",
}


def test_defaults_of_the_database_reach_no_session(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg2
    import sqlalchemy

    name = warehouse.info.dbname
    for setting, default in HOSTILE.items():
        warehouse.execute(f"alter database {name} set {setting} = {default}")
    found = []
    for autocommit in (True, False):
        with database.connect(autocommit=autocommit) as connection:
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            found.append({one: value(connection, f"show {one}") for one in HOSTILE})
    engine = sqlalchemy.create_engine(database.sqlalchemy_url())
    with engine.connect() as connection:
        found.append({one: connection.exec_driver_sql(f"show {one}").scalar() for one in HOSTILE})
    engine.dispose()
    for name, setting in database.libpq_environment().items():
        monkeypatch.setenv(name, setting)
    connection = psycopg2.connect("")
    with connection.cursor() as cursor:
        found.append({})
        for one in HOSTILE:
            cursor.execute(f"show {one}")
            found[-1][one] = cursor.fetchone()[0]
    connection.close()
    right = {
        "quote_all_identifiers": "off", "restrict_nonsystem_relation_kind": "", "role": "none"
    }  # fmt: skip
    assert found == [right] * 4


def test_a_server_that_does_not_know_a_newer_setting_is_not_asked_for_it(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "KNOWS_VIEWS", "select false")
    monkeypatch.setattr(database, "_knows_views", {})
    assert session.VIEWS not in database.libpq_environment()["PGOPTIONS"]


def test_what_psql_shows_is_that_of_every_session(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in VARIABLES:
        if variable.startswith("PG"):
            monkeypatch.setenv(variable, VARIABLES[variable])
    query = "select timestamptz '2026-01-31 12:00Z', interval '1 day 2 hours', current_database()"
    for options in ([], ["--owner"]):
        done = subprocess.run(
            [*WAREHOUSE, "psql", *options, "--", "-XAtc", query],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == f"2026-01-31 12:00:00+00|1 day 02:00:00|{warehouse.info.dbname}\n"


def test_psql_opens_as_an_analyst_in_marts_and_for_the_owner_on_demand(
    warehouse: psycopg.Connection,
) -> None:
    query = "select current_user, current_setting('search_path')"
    expected = {
        "": "warehouse_analyst|marts\n",
        "--owner": "postgres|pg_catalog,pg_temp\n",
    }
    for option, answer in expected.items():
        command = [*WAREHOUSE, "psql", *filter(None, [option]), "--", "-XAtc", query]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == answer
    both = [*WAREHOUSE, "psql", "--owner", "--builder"]
    assert subprocess.run(both, capture_output=True).returncode == 2


def test_the_environment_for_bare_dbt_takes_the_shells_variables_away(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = subprocess.run(
        [*WAREHOUSE, "environment"], capture_output=True, text=True, check=True
    ).stdout
    for variable in VARIABLES:
        monkeypatch.setenv(variable, VARIABLES[variable])
    shell = (
        f'eval "$1"; exec {WAREHOUSE[0]} -c "import os, json; print(json.dumps(dict(os.environ)))"'
    )
    left = json.loads(
        subprocess.run(
            ["/bin/sh", "-c", shell, "sh", printed], capture_output=True, text=True, check=True
        ).stdout
    )
    of_libpq = {name: value for name, value in left.items() if name.startswith("PG")}
    expected = database.libpq_environment()
    # The role that builds take is added.
    assert of_libpq.pop("PGOPTIONS").startswith(expected.pop("PGOPTIONS"))
    assert of_libpq == expected


def test_the_urls_own_options_may_limit_statements_and_change_no_result() -> None:
    own = quote("-c statement_timeout=7s -c timezone=Asia/Kathmandu")
    options = session.parameters(f"postgresql://a@b/c?options={own}")["options"]
    settings = dict(
        pair.split("=", 1) for pair in options.replace("-c ", "").split(" ") if "=" in pair
    )
    assert settings["statement_timeout"] == "7s"
    assert options.index("timezone=Asia") < options.index("TimeZone=UTC")


def test_secrets_and_certificates_may_come_from_libpqs_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*session.KEPT_VARIABLES, *session.unwanted_variables()):
        monkeypatch.setenv(name, "x")
    session.remove_libpq_variables()
    assert {name for name in os.environ if name.startswith("PG")} == session.KEPT_VARIABLES


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_in_utf8_is_refused_in_one_sentence(
    servers: Callable[[int], Server], encoding: str
) -> None:
    server = servers(18)
    name = f"in_{encoding.lower()}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
        with server.environment(server.url(name)):
            done = subprocess.run([*WAREHOUSE, "init"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert f"is encoded in {encoding}; the warehouse needs UTF8" in done.stderr
        # As the sentence says.
        admin.execute(f"drop database {name}")
        admin.execute(f"create database {name} encoding 'UTF8' locale 'C' template template0")
    with server.environment(server.url(name)):
        assert migrate().ran
    server.drop_database(server.url(name))


def test_a_server_too_old_to_know_what_sessions_set_is_reported_as_too_old(
    warehouse: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "OLDEST_SERVER", 19)
    monkeypatch.setitem(session.SETTINGS, "setting_of_19", "on")
    with pytest.raises(
        database.DatabaseError, match=r"is PostgreSQL 18\.\d+; .* needs 19 or newer"
    ):
        database.connect()


def test_the_embedded_server_is_made_and_found_whatever_the_variables_say() -> None:
    home = tempfile.mkdtemp(prefix="wh-")
    environment = {k: v for k, v in os.environ.items() if k != "WAREHOUSE_DATABASE_URL"}
    environment |= VARIABLES | {"WAREHOUSE_HOME": home, "PGDATA": "/nowhere"}
    try:
        done = subprocess.run([*WAREHOUSE, "init"], env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        again = subprocess.run([*WAREHOUSE, "rejected", "list"], env=environment)
        assert again.returncode == 0
    finally:
        subprocess.run([*WAREHOUSE, "stop"], env=environment, check=True, capture_output=True)
        shutil.rmtree(home)


def test_what_is_printed_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    environment = os.environ | VARIABLES
    path = tmp_path / "нет ü.ndjson"
    done = subprocess.run([*WAREHOUSE, "load", str(path)], env=environment, capture_output=True)
    assert done.returncode == 1
    assert str(path) in done.stderr.decode("utf-8")
    plan = subprocess.run([*WAREHOUSE, "plan"], env=environment, capture_output=True, check=True)
    assert plan.stdout == subprocess.run([*WAREHOUSE, "plan"], capture_output=True).stdout


def test_rows_of_the_export_target_are_written_whatever_its_defaults(
    warehouse: psycopg.Connection,
) -> None:
    with psycopg.connect(warehouse.info.dsn, autocommit=True) as admin:
        admin.execute(f"alter database {admin.info.dbname} set default_transaction_read_only = on")
    with database.open_session(warehouse.info.dsn, autocommit=True) as target:
        assert rows(target, "show default_transaction_read_only") == [("off",)]
