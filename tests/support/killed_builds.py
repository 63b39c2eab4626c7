"""Builds in processes of their own, held at a chosen point and killed there."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from psycopg import sql

from orchestration.operations import build as builds
from tests.support.processes import until
from warehouse import database

PATIENCE = 60


def start_build(*arguments: str, with_dbt: bool = False) -> subprocess.Popen[str]:
    """Start `warehouse build` in a process of its own, of the models that this one builds."""
    return start_command("build", *arguments, with_dbt=with_dbt)


def start_command(*arguments: str, with_dbt: bool = False) -> subprocess.Popen[str]:
    """Start `warehouse` in a process of its own; what it builds are the models of this one.

    With ``with_dbt`` builds run dbt also where it is not needed.
    """
    forced = "build.why_dbt = lambda *_: 'a test asks for it'; " if with_dbt else ""
    program = (
        f"from orchestration.operations import build; build.EXCLUDED = {builds.EXCLUDED!r}; "
        f"{forced}from orchestration.cli.app import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_builder_of_a_dbt() -> subprocess.Popen[bytes]:
    """Start a builder whose dbt is a process of its own, as Dagster's runs are."""
    program = (
        "import subprocess, sys; from pathlib import Path; from warehouse import database; "
        "from orchestration.operations.build import *\n"
        "with one_build_at_a_time(), environment(build_environment(BuildOptions())): "
        f"subprocess.run([Path(sys.executable).with_name('dbt'), *{builds.dbt_command('build')!r}])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def waiting_for_a_lock(connection: psycopg.Connection) -> bool:
    return connection.execute(
        "select exists (select 1 from pg_stat_activity where "
        "application_name in ('warehouse dbt', 'warehouse build') "
        "and datname = current_database() and wait_event_type = 'Lock')"
    ).fetchone()[0]


def backends_of_builds(connection: psycopg.Connection) -> int:
    return connection.execute(
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name in ('warehouse dbt', 'warehouse build')"
    ).fetchone()[0]


@contextmanager
def blocked_at(model: str, point: str) -> Iterator[None]:
    """Make builds wait at a point: before a model's rows, its offset, or the tests' results."""
    with database.connect() as blocker:
        if point == "rows":
            schema = "intermediate" if model.startswith("int_") else "marts"
            table = sql.Identifier(schema, model)
            blocker.execute(sql.SQL("lock table {} in access exclusive mode").format(table))
        elif point == "offset":
            blocker.execute(
                "insert into warehouse.model_offsets values (%s, 0, now(), '') "
                "on conflict (model) do update set checksum = excluded.checksum",
                (model,),
            )
        else:
            blocker.execute("lock table warehouse.check_results in share mode")
        yield
        blocker.rollback()


def kill_in(
    connection: psycopg.Connection,
    model: str,
    point: str,
    as_of: datetime,
    *arguments: str,
    with_dbt: bool = False,
) -> None:
    """Start a build, kill it where it waits, and see its statements end by themselves."""
    with blocked_at(model, point):
        process = start_build("--as-of", as_of.isoformat(), *arguments, with_dbt=with_dbt)
        try:
            until(
                lambda: waiting_for_a_lock(connection) or process.poll() is not None,
                what=f"{model} waits for {point}",
            )
        finally:
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
        until(lambda: backends_of_builds(connection) == 0, what="the dead build's backends end")
