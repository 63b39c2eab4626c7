"""The HTTP API: who sees what, in which form, and what no request can do."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import psycopg
import pytest
import requests
import schemathesis
from opentelemetry import _logs, metrics, trace
from psycopg import sql

from orchestration.operations import build as builds
from serving import service
from serving.catalogue import Access, Mart, Type, marts
from serving.connections import Connections
from serving.mart_query import MartQuery
from tests.conftest import DEEP, WAREHOUSE, Server, examples
from tests.support.api import READERS, Api, served, with_keys_of_readers
from tests.support.browser import a_browser
from tests.support.building import build_at
from tests.support.lines import rows, value
from tests.support.people import (
    AS_OF,
    HOSTILE,
    land_both_tenants,
    sign_in,
    url_of,
    warehouse_with_people,
)
from tests.support.processes import until
from tests.support.query_work import grow_rival, work_of
from tests.support.webhook import free_port
from warehouse import key_store
from warehouse.settings import Settings
from warehouse.sign_in_links import new_link

ENDPOINTS = ("/v1/marts", "/v1/marts/analytics_daily", "/v1/dashboard", "/v1/alerts",
             "/v1/funnel?from=2026-01-01&to=2026-02-01&client_id=acme")  # fmt: skip
SITE = "https://www.example.com"


@pytest.fixture(scope="module")
def owner(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection]:
    """The owner of a warehouse with two tenants in it, built; people of all roles are there."""
    with warehouse_with_people(servers(18)) as connection:
        land_both_tenants(tmp_path_factory.mktemp("events"))
        build_at(AS_OF)
        yield connection


@pytest.fixture(scope="module")
def api(owner: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = tmp_path_factory.mktemp("home")
    with served(
        owner,
        home,
        WAREHOUSE_MARKETING_ORIGINS=SITE,
        WAREHOUSE_MARKETING_NETWORKS="10.1.0.0/16",
        WAREHOUSE_API_CONNECTIONS="4",
    ) as api:
        with_keys_of_readers(api)
        yield api


@pytest.fixture(scope="module")
def operated(owner: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API behind a proxy, with little time for answers, and a mart that few plans include."""
    changed = dict(marts())
    changed["lead_sources"] = replace(changed["lead_sources"], plans=("pro", "enterprise"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "marts", lambda: changed)
        with served(
            owner,
            tmp_path_factory.mktemp("home"),
            WAREHOUSE_API_URL="https://data.example/analytics/",
            WAREHOUSE_API_TIMEOUT_SECONDS="0.5",
            WAREHOUSE_API_CSV_TIMEOUT_SECONDS="0.5",
            WAREHOUSE_MARKETING_NETWORKS="10.1.0.0/16",
            WAREHOUSE_TRUSTED_PROXIES="127.0.0.0/8",
        ) as api:
            with_keys_of_readers(api)
            yield api


def may_read(reader: str, mart: Mart) -> bool:
    """Whom a mart is for, said once more."""
    return (
        reader == "ann"
        or {
            Access.ANALYSTS: False,
            Access.CLIENT: reader != "user",
            Access.CLIENT_AND_USER: True,
            Access.USER: reader == "user",
        }[mart.access]
    )


def data(response: requests.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return response.json()["data"]


@pytest.mark.parametrize("reader", READERS)
def test_every_mart_shows_a_reader_what_the_database_does(
    api: Api, owner: psycopg.Connection, reader: str
) -> None:
    foreign = {"acme": "rival", "user": "rival", "rival": "acme"}.get(reader)
    found = 0
    with sign_in(owner, READERS[reader]) as person:
        for mart in marts().values():
            answer = api.get(f"/v1/marts/{mart.name}?limit=10000", reader)
            as_csv = api.get(f"/v1/marts/{mart.name}?format=csv", reader)
            assert foreign is None or foreign not in answer.text + as_csv.text
            if not may_read(reader, mart):
                assert (answer.status_code, as_csv.status_code) == (403, 403), mart.name
                continue
            seen = person.execute(
                sql.SQL("select count(*) from {}").format(sql.Identifier("marts", mart.name))
            ).fetchone()[0]
            assert len(data(answer)) == seen, mart.name
            assert as_csv.text.splitlines()[-1] == f"# rows: {seen}"
            found += seen
            assert answer.json()["meta"]["next_cursor"] is None
    assert found > 50 or reader == "user"
    listed = {one["mart"] for one in data(api.get("/v1/marts", reader))}
    assert listed == {mart.name for mart in marts().values() if may_read(reader, mart)}


def test_no_filter_shows_whether_another_tenant_has_something(api: Api) -> None:
    asked = 0
    for mart in marts().values():
        if not may_read("acme", mart):
            continue
        theirs = data(api.get(f"/v1/marts/{mart.name}?limit=10000", "rival"))
        own = data(api.get(f"/v1/marts/{mart.name}?limit=10000", "acme"))
        for column in mart.filters:
            secret = {str(row[column.name]) for row in theirs} - {
                str(row[column.name]) for row in own
            }
            for given in sorted(secret - {"None"})[:2]:
                asked += 1
                answers = [
                    api.get(f"/v1/marts/{mart.name}", "acme", params={column.name: one} | more)
                    for one in (given, unlike(given, column.type))
                    for more in ({}, {"format": "csv"})
                ]
                assert data(answers[0]) == data(answers[2]) == []
                assert answers[1].text == answers[3].text
                metas = [answers[n].json()["meta"] | {"freshness_seconds": 0} for n in (0, 2)]
                assert metas[0] == metas[1]
    assert asked > 30


def unlike(given: str, type: Type) -> str:
    """A value of the same type that nobody has."""
    return {
        Type.TEXT: "x" * len(given),
        Type.UUID: "00000000-0000-0000-0000-000000000000",
        Type.DATE: "1999-01-01",
        Type.TIMESTAMP: "1999-01-01T00:00:00Z",
    }[type]


# How many rows of others a table has, and how many more it gets. Of few rows PostgreSQL reads all.
FEW, MANY = 1_000, 50_000
READ_BY_INDEX = ("analytics_daily", "lead_funnel", "chat_events")


def queries_of(mart: Mart) -> list[MartQuery]:
    """What a tenant may ask of a mart without a filter: all, and a month of it."""
    everything = MartQuery(mart, tuple(mart.columns))
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    return [everything, *([replace(everything, start=start, end=end)] if mart.period else [])]


def pairs_of(api: Api, mart: Mart) -> list[tuple[MartQuery, MartQuery]]:
    """For each filter of a mart, a value that only rival has, and one that nobody has."""
    rows = data(api.get(f"/v1/marts/{mart.name}?limit=10000", "ann"))
    rivals = [row for row in rows if "rival" in str(row)]
    others = [row for row in rows if "rival" not in str(row)]
    pairs = []
    for column in mart.filters:
        theirs, known = ({str(row[column.name]) for row in part} for part in (rivals, others))
        if only_theirs := theirs - known - {"None"}:
            given = min(only_theirs)
            asked = [
                MartQuery(mart, tuple(mart.columns), filters={column.name: [one]})
                for one in (given, unlike(given, column.type))
            ]
            pairs.append((asked[0], asked[1]))
    return pairs


@pytest.mark.parametrize(
    ("reader", "names"),
    [("acme", READ_BY_INDEX), DEEP("acme", ()), DEEP("user", ())],
)
def test_what_a_tenants_page_takes_depends_on_no_rows_of_others(
    api: Api, owner: psycopg.Connection, reader: str, names: tuple[str, ...]
) -> None:
    chosen = [
        mart
        for mart in marts().values()
        if may_read(reader, mart) and (not names or mart.name in names)
    ]
    pairs = [pair for mart in chosen for pair in pairs_of(api, mart)]
    asked = [query for mart in chosen for query in queries_of(mart)]
    asked += [foreign for foreign, _ in pairs]
    role = READERS[reader]
    with owner.transaction(force_rollback=True):
        owner.execute(
            "insert into warehouse.restatements (mart, client_id, period, old_values, cause, run) "
            "select 'analytics_daily', unnest(array['acme', 'rival']), '2026-01-29', '{}', "
            "'rebuild', 'a run'"
        )
        grow_rival(owner, FEW)
        before = [work_of(owner, role, query) for query in asked]
        assert grow_rival(owner, MANY) > 20
        after = [work_of(owner, role, query) for query in asked]
        of_pairs = [(work_of(owner, role, one), work_of(owner, role, two)) for one, two in pairs]
    more = [
        (query.mart.name, query.start, query.filters, then, now)
        for query, then, now in zip(asked, before, after, strict=True)
        # An index of more rows may be some levels higher.
        if now.rows > then.rows or now.pages > then.pages + 2 * now.scans
    ]
    assert not more, "\n".join(map(str, more))
    unequal = [
        (query.mart.name, query.filters, foreign, nobody)
        for (query, _), (foreign, nobody) in zip(pairs, of_pairs, strict=True)
        if foreign.rows != nobody.rows or abs(foreign.pages - nobody.pages) > 1
    ]
    assert not unequal, "\n".join(map(str, unequal))


def test_a_tenant_learns_no_client_of_others_from_the_funnel(api: Api) -> None:
    days = "/v1/funnel?from=2026-01-01&to=2026-02-01"
    own = data(api.get(days, "acme"))
    assert [stage["leads"] for stage in own][:1] == [1]
    assert own == data(api.get(f"{days}&client_id=acme", "acme"))
    assert own == data(api.get(f"{days}&client_id=acme", "ann"))
    foreign, nobody = (
        data(api.get(f"{days}&client_id={client}", "acme")) for client in ("rival", "nobody")
    )
    assert foreign == nobody
    assert {stage["leads"] for stage in foreign} == {0}
    assert api.get(days, "user").status_code == 403
    assert "client_id" in api.get(days, "ann").json()["hint"]
    # The end is not included.
    last = max(row["created_at"] for row in data(api.get("/v1/marts/funnel_events", "acme")))[:10]
    until_last = data(api.get(f"/v1/funnel?from=2026-01-01&to={last}", "acme"))
    assert {stage["leads"] for stage in until_last} == {0}


@pytest.mark.parametrize("key", [None, "expired", "revoked", "no such key", "site"])
def test_without_a_key_that_reads_there_is_no_answer(api: Api, key: str | None) -> None:
    for path in (*ENDPOINTS, "/v1/marts/no_such_mart"):
        answer = api.get(path, key)
        assert answer.status_code == (403 if key == "site" else 401)
        assert answer.json().keys() == {"error", "detail", "hint"}
        assert answer.headers["cache-control"] == "no-store"
    for verb in ("acknowledge", "resolve"):
        assert api.request("POST", f"/v1/alerts/a/{verb}", key).status_code in {401, 403}


def test_two_readers_never_share_an_etag(api: Api) -> None:
    tags = [api.get("/v1/marts/lead_sources", who).headers["etag"] for who in ("acme", "rival")]
    tags += [api.get("/v1/marts/lead_sources?limit=3", "acme").headers["etag"]]
    assert len(set(tags)) == 3
    for answer in (
        api.get("/v1/marts/lead_sources", "rival", headers={"If-None-Match": tags[0]}),
        api.get("/v1/marts/lead_sources?format=csv", "acme", headers={"If-None-Match": tags[0]}),
    ):
        assert answer.status_code == 200


def test_an_answer_is_sent_again_once_a_build_may_have_changed_it(
    api: Api, owner: psycopg.Connection
) -> None:
    def status(path: str, tag: str) -> int:
        answer = api.get(path, "acme", headers={"If-None-Match": f'"other", W/{tag}'})
        assert answer.status_code == 200 or (answer.content, answer.headers["etag"]) == (b"", tag)
        return answer.status_code

    path = "/v1/marts/lead_sources"
    tag = api.get(path, "acme").headers["etag"]
    assert status(path, tag) == 304
    as_of = AS_OF + timedelta(hours=1)
    build_at(as_of)
    until(lambda: status(path, tag) == 200, 5)
    answer = api.get(path, "acme")
    assert answer.json()["meta"]["built_as_of"] == as_of.isoformat().replace("+00:00", "Z")
    tag = answer.headers["etag"]
    # A backfill moves no offset.
    build_at(as_of, start=date(2026, 1, 1), end=date(2026, 2, 1))
    until(lambda: status(path, tag) == 200, 5)
    # What people do about alerts needs no build.
    assert "etag" not in api.get("/v1/marts/alert_history", "ann").headers
    assert "etag" not in api.get("/v1/marts/restatements", "ann").headers


def test_answers_say_what_they_are_worth(api: Api) -> None:
    path = "/v1/marts/analytics_daily"
    meta = api.get(path, "acme").json()["meta"]
    assert (meta["mart"], meta["time_zone"], meta["is_dense"]) == ("analytics_daily", "UTC", True)
    assert meta["last_check_status"] in {"passed", "constraints only"}
    assert meta["freshness_seconds"] > 0
    assert (meta["period_complete"], meta["running_period"]) == (False, "2026-01-31")
    assert api.get(f"{path}?from=2026-01-01&to=2026-01-31", "acme").json()["meta"][
        "period_complete"
    ]
    running = api.get(f"{path}?from=2026-01-01&to=2026-02-01", "acme").json()["meta"]
    assert not running["period_complete"]
    month = "/v1/marts/conversion_funnel?from=2026-01&to=2026-02"
    meta = api.get(month, "acme").json()["meta"]
    assert (meta["period_complete"], meta["running_period"]) == (False, "2026-01")
    assert not meta["is_dense"]
    headers = api.get(f"{month}&format=csv", "acme").headers
    assert headers["x-warehouse-mart"] == "conversion_funnel"
    assert headers["x-warehouse-batch-seq"] == str(meta["batch_seq"])
    assert headers["x-warehouse-period-complete"] == "false"


def test_a_range_is_half_open_on_every_kind_of_period(api: Api) -> None:
    def count(mart: str, start: str, end: str) -> int:
        return len(data(api.get(f"/v1/marts/{mart}", "ann", params={"from": start, "to": end})))

    days = data(api.get("/v1/marts/analytics_daily?client_id=acme", "ann"))
    assert count("analytics_daily", "2026-01-10", "2026-01-12") == 4
    assert [row["date"] for row in days][:1] == ["2026-01-05"]
    assert count("analytics_weekly", "2026-01-05", "2026-01-12") == 2
    assert count("analytics_weekly", "2026-01-06", "2026-01-12") == 0
    assert count("analytics_monthly", "2026-01", "2026-02") == 2
    assert count("analytics_monthly", "2026-01-02", "2026-02-01") == 0
    assert count("analytics_monthly", "2026-01-01", "2026-01-02") == 2
    used = count("user_monthly_usage", "2026-01", "2026-02")
    assert used > 0
    assert count("user_monthly_usage", "2026-02", "2026-03") == 0
    chats = data(api.get("/v1/marts/chat_events?order=created_at", "ann"))
    first, last = chats[0]["created_at"], chats[-1]["created_at"]
    assert count("chat_events", first, last) == sum(c["created_at"] < last for c in chats)
    assert count("chat_events", "2026-01-01", "2026-02-01") == len(chats)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("from=2026-01-01", "`to`"),
        ("to=2026-01-01", "`from`"),
        ("from=2026-02-01&to=2026-02-01", "before"),
        ("from=yesterday&to=2026-02-01", "2026-01-31"),
        ("from=2026-02-30&to=2026-03-01", "2026-01-31"),
        ("from=20260201&to=2026-03-01", "2026-01-31"),
        ("columns=client_id,no_such", "'new_leads'"),
        ("columns=", "'new_leads'"),
        ("order=no_such", "'-date'"),
        ("order=date,-date", "twice"),
        ("limit=0", "1"),
        ("limit=10001", "10000"),
        ("limit=1_0", "whole number"),
        ("cursor=abc", "next_cursor"),
        ("cursor=bnVsbA", "next_cursor"),
        ("format=xml", "'csv'"),
        ("plan=pro", "`plan`"),
        ("client_id=%00", "NUL"),
    ],
)
def test_a_wrong_parameter_is_answered_with_what_would_be_right(
    api: Api, query: str, word: str
) -> None:
    answer = api.get(f"/v1/marts/analytics_daily?{query}", "acme")
    assert answer.status_code == 400
    error = answer.json()
    assert error["error"] == "bad_request"
    assert word in f"{error['detail']} {error['hint']}"
    assert answer.headers["cache-control"] == "no-store"


