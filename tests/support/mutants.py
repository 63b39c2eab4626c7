"""Mutants: faults planted in copies of the project, to prove that the tests would catch them.

`python -m tests.support.mutants` plants every fault, each in a copy of its own, and runs a subset
of the tests there until one fails. It prints a line per mutant with the test that caught it, and in
the end those that survived. Exit codes: 0 all were caught; 1 one survived; 2 wrong usage, or a test
that caught a mutant fails without any fault, too.

`--some 4` takes so many at random (`--seed` chooses the same ones again), and names take those. A
test that takes longer than TIMEOUT has caught its mutant too: the line says so.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from warehouse.settings import PROJECT_DIR

PARTS = (
    "warehouse",
    "ingestion",
    "expectations",
    "orchestration",
    "sources",
    "dbt_project",
    "tests",
    "pyproject.toml",
)
CELLS = "dbt_project/macros/cells.sql"
OFFSETS = "dbt_project/macros/offsets.sql"
STATS = "dbt_project/models/intermediate/int_platform_stats.sql"
FUNCTIONS = "warehouse/schema/functions/warehouse/"
REFUSE_EARLIER = FUNCTIONS + "refuse_earlier_as_of.sql"
BEGIN_MODEL = FUNCTIONS + "begin_model.sql"
RATED = "dbt_project/models/intermediate/int_rated_chats.sql"
AI_USAGE = "dbt_project/models/marts/ai_usage/"
END_MODEL = FUNCTIONS + "end_model.sql"
PIN_BUILD = FUNCTIONS + "pin_build.sql"
UNREAD = FUNCTIONS + "models_with_unread_input.sql"
STORED_BUILD = "orchestration/operations/stored_build.py"
INTERMEDIATE = "dbt_project/models/intermediate/"
TOUCHED = "dbt_project/macros/touched/"
CLIENTS = "dbt_project/models/marts/clients/"
PLATFORM = "dbt_project/models/marts/platform/"
TRAFFIC = "dbt_project/models/marts/traffic/"
OPERATIONS = "dbt_project/models/marts/operations/"
PERCENTILE = FUNCTIONS + "percentile.sql"
POLICY_STATEMENTS = FUNCTIONS + "policy_statements.sql"
GRANTED = FUNCTIONS + "granted.sql"
SOURCES = "ingestion/sources/postgres/"


@dataclass(frozen=True, slots=True)
class Edit:
    """Text that is replaced in a file, wherever it stands there."""

    file: str
    old: str
    new: str


MUTANTS: dict[str, tuple[Edit, ...]] = {
    "the offset moves in a transaction before that of the rows": (
        Edit(
            STORED_BUILD,
            '"select warehouse.run_model(%s, %s, false)", (invocation, model)',
            '"select warehouse.end_model(m, b.invocation_id, 0, 0) '
            "from warehouse.stored_models as m, warehouse.builds as b, "
            "set_config('warehouse.mode', 'incremental', true), "
            "set_config('warehouse.from_batch', '0', true), "
            "set_config('warehouse.to_batch', b.batch_seq::text, true), "
            "set_config('warehouse.to_as_of', b.as_of::text, true) "
            'where b.invocation_id = %s and m.model = %s", (invocation, model))\n'
            "        with connection.transaction():\n"
            "            connection.execute("
            '"select warehouse.run_model(%s, %s, false)", (invocation, model)',
        ),
    ),
    "the pinned batch itself is not read": (
        Edit(CELLS, "batch_seq <= {{ to_batch() }}", "batch_seq < {{ to_batch() }}"),
    ),
    "an event at as_of is seen": (
        Edit(CELLS, "occurred_at < {{ as_of() }}", "occurred_at <= {{ as_of() }}"),
    ),
    "events that as_of has passed are forgotten": (
        Edit(
            CELLS,
            "        or (\n            occurred_on >=",
            "        or false and (\n            occurred_on >=",
        ),
    ),
    "an event at the last as_of is taken as seen before": (
        Edit(
            CELLS,
            "and occurred_at >= {{ from_as_of() }}",
            "and occurred_at > {{ from_as_of() }}",
        ),
    ),
    "one stream touches no cells": (
        Edit(
            INTERMEDIATE + "_intermediate__models.yml",
            "int_pdf_download_events: [occurred_on]",
            "int_pdf_download_events: {columns: [occurred_on], where: 1 = 0}",
        ),
    ),
    "a cell's old rows are not deleted": (
        Edit(
            CELLS,
            "this ~ ' where ' ~ is_in(meta.cells, touched_table())",
            "this ~ ' where false and ' ~ is_in(meta.cells, touched_table())",
        ),
    ),
    "a full refresh deletes nothing": (
        Edit(
            CELLS,
            "this ~ ' where ' ~ is_in(cells, changed_table)",
            "this ~ ' where false and ' ~ is_in(cells, changed_table)",
        ),
    ),
    "a rebuild keeps rows that are no longer computed": (
        Edit(
            CELLS,
            "(select {{ compared }} from {{ this }} except",
            "(select {{ compared }} from {{ this }} where false except",
        ),
    ),
    "a window's rows without events stay": (
        Edit(CELLS, "where current_setting('warehouse.mode') = 'window' and ", "where false and "),
    ),
    "a window moves the offset": (Edit(END_MODEL, "if run_mode = 'window' then", "if false then"),),
    "the first instant of the 720 hours is left out": (
        Edit(STATS, "occurred_at >= {{ active_since() }}", "occurred_at > {{ active_since() }}"),
    ),
    "a model moves past its upstream": (
        Edit(BEGIN_MODEL, "least(build.batch_seq, min(o.batch_seq))", "build.batch_seq"),
    ),
    "a build does not wait for a batch that is being committed": (
        Edit(PIN_BUILD, "    lock table warehouse.lock_batch_seq in row share mode;\n", ""),
    ),
    "an earlier as_of is taken": (
        Edit(REFUSE_EARLIER, "if wanted_as_of < warehouse.last_as_of() then", "if false then"),
    ),
    "a build without dbt overlooks what has become visible": (
        Edit(UNREAD, "o.passes_events and a.reads_facts", "false"),
    ),
    "a build without dbt overlooks a new day": (Edit(UNREAD, "o.passes_a_day\n", "false\n"),),
    "a build without dbt overlooks a date of a client": (
        Edit(UNREAD, "o.passes_clients and ", "false and "),
    ),
    "a build without dbt overlooks what an upstream model has written": (
        Edit(UNREAD, "u.written_batch_seq > a.batch_seq", "false"),
    ),
    "a build without dbt overlooks what was written as of another instant": (
        Edit(UNREAD, "u.written_as_of > a.as_of", "false"),
    ),
    "a build without dbt leaves the time-dependent rows": (
        Edit(UNREAD, " or m.is_time_dependent as is_due", " as is_due"),
    ),
    "a build without dbt runs a model before its upstream": (
        Edit(STORED_BUILD, "& self._upstream.keys() <= self._settled\n            and", "or"),
    ),
    "a build without dbt goes on after a failed test": (
        Edit(STORED_BUILD, "            and self._gates[model] <= self._passed\n", ""),
    ),
    "changed code is not compiled": (
        Edit(
            FUNCTIONS + "why_dbt.sql",
            "when exists (select 1 from nodes as n where not n.is_current)",
            "when false",
        ),
    ),
    "a changed view does not rebuild what reads it": (
        Edit(
            OFFSETS,
            "select digest from warehouse.view_digests",
            "select '' from warehouse.view_digests",
        ),
    ),
    "the pin is read twice": (
        Edit(
            BEGIN_MODEL,
            "least(build.batch_seq, min(o.batch_seq))",
            "(select max(b.batch_seq) from staging.event_batches as b)",
        ),
    ),
    "feedback touches its own day": (
        Edit(
            AI_USAGE + "_ai_usage__models.yml",
            "int_rated_chats: {macro: chats_of_message, "
            "columns: [\"coalesce(user_id, 'none')\", occurred_on]}",
            "int_rated_chats: [\"'none'\", \"(feedback_at at time zone 'utc')::date\"]",
        ),
    ),
    "the first feedback wins": (
        Edit(RATED, "order by occurred_at desc, event_id desc", "order by occurred_at, event_id"),
    ),
    "a later chat of the same message takes the feedback": (
        Edit(
            RATED,
            "message_id order by occurred_at, event_id\n",
            "message_id order by occurred_at desc, event_id desc\n",
        ),
    ),
    "a limit is reached only above it": (
        Edit(
            "dbt_project/macros/chats.sql",
            "tokens_so_far >= {{ share }}",
            "tokens_so_far > {{ share }}",
        ),
    ),
    "a late chat leaves its user new on the old day": (
        Edit(
            TOUCHED + "chats.sql",
            "where known.first_on > arrived.first_on",
            "where false",
        ),
    ),
    "a changed limit touches no month": (
        Edit(
            CELLS,
            "{{ is_changed(['created_at', 'churned_at'] | select('in', node.columns)) }}",
            "false",
        ),
    ),
    "an outbound message at the same instant answers": (
        Edit(
            INTERMEDIATE + "int_inbound_messages.sql",
            "messages.occurred_at > asked",
            "messages.occurred_at >= asked",
        ),
    ),
    "an answer touches its own day alone": (
        Edit(
            TOUCHED + "leads.sql",
            "direction = 'outbound'\n            and {{ is_increment",
            "false\n            and {{ is_increment",
        ),
    ),
    "an earlier creation leaves its lead new on the old day": (
        Edit(
            TOUCHED + "leads.sql",
            ") as moved\n    where {{ is_increment() }}",
            ") as moved\n    where false",
        ),
    ),
    "an earlier creation leaves its source on none of the lead's events": (
        Edit(
            TOUCHED + "leads.sql",
            "event = 'lead_created'\n            and {{ is_increment",
            "false\n            and {{ is_increment",
        ),
    ),
    "a late stage change touches its own day alone": (
        Edit(
            TOUCHED + "leads.sql",
            "least(next_change.occurred_on, next_creation.occurred_on),",
            "staged.occurred_on + 1,",
        ),
    ),
    "a late stage change leaves the next one as it was": (
        Edit(
            TOUCHED + "leads.sql",
            "and {{ is_increment() }}\n    ) as arrived",
            "and false\n    ) as arrived",
        ),
    ),
    "a new day has no rows until something happens": (
        Edit(
            TOUCHED + "clients.sql",
            "where spans.first_on <= spans.last_on\n            union all",
            "where false\n            union all",
        ),
    ),
    "a week is not compared anew when the one before changes": (
        Edit(
            TOUCHED + "periods.sql",
            "(values (interval '0'), (interval '1 {{ period_of_cells() }}'))",
            "(values (interval '0'))",
        ),
    ),
    "what is outstanding forgets the months before": (
        Edit(
            CLIENTS + "analytics_monthly.sql",
            "client_months.month_start >= sums.month_start",
            "client_months.month_start = sums.month_start",
        ),
    ),
    "a late win leaves the revenue of its lead's source": (
        Edit(
            CLIENTS + "_clients__models.yml",
            "in ('lead_created', 'job_won')",
            "in ('lead_created')",
        ),
    ),
    "a cohort that matures stays as it was": (
        Edit(
            TOUCHED + "leads.sql",
            "and {{ matures_at('lead_created_at') }} <= {{ as_of() }}",
            "and false",
        ),
    ),
    "a month that ends stays incomplete": (
        Edit(
            TOUCHED + "periods.sql",
            "where\n        {{ is_increment() }}\n        and {{ start_of(unit",
            "where\n        false\n        and {{ start_of(unit",
        ),
    ),
    "a month that is running is compared with the one before": (
        Edit(
            "dbt_project/macros/arithmetic.sql",
            "case when {{ is_complete }} then",
            "case when true then",
        ),
    ),
    "a month that begins leaves the earnings of cohorts": (
        Edit(
            TOUCHED + "clients.sql",
            "< {{ start_of('month', day_of(as_of())) }}",
            "< {{ start_of('month', day_of(as_of())) }} and false",
        ),
    ),
    "an event after its client's last day is not read": (
        Edit(
            INTERMEDIATE + "_intermediate__models.yml",
            " and new_rows.occurred_on <= known.last_on",
            "",
        ),
    ),
    "what a bill changes touches its own month alone": (
        Edit(
            CLIENTS + "_clients__models.yml",
            "where: event in ('invoice_sent', 'payment_received')",
            "where: 1 = 0",
        ),
    ),
    "a client that vanishes keeps its days": (
        Edit(
            TOUCHED + "clients.sql",
            "            select client_id from new_rows\n            except",
            "            select client_id from new_rows where false\n            except",
        ),
    ),
    "an earlier creation leaves the stages that the next one counted": (
        Edit(
            TOUCHED + "leads.sql",
            "(values ('lead_created'), ('lead_stage_changed'))",
            "(values ('lead_stage_changed'))",
        ),
    ),
    "a moment of an entity that is reached is not read": (
        Edit(
            CELLS,
            "or ({{ moment }} >= {{ from_as_of() }} and {{ moment }} < {{ as_of() }})",
            "",
        ),
    ),
    "amounts beyond bigint stop the build": (
        Edit(
            "dbt_project/macros/arithmetic.sql",
            "least(greatest({{ x }}, -9223372036854775807), 9223372036854775807)",
            "{{ x }}",
        ),
    ),
    "a window takes only weeks and months that begin in it": (
        Edit(CELLS, "'{{ period_of_cells() }}', nullif", "'day', nullif"),
    ),
    "a share of a limit is rounded before it is held against its steps": (
        Edit(
            "dbt_project/macros/arithmetic.sql",
            "div(abs({{ x }})::numeric * 2e{{ digits }} + {{ y }}, nullif(2 * {{ y }}, 0)",
            "round(abs({{ x }})::numeric * 1e{{ digits }} / nullif({{ y }}, 0)",
        ),
    ),
    "a step after 90 days counts": (
        Edit(
            "dbt_project/macros/clients.sql",
            "< make_interval(hours => {{ var('cohort_hours') }})",
            "<= make_interval(hours => {{ var('cohort_hours') }})",
        ),
    ),
    "a client that comes back pays for the first time": (
        Edit(
            PLATFORM + "platform_analytics.sql",
            "changes.date = first_revenues.date as is_first",
            "sum(changes.change) over until_the_days_end = changes.change as is_first",
        ),
    ),
    "what a client paid for before the touched days is forgotten": (
        Edit(
            PLATFORM + "platform_analytics.sql",
            "    from all_spells\n    group by client_id",
            "    from spells\n    group by client_id",
        ),
    ),
    "an open day's figures are restated": (
        Edit(
            "dbt_project/macros/trust.sql",
            "{{ restated.closes_at }} <= (select",
            "{{ restated.closes_at }} is distinct from (select",
        ),
    ),
    "a session ends a moment later than the gap": (
        Edit(
            TRAFFIC + "sessions.sql",
            "occurred_at - view_before_at >= {{ session_gap() }}",
            "occurred_at - view_before_at > {{ session_gap() }}",
        ),
    ),
    "a late view is cut by itself": (
        Edit(
            TOUCHED + "sessions.sql",
            "                and {{ is_increment() }}\n        ) as changed",
            "                and false\n        ) as changed",
        ),
    ),
    "a late day of a user moves no later one of theirs": (
        Edit(
            TOUCHED + "periods.sql",
            "values (later.seen_on), (later.converted_on)",
            "values (later.converted_on)",
        ),
    ),
    "of a late payment the next one is not moved": (
        Edit(
            TOUCHED + "periods.sql",
            "values (later.seen_on), (later.converted_on)",
            "values (later.seen_on)",
        ),
    ),
    "the 30 days of two days of a user meet at 29": (
        Edit(
            INTERMEDIATE + "int_window_users_daily.sql",
            "coalesce(seen_on + {{ var('conversion_days') }}, date)",
            "coalesce(seen_on + {{ var('conversion_days') }} - 1, date)",
        ),
    ),
    "five percent of errors are too many": (
        Edit(
            INTERMEDIATE + "int_api_error_windows.sql",
            "and 100 * error_calls >",
            "and 100 * error_calls >=",
        ),
    ),
    "a window is shown before it is complete": (
        Edit(
            OPERATIONS + "alert_history.sql",
            "where window_start + {{ window_length() }} <= {{",
            "where window_start <= {{",
        ),
    ),
    "what was done by hand is known by the alert's last name alone": (
        Edit(
            OPERATIONS + "alert_history.sql",
            "actions.alert_id = any(found.known_as)",
            "actions.alert_id = found.alert_id",
        ),
    ),
    "a late number leaves the hole after it as it was": (
        Edit(
            TOUCHED + "operations.sql",
            "changed.was_first_on is null",
            "false",
        ),
    ),
    "a number counts on every day that used it": (
        Edit(
            OPERATIONS + "ingest_loss_daily.sql",
            "and uses.occurred_on < used_numbers.occurred_on",
            "and false",
        ),
    ),
    "the instances of a site are counted apart": (
        Edit(
            OPERATIONS + "ingest_loss_daily.sql",
            "{{ site_of('used_numbers.producer') }} as producer",
            "used_numbers.producer",
        ),
    ),
    "what as_of has not passed is modelled": (
        Edit(
            INTERMEDIATE + "int_event_batches.sql",
            "count(*) filter (where events.occurred_at < {{ as_of() }}) as modelled",
            "count(*) as modelled",
        ),
    ),
    "percentiles do not lie between": (
        Edit(PERCENTILE, "* (fraction * (cardinality(sorted) - 1) % 1)", "* 0"),
    ),
    "changed code is not rebuilt": (
        Edit(BEGIN_MODEL, "or current_offset.checksum <> stored.checksum or", "or"),
    ),
    "a user sees what describes the whole client": (
        Edit(POLICY_STATEMENTS, "|| ' and ' || format(asked, 'sees_client')", ""),
    ),
    "views of marts show what their owner sees": (
        Edit("dbt_project/macros/views.sql", "security_invoker = true", "security_invoker = false"),
    ),
    "a pull goes on from its snapshot, whatever was open then": (
        Edit(
            SOURCES + "session.py",
            "since = min(filter(None, (asked_at, oldest)))",
            "since = asked_at",
        ),
    ),
    "a pull asks what is open after its snapshot": (
        Edit(
            SOURCES + "session.py",
            "        self.open = _open_transactions(connection, source)\n"
            '        connection.execute("begin isolation level repeatable read read only")\n',
            '        connection.execute("begin isolation level repeatable read read only")\n'
            '        connection.execute("select from pg_class limit 1")\n'
            "        self.open = _open_transactions(connection, source)\n",
        ),
    ),
    "the cursor moves before the rows have landed": (
        Edit(
            "ingestion/load/loader.py",
            "yield from ((part, False) for part in waiting)\n        raise",
            "yield from ((part, True) for part in waiting)\n        raise",
        ),
    ),
    "everybody may go on doing what they may by default": (
        Edit(GRANTED, "        a.grantee = 0\n        or r.rolname", "        r.rolname"),
    ),
}

OF_DBT = "tests/integration/test_dbt.py::test_"
OF_BUILDS = "tests/integration/test_offsets.py::test_"
OF_AI_USAGE = "tests/integration/test_ai_usage.py::test_"
OF_CLIENTS = "tests/integration/test_clients.py::test_"
OF_TRAFFIC = "tests/integration/test_traffic.py::test_"
OF_OPERATIONS = "tests/integration/test_operations.py::test_"
OF_LOCKS = "tests/integration/test_locks.py::test_"
OF_ACCESS = "tests/integration/test_access.py::test_"
OF_PULLS = "tests/integration/test_pull.py::test_"
NEAREST = {
    AI_USAGE: OF_AI_USAGE,
    CLIENTS: OF_CLIENTS,
    OPERATIONS: OF_OPERATIONS,
    TRAFFIC: OF_TRAFFIC,
    "dbt_project/macros/traffic.sql": OF_TRAFFIC,
    "dbt_project/macros/": OF_BUILDS,
    FUNCTIONS: OF_BUILDS,
    "ingestion/load/": OF_PULLS,
    SOURCES: OF_PULLS,
}
# In the order of their running time; a fault is caught by the first that fails.
TESTS = (
    OF_DBT + "every_unit_test_of_the_models_passes_whatever_the_time_zone_of_the_session[18]",
    OF_LOCKS + "a_build_waits_for_a_batch_that_is_being_committed",
    OF_BUILDS + "a_unit_falls_out_of_the_720_hours_a_microsecond_after_they_have_passed",
    OF_BUILDS + "an_earlier_as_of_is_refused_for_one_model_too[int_platform_stats]",
    OF_BUILDS + "a_full_refresh_may_go_to_an_earlier_as_of_and_back",
    OF_BUILDS + "a_batch_recomputes_exactly_the_days_that_it_touches",
    OF_BUILDS + "a_window_is_recomputed_as_of_the_last_build_and_moves_no_offset",
    OF_BUILDS + "a_downstream_model_built_alone_goes_as_far_as_the_lowest_upstream",
    OF_AI_USAGE + "a_new_chat_touches_its_own_cells_alone",
    OF_AI_USAGE + "feedback_touches_the_day_of_the_chat_and_not_its_own",
    OF_AI_USAGE + "a_changed_limit_touches_the_months_of_its_user_alone",
    OF_AI_USAGE + "means_and_shares_are_rounded_once",
    OF_CLIENTS + "a_late_answer_touches_the_day_of_the_question_and_its_own",
    OF_CLIENTS + "a_late_stage_change_touches_the_days_until_the_next_one",
    OF_CLIENTS + "an_earlier_creation_moves_the_lead_with_all_that_is_counted_of_it",
    OF_CLIENTS + "a_new_day_without_events_adds_its_rows_and_touches_no_other",
    OF_CLIENTS + "what_comes_to_pass_within_a_day_reaches_every_mart_below[event]",
    OF_CLIENTS + "what_comes_to_pass_within_a_day_reaches_every_mart_below[client]",
    OF_CLIENTS + "what_comes_to_pass_within_a_day_reaches_every_mart_below[user]",
    OF_CLIENTS + "a_first_build_and_a_new_day_restate_nothing",
    OF_CLIENTS + "a_period_that_ends_is_complete_and_compared_with_no_event_in_it",
    OF_CLIENTS + "a_window_takes_the_week_and_the_month_that_it_begins_in_whole",
    OF_CLIENTS + "amounts_of_any_size_stop_no_build",
    OF_CLIENTS + "what_comes_late_and_what_comes_to_pass_end_as_a_rebuild_does",
    OF_TRAFFIC + "a_late_view_that_joins_two_sessions_touches_their_hours_and_day",
    OF_OPERATIONS + "a_late_day_of_a_user_moves_where_their_next_days_count_from",
    OF_OPERATIONS + "a_number_touches_its_day_and_that_of_the_next_greater_one",
    OF_ACCESS + "every_role_may_call_the_functions_that_it_should_and_no_others",
    OF_ACCESS + "a_client_sees_all_of_its_own_rows_and_none_of_others[acme_app-acme]",
    OF_ACCESS + "a_user_sees_their_own_rows_and_none_of_others",
    OF_BUILDS + "a_batch_that_lands_while_a_build_runs_waits_for_the_next_build",
    OF_BUILDS + "an_event_appears_once_as_of_has_passed_it_without_a_new_batch",
    OF_BUILDS + "a_changed_model_is_rebuilt_and_so_are_its_descendants_and_no_other",
    OF_BUILDS + "a_killed_build_leaves_rows_and_offsets_in_step_and_started_again_ends_like_an_"
    "unbroken_one[int_platform_activity_daily-rows-stored]",
    OF_PULLS + "a_stream_that_fails_midway_moves_no_cursor",
    OF_PULLS + "a_row_that_commits_late_is_not_missed",
    OF_PULLS + "a_row_that_commits_while_a_pull_begins_is_not_missed[True]",
    OF_BUILDS + "a_failing_test_stops_what_is_downstream_and_nothing_else[False]",
)  # fmt: skip

# Seconds that a test may take, on a busy machine too.
TIMEOUT = 300
# At once: on two cores, for tests often wait for other processes.
WORKERS = 3


@dataclass(frozen=True, slots=True)
class Caught:
    """The test that failed, those that had passed before it, and whether it took too long."""

    test: str
    before: tuple[str, ...]
    is_timeout: bool

    def __str__(self) -> str:
        how = "caught by a timeout in" if self.is_timeout else "caught by"
        return f"{how} {self.test.partition('::test_')[2]}"


def main(arguments: list[str]) -> int:
    """Plant the faults that the arguments choose, all by default; return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.support.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants by name; default: all")
    parser.add_argument("--some", type=int, metavar="N", help="take N of them at random")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000))
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.names) - set(MUTANTS)):
        parser.error(f"no such mutant: {', '.join(unknown)}")
    names = chosen.names or list(MUTANTS)
    if chosen.some is not None:
        names = random.Random(chosen.seed).sample(names, min(chosen.some, len(names)))
        print(f"{len(names)} of {len(MUTANTS)} mutants, --seed {chosen.seed}", flush=True)

    survivors = []
    runs_that_caught: set[tuple[str, ...]] = set()
    with ThreadPoolExecutor(WORKERS) as pool:
        runs = {
            pool.submit(_run, MUTANTS[name], _nearest_first(MUTANTS[name])): name for name in names
        }
        for number, run in enumerate(as_completed(runs), start=1):
            caught = run.result()
            if caught is None:
                survivors.append(runs[run])
            else:
                runs_that_caught.add((*caught.before, caught.test))
            print(f"{number}/{len(names)} {runs[run]}: {caught or 'SURVIVED'}", flush=True)
    # The same tests in the same order: one may fail for what another has left.
    for tests in sorted(runs_that_caught, key=len):
        if any(longer[: len(tests)] == tests for longer in runs_that_caught - {tests}):
            continue
        if broken := _run((), list(tests)):
            print(f"None of this counts: without any fault, too, {broken.test} fails.")
            return 2
    print(f"{len(names) - len(survivors)} of {len(names)} mutants were caught.")
    for name in survivors:
        print(f"Survived: {name}")
    return int(bool(survivors))


