"""Marts after an erasure are those of a warehouse that the subject never came to."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from orchestration.erase import erase
from tests.building import build_at, rows_of_models, touched
from tests.erasing import AS_OF, SUBJECTS, a_template, is_of, stream, unexplained
from tests.lines import rows, value


@pytest.fixture(scope="module")
def wholes(servers, tmp_path_factory):
    yield from a_template(servers(18), tmp_path_factory.mktemp("landed"))


@pytest.fixture
def whole(wholes) -> Iterator[psycopg.Connection]:
    """A warehouse with all models built."""
    with wholes() as connection:
        yield connection


def test_what_is_left_is_what_would_be_there_had_the_subject_never_come(
    whole: psycopg.Connection,
) -> None:
    subject = SUBJECTS["lead of a client"]
    cells = dict.fromkeys(("analytics_daily", "analytics_weekly", "top_pages_daily"), "client_id")
    cells |= {"lead_funnel": "client_id || ' ' || lead_id", "user_daily_usage": "user_id"}
    # What it touches is rewritten, and nothing else.
    assert touched(whole, cells, lambda: erase(subject, "dpo")) == {
        "analytics_daily": {"acme"},
        "analytics_weekly": {"acme"},
        "lead_funnel": {"acme lead-ann"},
        "user_daily_usage": set(),
        "top_pages_daily": set(),
    }
    removed = value(whole, "select removed -> 'staging.raw_events' from warehouse.erasures")
    assert removed == sum(is_of(one, subject) for one in stream())
    assert unexplained(whole) == 0
    # What closed periods say now is told, and why.
    assert rows(whole, "select distinct cause from marts.restatements") == [("erasure",)]
    assert value(whole, "select count(*) from warehouse.erased_rows") == 0
    after = rows_of_models(whole)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(whole) == after


def test_of_an_erased_client_no_figure_is_told(whole: psycopg.Connection) -> None:
    erase(SUBJECTS["client"], "dpo")
    told = "select mart, client_id from marts.restatements where client_id <> 'none'"
    assert rows(whole, told) == []
    assert rows(whole, "select distinct client_id from marts.analytics_daily") == [("beta",)]
    assert rows(whole, "select client_id from staging.users") == []