def test_an_unknown_mart_is_answered_with_the_nearest_that_may_be_read(api: Api) -> None:
    answer = api.get("/v1/marts/analytics_dayly", "acme")
    assert (answer.status_code, "analytics_daily" in answer.json()["hint"]) == (404, True)
    answer = api.get("/v1/marts/business_metric", "acme")
    assert "business_metrics" not in answer.json()["hint"]
    assert api.get("/nothing").status_code == 404


def test_pages_together_are_all_rows_in_any_order(api: Api) -> None:
    paged = 0
    for mart in marts().values():
        path = f"/v1/marts/{mart.name}"
        all_rows = data(api.get(f"{path}?limit=10000", "ann"))
        if not 2 < len(all_rows) < 40:
            continue
        sortable = [c.name for c in mart.columns.values() if c.nullable and c.type != Type.JSON]
        for number, column in enumerate([None, *sortable[:3]]):
            order = {} if column is None else {"order": f"{'-' * (number % 2)}{column}"}
            found: list[dict[str, Any]] = []
            cursor: str | None = ""
            while cursor is not None:
                more = {"cursor": cursor} if cursor else {}
                answer = api.get(path, "ann", params={"limit": "3"} | order | more).json()
                found += answer["data"]
                cursor = answer["meta"]["next_cursor"]
            if mart.name not in {"mart_status", "dashboard_summary"}:
                assert sorted(map(repr, found)) == sorted(map(repr, all_rows)), (mart.name, order)
            assert len(found) == len(all_rows)
            if column is not None:
                values = [row[column] for row in found if row[column] is not None]
                if mart.columns[column].type != Type.TEXT:
                    assert values == sorted(values, reverse=number % 2 == 1), (mart.name, order)
            paged += 1
    assert paged > 50