def _run(edits: tuple[Edit, ...], tests: list[str]) -> Caught | None:
    """Run tests on a copy with the edits, until one of them fails."""
    if not tests:
        return None
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory)
        for part in PARTS:
            source = PROJECT_DIR / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
                shutil.copytree(source, copy / part, ignore=ignored)
            else:
                shutil.copy(source, copy / part)
        for edit in edits:
            file = copy / edit.file
            text = file.read_text("utf-8")
            if edit.old not in text:
                raise SystemExit(f"{edit.file} no longer holds what a mutant changes: {edit.old!r}")
            file.write_text(text.replace(edit.old, edit.new), "utf-8")
        options = ["-n0", "-x", "-q", "--tb=no", "-m", "", f"--timeout={TIMEOUT}"]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=copy,
            # The copy comes before the installed project, also in processes that tests start.
            env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "1000"},
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode == 0:
        return None
    for line in run.stdout.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            test = next((test for test in tests if f" {test}" in line), None)
            if test is not None:
                return Caught(test, tuple(tests[: tests.index(test)]), "Timeout (>" in line)
    # The tests did not fail but could not run: pytest was called wrongly, or cannot collect them.
    raise SystemExit(f"pytest ended with {run.returncode}:\n{run.stdout}\n{run.stderr}")


def _nearest_first(edits: tuple[Edit, ...]) -> list[str]:
    """Order the tests: those of the changed marts first, for they catch most of their faults."""
    near = {NEAREST[folder] for folder in NEAREST for edit in edits if edit.file.startswith(folder)}
    return sorted(TESTS, key=lambda test: not any(test.startswith(start) for start in near))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
