"""Builds without dbt: the database executes what dbt has compiled and stored.

Each model runs in a transaction of its own, two at a time, in the order of the DAG. A test runs
when all its models are up to date; one of severity error that fails stops the models downstream, as
in dbt.
"""

from __future__ import annotations

import queue
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from orchestration.operations.build_options import BuildOptions
from warehouse import database
from warehouse.errors import WarehouseError
from warehouse.sql_files import read_sql

STORED_TESTS = read_sql(__file__, "stored_tests")
# As many as dbt's threads, see dbt_project/profiles.yml: two cores and the memory of two steps.
MODELS_AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class TestResult:
    """The result of one dbt test: ``outcome`` is pass, warn or fail, as in dbt."""

    test: str
    model: str
    severity: str
    outcome: str
    failures: int
    failing_rows: str


@dataclass(slots=True)
class StoredBuild:
    """What a build has run: tests with their results, and per node that failed the reason."""

    tests: list[TestResult] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Test:
    models: frozenset[str]
    severity: str
    has_failed: bool


def run(
    connection: psycopg.Connection,
    options: BuildOptions,
    builder: int,
    models: Iterable[str] | None = None,
    *,
    every_test: bool = False,
) -> StoredBuild:
    """Build some models (by default all) from what is stored, and run the tests of what was built.

    ``builder`` is the process of the session that holds the lock of builds. ``every_test`` also
    tests models without unread input. What fails is in the result; nothing is raised for it.
    """
    names = None if models is None else sorted(models)
    invocation = str(uuid.uuid4())
    connection.execute("select staging.take_statistics()")
    with connection.transaction():
        connection.execute(
            "select warehouse.pin_build(%s, %s, %s, %s, %s)",
            (invocation, options.as_of, options.start, options.end, options.full_refresh),
        )
        connection.execute(
            "update warehouse.builds set models = %s, allows_lost_events = %s "
            "where invocation_id = %s",
            (names, options.allow_lost_events, invocation),
        )
    build = _Build(connection, invocation, builder, names, every_test)
    try:
        build.run()
    finally:
        # A build that is interrupted has not ended well.
        state = "done" if build.is_done else "failed"
        connection.execute("select warehouse.finish_build(%s, %s)", (invocation, state))
    return build.result


class _Build:
    def __init__(
        self,
        connection: psycopg.Connection,
        invocation: str,
        builder: int,
        names: list[str] | None,
        every_test: bool,
    ) -> None:
        self._connection = connection
        self._invocation = invocation
        self._every_test = every_test
        self._workers = _Workers(builder)
        self._upstream: dict[str, frozenset[str]] = {
            model: frozenset(upstream)
            for model, upstream in connection.execute(
                "select model, upstream from warehouse.stored_models "
                "where %(names)s::text[] is null or model = any(%(names)s) order by model",
                {"names": names},
            )
        }
        self._tests = {
            test: _Test(frozenset(models), severity, has_failed)
            for test, models, severity, has_failed in connection.execute(
                STORED_TESTS, {"names": names}
            )
        }
        self._gates = self._error_tests_upstream()
        self._waiting = list(self._upstream)
        self._untested = list(self._tests)
        # Models that have reached the build's high-water mark, and those of them that were run.
        self._settled: set[str] = set()
        self._ran: set[str] = set()
        self._passed: set[str] = set()
        self.is_done = False
        self.result = StoredBuild()

    def run(self) -> None:
        running: dict[Future[TestResult | None], str] = {}
        with self._workers.started() as submit:
            while True:
                running |= {
                    submit(self._invocation, model=name): name for name in self._next_models()
                }
                # After the models: those without unread input have settled meanwhile.
                running |= {submit(test=name): name for name in self._next_tests()}
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._note(running.pop(future), future)
        left = [*self._waiting, *self._untested]
        if left and not self.result.failed:
            raise RuntimeError(f"nothing failed, and yet these could not run: {', '.join(left)}")
        self.is_done = not self.result.failed

    def _error_tests_upstream(self) -> dict[str, frozenset[str]]:
        """Return for each model the tests that must pass before it: those of models upstream."""
        ancestors: dict[str, frozenset[str]] = {}

        def above(model: str) -> frozenset[str]:
            if model not in ancestors:
                upstream = self._upstream.get(model, frozenset())
                ancestors[model] = upstream.union(*map(above, upstream))
            return ancestors[model]

        return {
            model: frozenset(
                name
                for name, test in self._tests.items()
                if test.severity == "error" and test.models and test.models <= above(model)
            )
            for model in self._upstream
        }

    def _next_models(self) -> list[str]:
        """Return the models to run now. Those without unread input are settled meanwhile."""
        found: list[str] = []
        while ready := [
            model
            for model in self._waiting
            if self._upstream[model] & self._upstream.keys() <= self._settled
            and self._gates[model] <= self._passed
        ]:
            self._waiting = [model for model in self._waiting if model not in ready]
            unread = {
                model
                for (model,) in self._connection.execute(
                    "select warehouse.models_with_unread_input(%s, %s)", (self._invocation, ready)
                )
            }
            if read := [model for model in ready if model not in unread]:
                self._connection.execute(
                    "select warehouse.advance_models(%s, %s)", (self._invocation, read)
                )
                self._settled.update(read)
                self._pass_tests_of_unchanged_models()
            found += sorted(unread)
        return found

    def _next_tests(self) -> list[str]:
        self._pass_tests_of_unchanged_models()
        due = [test for test in self._untested if self._is_settled(test)]
        self._untested = [test for test in self._untested if test not in due]
        return due

    def _pass_tests_of_unchanged_models(self) -> None:
        """Pass the tests that passed before and of whose models none was run."""
        if self._every_test:
            return
        unchanged = {
            test
            for test in self._untested
            if self._is_settled(test)
            and not self._tests[test].models & self._ran
            and not self._tests[test].has_failed
        }
        self._passed |= unchanged
        self._untested = [test for test in self._untested if test not in unchanged]

    def _is_settled(self, test: str) -> bool:
        return self._tests[test].models & self._upstream.keys() <= self._settled

    def _note(self, name: str, future: Future[TestResult | None]) -> None:
        try:
            tested = future.result()
        except _NodeError as error:
            self.result.failed[name] = str(error)
            return
        if tested is None:
            self._settled.add(name)
            self._ran.add(name)
            return
        self.result.tests.append(tested)
        if tested.outcome == "fail":
            self.result.failed[name] = f"{tested.failures:,} rows fail the test"
        else:
            self._passed.add(name)