def test_a_cursor_is_for_its_own_query(api: Api) -> None:
    path = "/v1/marts/analytics_daily?limit=2"
    cursor = api.get(path, "acme").json()["meta"]["next_cursor"]
    assert data(api.get(f"{path}&cursor={cursor}&columns=date", "acme")) == [
        {"date": "2026-01-07"}, {"date": "2026-01-08"},
    ]  # fmt: skip
    for more in ("order=-date", "from=2026-01-01&to=2026-02-01", "client_id=acme"):
        answer = api.get(f"{path}&cursor={cursor}&{more}", "acme")
        assert answer.status_code == 400
    # With another's cursor one sees one's own rows.
    rivals = api.get(path, "rival").json()["meta"]["next_cursor"]
    assert data(api.get(f"{path}&cursor={rivals}", "acme")) == []


def test_csv_is_what_json_is(api: Api) -> None:
    for name in ("analytics_daily", "chat_events", "restatements", "user_current_month", "users"):
        answer = api.get(f"/v1/marts/{name}", "ann", headers={"Accept": "text/csv"})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        *lines, trailer = answer.text.splitlines()
        read = list(csv.DictReader(io.StringIO("\n".join(lines))))
        expected = data(api.get(f"/v1/marts/{name}?limit=10000", "ann"))
        assert trailer == f"# rows: {len(expected)}"
        assert [list(row) for row in read] == [list(row) for row in expected]
        for row, other in zip(read, expected, strict=True):
            assert {key: text == "" for key, text in row.items()} == {
                key: one in (None, "") for key, one in other.items()
            }


def test_numbers_keep_every_digit(api: Api, owner: psycopg.Connection) -> None:
    text = api.get("/v1/marts/revenue_events?columns=amount_usd&limit=1", "ann").text
    (exact,) = owner.execute("select amount_usd::text from marts.revenue_events limit 1").fetchone()
    assert f'"amount_usd":{exact}' in text


def test_a_request_is_answered_alike_when_it_comes_again(api: Api) -> None:
    path = "/v1/marts/analytics_daily?client_id=acme"
    long = path + "&client_id=nobody" * 150
    found = [data(api.get(one, "acme")) for one in (long, path, long, path)]
    assert found[0]
    assert found == 4 * found[:1]
    wrong = [api.get(f"{path}&limit=0", "acme") for _ in range(2)]
    assert [answer.status_code for answer in wrong] == [400, 400]
    assert wrong[0].text == wrong[1].text


def test_hostile_values_are_values(api: Api) -> None:
    for hostile in HOSTILE:
        for more in ({}, {"format": "csv"}):
            answer = api.get(
                "/v1/marts/analytics_daily", "ann", params={"client_id": [hostile, "acme"]} | more
            )
            assert answer.status_code == 200, hostile
            assert (
                api.get("/v1/marts/analytics_daily", "ann", params={"client_id": hostile}).json()[
                    "data"
                ]
                == []
            )
        assert (
            api.get(f"/v1/marts/{requests.utils.quote(hostile, safe='')}", "ann").status_code == 404
        )


def test_the_summary_comes_in_groups(api: Api) -> None:
    for period in ("1h", "24h", "7d", "30d"):
        answer = api.get(f"/v1/dashboard?period={period}", "ann").json()
        assert answer["data"].keys() == {"users", "performance", "revenue", "system"}
        row = data(api.get(f"/v1/marts/dashboard_summary?period={period}", "ann"))[0]
        grouped = {name: one for group in answer["data"].values() for name, one in group.items()}
        assert grouped == {k: v for k, v in row.items() if k not in {"period", "updated_at"}}
    assert api.get("/v1/dashboard?period=2d", "ann").status_code == 400
    assert api.get("/v1/dashboard", "acme").status_code == 403


def test_people_acknowledge_and_resolve_alerts_by_name(api: Api, owner: psycopg.Connection) -> None:
    alerts = data(api.get("/v1/alerts", "ann"))
    assert len(alerts) > 1
    assert [alert["created_at"] for alert in alerts] == sorted(
        (alert["created_at"] for alert in alerts), reverse=True
    )
    id = requests.utils.quote(alerts[0]["alert_id"], safe="")
    assert api.get("/v1/alerts", "acme").status_code == 403
    assert api.request("POST", f"/v1/alerts/{id}/resolve", "acme").status_code == 403
    before = datetime.now(UTC)
    answer = api.request("POST", f"/v1/alerts/{id}/acknowledge", "ann")
    assert answer.status_code == 200, answer.text
    done = answer.json()["data"]
    assert done["acknowledged_by"] == "ann"
    assert before <= datetime.fromisoformat(done["acknowledged_at"]) <= datetime.now(UTC)
    again = api.request("POST", f"/v1/alerts/{id}/acknowledge", "ann")
    assert (again.status_code, again.json()["error"]) == (409, "already_done")
    assert api.request("POST", f"/v1/alerts/{id}/resolve", "ann").json()["data"]["resolved"]
    left = {alert["alert_id"] for alert in data(api.get("/v1/alerts", "ann"))}
    assert alerts[0]["alert_id"] not in left
    shown = {
        alert["alert_id"] for alert in data(api.get("/v1/alerts?include_resolved=true", "ann"))
    }
    assert shown == left | {alerts[0]["alert_id"]}
    for unknown in ("nothing", "%00", "'; drop table warehouse.alert_actions; --"):
        assert api.request("POST", f"/v1/alerts/{unknown}/resolve", "ann").status_code == 404
    assert value(owner, "select count(*) from warehouse.alert_actions") == 2


def test_a_cookie_acts_only_from_pages_of_the_api_itself(api: Api) -> None:
    def acknowledge(**headers: str) -> int:
        cookie = {"Cookie": f"warehouse_key={api.keys['ann']}"}
        return api.request("POST", "/v1/alerts/x/resolve", headers=cookie | headers).status_code

    assert data(api.get("/v1/alerts", headers={"Cookie": f"warehouse_key={api.keys['ann']}"}))
    assert acknowledge() == 403
    assert acknowledge(Origin="https://evil.example") == 403
    assert acknowledge(Origin=api.url) == 404