class _NodeError(WarehouseError):
    """A model or test could not be executed; the message says why, without row contents."""


class _Workers:
    """Threads with a connection each, on which models and tests are run."""

    def __init__(self, builder: int) -> None:
        self._builder = builder
        self._free: queue.SimpleQueue[psycopg.Connection] = queue.SimpleQueue()
        self._busy: set[psycopg.Connection] = set()

    @contextmanager
    def started(self) -> Iterator[Callable[..., Future[TestResult | None]]]:
        """Yield a function that submits a model or a test, and close all connections at the end.

        After an exception, such as Ctrl-C, statements that are running are cancelled.
        """
        with ThreadPoolExecutor(MODELS_AT_A_TIME) as pool:
            try:
                yield lambda invocation="", *, model="", test="": pool.submit(
                    self._run, invocation, model, test
                )
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for connection in tuple(self._busy):
                    connection.cancel_safe()
                raise
            finally:
                pool.shutdown()
                while not self._free.empty():
                    self._free.get().close()

    def _run(self, invocation: str, model: str, test: str) -> TestResult | None:
        try:
            connection = self._free.get_nowait()
        except queue.Empty:
            connection = database.connect_as_builder(
                autocommit=True, application_name="warehouse build"
            )
        began = time.monotonic()
        self._busy.add(connection)
        try:
            with (
                database.watch_blockers(
                    lambda: connection.info.backend_pid, database.connect_as_builder
                ) as blockers,
                _without_rows(blockers),
            ):
                return (
                    run_test(connection, test)
                    if test
                    else self._run_model(connection, invocation, model)
                )
        finally:
            print(f"{model or test}: {time.monotonic() - began:.2f} s", file=sys.stderr)
            self._busy.remove(connection)
            self._free.put(connection)

    def _run_model(self, connection: psycopg.Connection, invocation: str, model: str) -> None:
        with connection.transaction():
            # The next build waits for this transaction, even if this builder is killed meanwhile.
            connection.execute("lock table warehouse.lock_dbt in row share mode")
            row = connection.execute(
                "select warehouse.is_building(%s)", (self._builder,)
            ).fetchone()
            if row != (True,):
                raise _NodeError("this build has lost the lock of builds")
            connection.execute("select warehouse.run_model(%s, %s, false)", (invocation, model))


def run_test(connection: psycopg.Connection, test: str) -> TestResult:
    """Run one stored test and record its result. Raises WarehouseError if it is not stored."""
    row = connection.execute(
        "select t.test, t.model, t.severity, r.outcome, r.failures, t.failing_rows "
        "from warehouse.stored_tests as t cross join lateral warehouse.run_test(t.test) as r "
        "where t.test = %s",
        (test,),
    ).fetchone()
    if row is None:
        raise _NodeError("the test is not stored any more")
    return TestResult(*row)


@contextmanager
def _without_rows(blockers: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise _NodeError(f"{database.reason(error)}. {blockers()}") from None
    except psycopg.Error as error:
        hint = f" HINT: {error.diag.message_hint}" if error.diag.message_hint else ""
        raise _NodeError(f"{database.reason(error)}{hint}") from None