@contextmanager
def locked(owner: psycopg.Connection, mart: str) -> Iterator[None]:
    """Let every query of a mart wait meanwhile."""
    with owner.transaction():
        owner.execute(sql.SQL("lock table {}").format(sql.Identifier("marts", mart)))
        yield


def waiting(owner: psycopg.Connection) -> list[str]:
    """The roles of the API's sessions that are in a transaction."""
    owner.execute("select pg_stat_clear_snapshot()")
    return rows(
        owner,
        "select state, wait_event_type from pg_stat_activity "
        "where application_name = 'warehouse api' and state <> 'idle'",
    )


def test_a_statement_that_fails_as_it_is_prepared_works_the_next_time(api: Api) -> None:
    """psycopg prepares at the sixth use, and takes that for done before it is sent."""
    import asyncio

    from serving.connections import Connections
    from serving.errors import ApiError

    async def use() -> list[object]:
        connections = Connections(1, 5)
        await connections.open()
        found: list[object] = []
        try:
            for number in range(12):
                role = "nobody_at_all" if number == 5 else "ann_analyst"
                try:
                    found += await connections.rows(
                        role, "select 1 where %(n)s >= 0", {"n": number}
                    )
                except ApiError as error:
                    found.append(error.error)
        finally:
            await connections.close()
        return found

    assert asyncio.run(use()) == [*[(1,)] * 5, "bad_request", *[(1,)] * 6]


def test_no_request_writes(api: Api) -> None:
    import asyncio

    from serving.connections import Connections

    async def attempt(*statements: str) -> None:
        connections = Connections(2, 5)
        await connections.open()
        try:
            async with connections.as_role("ann_analyst", 5) as connection:
                for statement in statements:
                    await connection.execute(statement)
        finally:
            await connections.close()

    for statements in (
        ["create temporary table t ()"],
        ["set transaction read write", "create temporary table t ()"],
        [
            "set local role none",
            "insert into warehouse.alert_actions values ('a', 'resolved', 'b')",
        ],
        ["delete from marts.analytics_daily"],
    ):
        with pytest.raises(psycopg.Error) as refused:
            asyncio.run(attempt(*statements))
        assert refused.value.sqlstate in {"25006", "25001", "42501"}, statements


def test_no_request_outlives_its_timeout(operated: Api, owner: psycopg.Connection) -> None:
    with locked(owner, "stats_daily"):
        for more in ("", "?format=csv"):
            answer = operated.get(f"/v1/marts/stats_daily{more}", "acme")
            assert (answer.status_code, answer.json()["error"]) == (503, "too_slow")
            assert int(answer.headers["retry-after"]) > 0
        assert waiting(owner) == []
    assert data(operated.get("/v1/marts/stats_daily", "acme"))


def test_a_killed_request_hands_nothing_on(api: Api, owner: psycopg.Connection) -> None:
    def send(path: str, key: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", api.port))
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.keys[key]}\r\n\r\n"
        client.sendall(head.encode())
        return client

    # In the middle of a query, as many at once as there are connections, as two roles.
    with locked(owner, "lead_sources"):
        clients = [
            send(f"/v1/marts/lead_sources{more}", who)
            for who in ("acme", "ann")
            for more in ("", "?format=csv")
        ]
        until(lambda: len(waiting(owner)) == 4)
        for client in clients:
            client.close()
    until(lambda: waiting(owner) == [])
    for _ in range(3):
        for who, other in (("acme", "rival"), ("rival", "acme"), ("ann", "acme")):
            seen = {row["client_id"] for row in data(api.get("/v1/marts/lead_sources", who))}
            assert seen == ({who} if who != "ann" else {"acme", "rival"}), other


@pytest.mark.usefixtures("api")
def test_a_cancelled_request_gives_its_connection_back() -> None:
    async def cancelled_until_it_ends(connections: Connections) -> None:
        is_held = asyncio.Event()

        async def hold() -> None:
            async with connections.as_role("acme_app", 60) as connection:
                await connection.execute("select 1")
                is_held.set()
                await asyncio.sleep(60)

        request = asyncio.create_task(hold())
        await is_held.wait()
        # As a task group does.
        while not request.done():
            request.cancel()
            await asyncio.sleep(0)

    async def try_it() -> list[tuple[Any, ...]]:
        connections = Connections(1, 60)
        await connections.open()
        try:
            await cancelled_until_it_ends(connections)
            return await connections.rows("rival_app", "select current_user::text")
        finally:
            await connections.close()

    assert asyncio.run(try_it()) == [("rival_app",)]


def leave_a_stream(api: Api) -> bool:
    """Read the beginning of a stream and leave it; return whether it was given one."""
    answer = requests.get(
        f"{api.url}/v1/marts/lead_sources?format=csv",
        headers={"Authorization": f"Bearer {api.keys['acme']}"},
        stream=True,
        timeout=60,
    )
    with answer:
        return answer.status_code == 200 and len(answer.raw.read(100_000)) == 100_000


def test_a_stream_that_is_left_in_the_middle_frees_its_connection(
    api: Api, owner: psycopg.Connection
) -> None:
    with owner.transaction(force_rollback=False):
        owner.execute("create table public.kept as table marts.lead_sources")
        owner.execute(
            "insert into marts.lead_sources select (jsonb_populate_record(s, "
            "jsonb_build_object('source', n || repeat('x', 200)))).* "
            "from marts.lead_sources as s, generate_series(1, 20000) as n where client_id = 'acme'"
        )
    try:
        for _ in range(4):
            # Few may stream at once, and the API learns a moment later that one was left.
            until(lambda: leave_a_stream(api))
        until(lambda: waiting(owner) == [])
        answer = api.get("/v1/marts/lead_sources?format=csv", "acme")
        assert answer.text.splitlines()[-1] == "# rows: 20001"
        assert {row["client_id"] for row in data(api.get("/v1/marts/lead_sources", "rival"))} == {
            "rival"
        }
    finally:
        owner.execute(
            "truncate marts.lead_sources; insert into marts.lead_sources table public.kept; "
            "drop table public.kept"
        )


def test_requests_at_once_are_each_answered_with_their_own_rows(api: Api) -> None:
    wrong: list[object] = []

    def ask(who: str) -> None:
        with requests.Session() as session:
            for _ in range(25):
                answer = session.get(
                    f"{api.url}/v1/marts/lead_sources",
                    headers={"Authorization": f"Bearer {api.keys[who]}"},
                    timeout=60,
                )
                clients = {row["client_id"] for row in answer.json()["data"]}
                if clients != {who}:
                    wrong.append((who, clients))

    threads = [threading.Thread(target=ask, args=(who,)) for who in ("acme", "rival") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_while_the_database_is_away_keys_are_known_and_answers_say_so(
    api: Api, owner: psycopg.Connection
) -> None:
    name = sql.Identifier(owner.info.dbname)
    with psycopg.connect(url_of(owner, "postgres"), autocommit=True, dbname="postgres") as other:
        other.execute(sql.SQL("alter database {} allow_connections false").format(name))
        try:
            owner.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'warehouse api'"
            )
            answer = api.get("/v1/marts/lead_sources", "ann")
            assert (answer.status_code, answer.json()["error"]) == (503, "database_away")
            assert int(answer.headers["retry-after"]) > 0
            assert api.get("/v1/marts", "revoked").status_code == 401
        finally:
            other.execute(sql.SQL("alter database {} allow_connections true").format(name))
    until(lambda: api.get("/v1/marts/lead_sources", "acme").status_code == 200)


def test_connections_that_broke_are_left_without_an_error(
    api: Api, owner: psycopg.Connection
) -> None:
    assert data(api.get("/v1/marts/lead_sources", "acme"))
    owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where application_name = 'warehouse api'"
    )
    for who in ("acme", "rival", "acme"):
        assert data(api.get("/v1/marts/lead_sources", who))


def test_the_quota_of_a_key_is_its_own(api: Api) -> None:
    api.new_key("small", role="acme_app", per_minute=3)
    codes = [api.get("/v1/marts/lead_sources", "small").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    refused = api.get("/v1/marts", "small")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert api.get("/v1/marts/lead_sources", "acme").status_code == 200


def test_a_key_whose_role_the_api_may_not_take_is_refused(
    api: Api, owner: psycopg.Connection
) -> None:
    owner.execute("create role later nologin in role warehouse_analyst")
    try:
        api.new_key("later", role="later")
        answer = api.get("/v1/marts/lead_sources", "later")
        assert (answer.status_code, answer.json()["error"]) == (403, "role_refused")
        assert "grant later to warehouse_api" in answer.json()["hint"]
    finally:
        owner.execute("drop role later")


def test_a_revoked_key_stops_at_once_where_the_copy_is_written(api: Api) -> None:
    id = api.new_key("short", role="acme_app")
    assert api.get("/v1/marts/lead_sources", "short").status_code == 200
    key_store.revoke(api.owner, api.home, id)
    until(lambda: api.get("/v1/marts/lead_sources", "short").status_code == 401, 5)


def test_the_log_names_endpoints_and_keys_and_no_values(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "warehouse.api"):
        api.get("/v1/marts/lead_sources?client_id=planted-value", "acme")
        api.get("/v1/planted-path")
        api.request("POST", "/v1/alerts/planted-id/resolve", "ann")
        api.get("/v1/marts", "planted-key")
    said = caplog.text
    assert "planted" not in said
    assert not [key for key in api.keys.values() if key.split("_", 2)[2] in said]
    key_id = api.keys["acme"].split("_")[1]
    assert "GET /v1/marts/lead_sources 200" in said
    assert f"key {key_id}" in said


@pytest.mark.parametrize(
    ("signals", "giver"),
    [
        (trace, "get_tracer_provider"),
        (metrics, "get_meter_provider"),
        (_logs, "get_logger_provider"),
    ],
)
def test_telemetry_is_told_nothing_of_requests(
    api: Api, monkeypatch: pytest.MonkeyPatch, signals: ModuleType, giver: str
) -> None:
    asked = []
    monkeypatch.setattr(signals, giver, lambda: asked.append(giver))
    assert api.get("/v1/marts/analytics_daily?client_id=acme", "acme").status_code == 200
    assert not asked


def test_answers_carry_headers_of_safety(api: Api) -> None:
    for path in ("/v1/marts", "/nothing", "/openapi.json", "/docs"):
        headers = api.get(path, "ann").headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_browsers_keep_the_files_of_pages_until_one_changes(api: Api) -> None:
    page = api.get("/dashboard/overview", "ann").text
    paths = set(re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page))
    assert len(paths) > 10
    for path in paths:
        answer = api.get(path)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        as_it_is = api.get(path, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in as_it_is.headers
        assert as_it_is.content == answer.content != b""
        # As a page of another version asks for it, that was open meanwhile.
        other = api.get(re.sub("static/[0-9a-f]+/", "static/0/", path))
        assert (other.headers["cache-control"], other.content) == ("no-store", answer.content)
    version = next(iter(paths)).split("/")[3]
    for unknown in ("none.js", "../assets.py", "%2e%2e/assets.py", "uplot/LICENSE"):
        assert api.get(f"/dashboard/static/{version}/{unknown}").status_code == 404


def test_the_marketing_row_is_what_was_exported(api: Api, owner: psycopg.Connection) -> None:
    path = "/marketing/stats"
    before = api.get(path, "site")
    assert (before.status_code, before.json()["error"]) == (503, "not_exported")
    assert api.get(path).status_code == 401
    assert api.get(path, "acme").status_code == 403
    owner.execute(
        "insert into export.analytics_platform_stats values (1, 12, 345, 67, 0.1234, now())"
    )
    answer = api.get(path, "site", headers={"Origin": SITE})
    assert answer.json() | {"updated_at": ""} == {
        "active_users": 12, "questions_answered": 345, "pdf_downloads": 67,
        "engagement_rate": 0.1234, "updated_at": "",
    }  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == SITE
    foreign = api.get(path, "site", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers
    preflight = {"Access-Control-Request-Method": "GET",
                 "Access-Control-Request-Headers": "authorization"}  # fmt: skip
    asked = api.request("OPTIONS", path, headers=preflight | {"Origin": SITE})
    assert asked.headers["access-control-allow-origin"] == SITE
    asked = api.request("OPTIONS", path, headers=preflight | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in asked.headers
    assert (
        "access-control-allow-origin" not in api.get("/v1/marts", headers={"Origin": SITE}).headers
    )
    codes = [api.get(path, "site").status_code for _ in range(10)]
    assert codes[-1] == 429
    refused = api.get(path, "site")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    owner.execute("delete from export.analytics_platform_stats")


def test_an_allowed_network_needs_no_key_and_a_proxy_is_believed_only_if_it_is_trusted(
    api: Api, operated: Api
) -> None:
    def status(api: Api, forwarded: str | None = None) -> int:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        return api.get("/marketing/stats", headers=headers).status_code

    assert status(api, "10.1.2.3") == 401
    assert status(operated) == 401
    assert status(operated, "10.1.2.3") == 503
    assert status(operated, "10.2.2.3") == 401
    # What a client says of itself comes before what the proxy adds.
    assert status(operated, "10.1.2.3, 10.2.2.3") == 401
    assert [status(operated, "10.1.2.3") for _ in range(10)][-1] == 429
    assert status(operated, "10.1.2.4") == 503


def test_behind_a_proxy_addresses_have_its_prefix(operated: Api) -> None:
    assert operated.get("/openapi.json").json()["servers"] == [{"url": "/analytics"}]
    assert data(operated.get("/v1/marts/stats_daily", "acme"))
    assert operated.get("/docs").status_code == 200
    assert operated.get("/docs/assets/swagger-ui-bundle.js").status_code == 200


def test_a_plan_that_lacks_a_mart_is_told_which_ones_have_it(operated: Api) -> None:
    answer = operated.get("/v1/marts/lead_sources", "acme")
    assert (answer.status_code, answer.json()["error"]) == (403, "not_in_plan")
    assert "pro or enterprise" in answer.json()["detail"]
    listed = {one["mart"] for one in data(operated.get("/v1/marts", "acme"))}
    assert "lead_sources" not in listed
    assert data(operated.get("/v1/marts/lead_sources", "ann"))


def test_a_link_signs_in_once_on_this_machine_alone(api: Api, operated: Api) -> None:
    link = new_link(api.owner, api.home, api.url).removeprefix(api.url)
    api.look()
    assert {path.stat().st_mode & 0o077 for path in (api.home / "sign-in").iterdir()} == {0}
    answer = api.get(link, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "expires=" in cookie
    signed_in = {"Cookie": cookie.partition(";")[0]}
    assert data(api.get("/v1/marts/analytics_daily", headers=signed_in))
    assert api.get(link, allow_redirects=False).status_code == 401
    assert list((api.home / "sign-in").iterdir()) == []
    link = new_link(operated.owner, operated.home, "")
    operated.look()
    through_proxy = {"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "https"}
    assert operated.get(link, headers=through_proxy).status_code == 403
    answer = operated.get(link, headers={"X-Forwarded-Proto": "https"}, allow_redirects=False)
    assert {"Secure", "Path=/analytics/"} <= set(answer.headers["set-cookie"].split("; "))


def test_people_sign_in_with_a_key_and_out_again(api: Api) -> None:
    def post(path: str, **form: str) -> requests.Response:
        own = {"Origin": api.url, "Content-Type": "application/x-www-form-urlencoded"}
        return api.request("POST", path, headers=own, data=form, allow_redirects=False)

    answer = post("/sign-in", key=api.keys["acme"], next="/somewhere?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/somewhere?x=1")
    assert api.keys["acme"] in answer.headers["set-cookie"]
    for elsewhere in ("https://evil.example/", "//evil.example", "/\\evil.example", "evil"):
        answer = post("/sign-in", key=api.keys["acme"], next=elsewhere)
        assert answer.headers["location"] == "/"
    for wrong in ("site", "revoked", "expired"):
        answer = post("/sign-in", key=api.keys[wrong])
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert post("/sign-in", key="x" * 10_000).status_code == 400
    assert api.request("POST", "/sign-in", data={"key": api.keys["acme"]}).status_code == 403
    assert "Max-Age=0" in post("/sign-out").headers["set-cookie"]


def test_who_signs_in_without_a_script_gets_the_form_again_with_the_reason(api: Api) -> None:
    as_page = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    form = {"key": "read_wrong", "next": '/dashboard/leads?source="><b>x'}
    answer = api.request("POST", "/sign-in", headers=as_page | {"Origin": api.url}, data=form)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "There is no such key that reads, or it has expired or was revoked." in answer.text
    # It leads to where the person wanted to go, and keeps neither the key nor markup.
    assert 'value="/dashboard/leads?source=&#34;&gt;&lt;b&gt;x"' in answer.text
    assert "read_wrong" not in answer.text
    elsewhere = api.request(
        "POST", "/sign-in", headers=as_page | {"Origin": "https://evil.example"}, data=form
    )
    assert elsewhere.status_code == 403
    assert "Requests from pages of other sites are refused." in elsewhere.text
    used = api.get("/sign-in/used-before", headers=as_page)
    assert (used.status_code, used.headers["cache-control"]) == (401, "no-store")
    assert "The link was used before, or has expired." in used.text


# A mart of each kind: of a day, a month, a year and a month, an instant, none; a view; with JSON.
OF_EACH_KIND = ("analytics_daily", "conversion_funnel", "user_monthly_usage", "chat_events",
                "client_cohorts", "warehouse_events")  # fmt: skip
# Of the server in front of the application: a line of more than 64 KiB is no request.
NO_REQUEST = b"Invalid HTTP request received."


def answers_as_described(api: Api, is_chosen: Callable[[str], bool], count: int) -> int:
    """Send right and wrong requests to the chosen endpoints; return how many there are."""
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    # Schemas do not say that `from` comes before `to`, or what a cursor is.
    excluded = schemathesis.checks.CHECKS.get_one("positive_data_acceptance")
    chosen = [
        operation
        for found in schema.get_all_operations()
        if is_chosen((operation := found.ok()).path)
    ]
    for operation in chosen:
        for mode in schemathesis.GenerationMode:

            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis.settings(examples(count), phases=[hypothesis.Phase.generate])
            def answer_as_described(case: schemathesis.Case) -> None:
                answer = case.call(headers={"Authorization": f"Bearer {api.keys['ann']}"})
                if answer.content != NO_REQUEST:
                    case.validate_response(answer, excluded_checks=[excluded])

            answer_as_described()
    return len(chosen)


def test_every_answer_is_as_described(api: Api) -> None:
    chosen = {f"/v1/marts/{name}" for name in OF_EACH_KIND}
    asked = answers_as_described(
        api, lambda path: path in chosen or not path.startswith("/v1/marts/"), 3
    )
    assert asked == len(OF_EACH_KIND) + 7


@pytest.mark.deep
def test_every_answer_of_every_mart_is_as_described(api: Api) -> None:
    assert answers_as_described(api, lambda path: path.startswith("/v1/marts/"), 5) == len(marts())


def test_every_mart_has_an_endpoint_with_typed_parameters(api: Api) -> None:
    described = api.get("/openapi.json").json()
    for mart in marts().values():
        operation = described["paths"][f"/v1/marts/{mart.name}"]["get"]
        given = {one["name"]: one["schema"] for one in operation["parameters"]}
        assert given.keys() >= {"columns", "order", "limit", "cursor", "format"}
        assert ("from" in given) == (mart.period is not None)
        assert {column.name for column in mart.filters} <= given.keys()
        assert operation["summary"] == mart.grain
        assert operation["responses"].keys() >= {"200", "304", "400", "401", "403", "429", "503"}
    page = described["components"]["schemas"]["AnalyticsDailyRow"]["properties"]
    assert page["revenue_attributed_cents"]["type"] == "integer"
    assert page["revenue_attributed_cents"]["description"].endswith("Unit: cents.")
    assert {"type": "null"} in page["avg_rating"]["anyOf"]


@pytest.mark.deep
def test_the_docs_show_every_mart_and_load_nothing_from_elsewhere(api: Api) -> None:
    with a_browser() as browser:
        page = browser.new_page(base_url=api.url)
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto("/docs")
        for family in sorted({mart.family for mart in marts().values()}):
            page.locator(f"#operations-tag-{family}").click()
        for name in marts():
            page.locator(f'[data-path="/v1/marts/{name}"]').wait_for()
        page.locator('[data-path="/v1/marts/analytics_daily"]').click()
        page.get_by_text("of the page before").first.wait_for()
    assert [url for url in asked if not url.startswith((api.url, "data:"))] == []
    assert [text for text in said if "Content Security Policy" in text or "rror" in text] == []


def test_the_command_serves_until_it_is_told_to_stop(
    api: Api, owner: psycopg.Connection, interruptible: None
) -> None:
    port = free_port()
    command = [*WAREHOUSE, "api", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{port}/v1/marts/lead_sources?client_id=planted"
        key = {"Authorization": f"Bearer {api.keys['acme']}"}

        def answers() -> bool:
            with suppress(requests.ConnectionError):
                return requests.get(url, headers=key, timeout=60).status_code == 200
            return False

        until(answers)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "GET /v1/marts/lead_sources 200" in said
    assert "planted" not in said


def test_the_help_of_the_command_tells_every_setting() -> None:
    help = subprocess.run([*WAREHOUSE, "api", "--help"], capture_output=True, text=True)
    shown = help.stdout
    assert help.returncode == 0, help.stderr
    concerned = {name for name in Settings.model_fields if name.startswith(("api_", "marketing_"))}
    for name in {*concerned, "trusted_proxies"}:
        assert f"WAREHOUSE_{name.upper()}" in shown


@pytest.mark.deep
def test_metrics_of_the_semantic_layer_are_what_the_api_serves(api: Api, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(builds.DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    # MetricFlow reads what dbt wrote below the project, wherever else dbt was told to write.
    environment = os.environ | builds.builder_environment()
    environment |= {"DBT_PROJECT_DIR": str(project), "DBT_PROFILES_DIR": str(project),
                    "DBT_LOG_PATH": str(tmp_path)}  # fmt: skip
    del environment["DBT_TARGET_PATH"]

    def run(*command: str) -> None:
        program = str(Path(sys.executable).with_name(command[0]))
        done = subprocess.run(
            [program, *command[1:]], cwd=project, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("dbt", "--quiet", "parse")
    metrics = {
        "new_leads": ("analytics_daily", "new_leads"),
        "revenue_attributed_cents": ("analytics_daily", "revenue_attributed_cents"),
        "new_mrr_cents": ("platform_analytics", "new_mrr_cents"),
        "ai_cost_usd": ("system_daily_metrics", "cost_total"),
        "page_views": ("stats_daily", "page_views"),
        "api_calls": ("api_performance_daily", "total_calls"),
        "api_errors": ("api_performance_daily", "error_calls"),
    }
    found = tmp_path / "metrics.csv"
    run("mf", "query", "--metrics", ",".join(metrics), "--group-by", "metric_time__month",
        "--csv", str(found), "--quiet")  # fmt: skip
    (row,) = [
        row
        for row in csv.DictReader(io.StringIO(found.read_text()))
        if row["metric_time__month"].startswith("2026-01")
    ]
    for metric, (mart, column) in metrics.items():
        rows_ = data(api.get(f"/v1/marts/{mart}?from=2026-01-01&to=2026-02-01", "ann"))
        expected = sum(row[column] for row in rows_)
        assert expected > 0 or metric == "ai_cost_usd", metric
        assert float(row[metric] or 0) == pytest.approx(float(expected)), metric
