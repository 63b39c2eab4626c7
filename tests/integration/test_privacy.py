"""Nothing that is stored leads back to a visitor's address."""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import UTC, date, datetime, timedelta, tzinfo
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import psycopg
import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA, is_crawler
from hypothesis import given
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from psycopg import sql

from ingestion.load import loader
from ingestion.load.ledger import Counts
from ingestion.load.loader import load
from ingestion.privacy import visitors
from ingestion.privacy.visitors import address_of, is_bot, salt_of, visitor_hash
from ingestion.sources.files import open_source
from tests.conftest import ON_16, WAREHOUSE, examples
from tests.support.lines import event, line, rows, value

IPS = ("203.0.113.77", "2001:db8::77:1")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


def visit(number: int, client_id: str = "acme", **context: Any) -> bytes:
    """A line of a visitor."""
    consented = {"consent": {"analytics": True}, "ip": IPS[0], "user_agent": BROWSER} | context
    visited = event(number, actor={"client_id": client_id}, context=consented)
    return json.dumps(visited).encode() + b"\n"


def load_bytes(directory: Path, content: bytes) -> Counts:
    path = directory / "events.ndjson"
    path.write_bytes(content)
    return load(open_source(str(path))).counts


def hashes(connection: psycopg.Connection) -> list[bytes | None]:
    """The visitor hashes of all events, in the order of their numbers."""
    return [
        None if found is None else bytes(found)
        for (found,) in rows(
            connection, "select visitor_hash from staging.raw_events order by timestamp"
        )
    ]


def set_today(monkeypatch: pytest.MonkeyPatch, today: datetime) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return today.astimezone(tz)

    monkeypatch.setattr(loader, "datetime", Clock)
    monkeypatch.setattr(visitors, "datetime", Clock)


def places_of(connection: psycopg.Connection, text: str) -> set[tuple[str, str]]:
    """Every (table, column) of the warehouse that holds a text anywhere in a value."""
    columns = rows(
        connection,
        "select table_schema, table_name, column_name from information_schema.columns "
        "where table_schema not in ('pg_catalog', 'information_schema')",
    )
    found = set()
    for schema, table, column in columns:
        query = sql.SQL(
            "select exists (select from {table} where position({text} in {column}::text) > 0 "
            "or position({hexadecimal} in {column}::text) > 0)"
        ).format(
            table=sql.Identifier(schema, table),
            column=sql.Identifier(column),
            text=sql.Literal(text),
            hexadecimal=sql.Literal(text.encode().hex()),
        )
        ((is_there,),) = connection.execute(query).fetchall()
        if is_there:
            found.add((table, column))
    return found


def test_an_address_is_nowhere_but_in_the_quarantines_bytes(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    kept = {"producer": "edge", "sequence": 1}
    lines = [
        visit(1),
        visit(1),
        visit(2, ip=IPS[1], **kept),
        visit(3, ip=IPS[1]).replace(b'"ip"', b'"\\u0069p"'),
        visit(4).replace(b'"ip": ', b'"ip": "' + IPS[1].encode() + b'", "ip": '),
        visit(5, ip=None).replace(b'"ip": ', b'"ip": "' + IPS[1].encode() + b'", "ip": '),
        visit(6, dnt=True, **kept).replace(b'"signup"', b'"session"'),
        # Refused for the address itself, and for other reasons.
        visit(7, ip=[IPS[0]]),
        visit(8, ip={"v4": IPS[0]}, **kept),
        visit(9, page=f"https://shop.example/?ip={IPS[0]}"),
        visit(9).replace(b'"context"', b'"properties": "%b", "context"' % IPS[0].encode()),
        line(9, event="chat", properties={"sections_referenced": IPS[0]}),
        line(9, actor=IPS[0]),
        line(9, context=IPS[0]),
        visit(10).replace(b'"signup"', b'"no such event"'),
        visit(11).removesuffix(b"}\n") + b"\n",
        # Without an id of its own.
        visit(12)
        .replace(b'"event_id"', b'"event_id": null, "event_id"')
        .replace(f'"{event(12)["event_id"]}"'.encode(), b"null"),
    ]
    counts = load_bytes(tmp_path, b"".join(lines))
    assert counts == Counts(17, accepted=6, duplicates=1, suppressed=1, rejected=9)
    # The view shows the quarantine's rows with their files.
    quarantine = {("rejected_events", "payload"), ("rejected_lines", "payload")}
    for ip in IPS:
        assert places_of(warehouse, ip) <= quarantine
    assert places_of(warehouse, IPS[0]) == quarantine
    # The search does find what is there.
    assert ("raw_events", "context") in places_of(warehouse, "Firefox/128.0")
    assert value(warehouse, "select count(*) from staging.raw_events where context ? 'ip'") == 0


def test_the_member_is_removed_whatever_its_value(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    contexts = [
        '{"ip": null, "x": 1}',
        '{"ip": "192.0.2.1", "x": 1, "ip": null}',
        r'{"ip": null, "x": 1, "\u0069p": ""}',
        r'{"\u0069\u0070": null, "x": 1}',
        '{"x": 2, "ip": "192.0.2.1"}, "context": {"x": 1, "ip": null}',
        r'{"x": 2}, "c\u006fntext": {"ip": null, "x": 1}',
    ]
    lines = [
        line(number, context="HERE").replace(b'"HERE"', context.encode())
        for number, context in enumerate(contexts)
    ]
    assert load_bytes(tmp_path, b"".join(lines)).accepted == len(lines)
    assert rows(warehouse, "select distinct context from staging.raw_events") == [({"x": 1},)]


def test_the_rest_of_the_context_stays_as_it_came(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    load_bytes(tmp_path, visit(1, page={"ip": "a member of another name's"}, x=[1.50, {"ip": 1}]))
    context = value(warehouse, "select context from staging.raw_events")
    assert context == {
        "consent": {"analytics": True},
        "user_agent": BROWSER,
        "page": {"ip": "a member of another name's"},
        "x": [1.5, {"ip": 1}],
    }


def test_one_visitor_has_one_hash_within_a_day_and_a_client(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    load_bytes(tmp_path, visit(1) + visit(2))
    load_bytes(tmp_path, visit(3) + visit(4, "globex") + visit(5, ip=IPS[1]))
    load_bytes(tmp_path, visit(6, user_agent="another"))
    first, second, third, other_client, other_ip, other_agent = hashes(warehouse)
    assert first == second == third
    assert len({first, other_client, other_ip, other_agent}) == 4
    salt = bytes(value(warehouse, "select salt from staging.visitor_salts"))
    assert first == visitor_hash(salt, "acme", IPS[0], BROWSER)
    assert len(first or b"") == len(salt) == 32


def test_without_address_or_user_agent_there_is_no_hash(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    nobody = [{"ip": None}, {"user_agent": None}, {"ip": ""}, {"user_agent": ""}]
    load_bytes(tmp_path, b"".join(visit(n, **context) for n, context in enumerate(nobody)))
    assert hashes(warehouse) == [None] * 4


SPELLINGS = {
    "203.0.113.77": (
        "203.0.113.77", " 203.0.113.77\t", "203.0.113.77, 198.51.100.1", "203.0.113.77:51234",
        "203.0.113.77 ,", "::ffff:203.0.113.77", "::FFFF:cb00:714d", "[::ffff:203.0.113.77]:443",
        "203.0.113.77" + ", 198.51.100.1" * 1_000,
    ),
    "2001:db8::77:1": (
        "2001:db8::77:1", "2001:DB8:0:0:0:0:77:1", "2001:0db8:0000::0077:0001",
        "[2001:db8::77:1]", "[2001:db8::77:1]:443", "2001:db8::77:1%eth0", "2001:db8::77:1,::1",
    ),
    None: (
        "unknown", "", " ", ",203.0.113.77", "203.0.113", "203.0.113.777", "203.0.113.077",
        "203.0.113.77:", "203.0.113.77:http", "203.0.113.77:٥", "203.0.113.77%eth0",
        "[203.0.113.77", "[2001:db8::1]443", "[]", "[2001:db8::1", "2001:db8::1%",
        "2001:db8::77:1]",
        ":::", "_hidden", "203.0.113.77/24", "203.0.113.77;x", "x" * 100_000,
        "٢٠٣.0.113.77", "\u200b203.0.113.77",
    ),
}  # fmt: skip


def test_every_spelling_of_an_address_is_one_visitor(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    written = [(of, spelling) for of, spellings in SPELLINGS.items() for spelling in spellings]
    load_bytes(tmp_path, b"".join(visit(n, ip=spelling) for n, (_, spelling) in enumerate(written)))
    salt = bytes(value(warehouse, "select salt from staging.visitor_salts"))
    of_address = {of: of and visitor_hash(salt, "acme", of, BROWSER) for of in SPELLINGS}
    assert len(set(of_address.values())) == 3
    found = dict(zip(written, hashes(warehouse), strict=True))
    assert found == {(of, spelling): of_address[of] for of, spelling in written}


@examples(300)
@given(
    address=st.ip_addresses(),
    spell=st.sampled_from(("{}", " {} ", "{},10.0.0.1", "{} , x", "[{}]", "[{}]:8080")),
    is_exploded=st.booleans(),
    is_upper=st.booleans(),
)
def test_any_spelling_of_any_address_is_read_as_its_one_spelling(
    address: IPv4Address | IPv6Address, spell: str, is_exploded: bool, is_upper: bool
) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    text = address.exploded if is_exploded else address.compressed
    assert address_of(spell.format(text.upper() if is_upper else text)) == str(mapped or address)
    if isinstance(address, IPv4Address):
        assert address_of(spell.format(f"::ffff:{address}")) == str(address)
        assert address_of(f"{address}:80") == str(address)


def test_no_two_visitors_read_alike() -> None:
    salt = b"s" * 32
    triples = [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("", "ab", "c"), ("a", "", "bc")]
    assert len({visitor_hash(salt, *triple) for triple in triples}) == len(triples)
    assert visitor_hash(b"t" * 32, *triples[0]) != visitor_hash(salt, *triples[0])


@pytest.mark.parametrize("warehouse", [ON_16, 18], indirect=True)
def test_the_hash_changes_with_the_day_of_receipt(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    midnight = datetime(2026, 2, 2, tzinfo=UTC)
    for number, now in enumerate((-1, 0, 1)):
        set_today(monkeypatch, midnight + timedelta(microseconds=now))
        load_bytes(tmp_path, visit(number))
    before, after, still = hashes(warehouse)
    assert before != after
    assert after == still
    days = rows(warehouse, "select day from staging.visitor_salts order by day")
    assert days == [(date(2026, 2, 1),), (date(2026, 2, 2),)]


def test_a_salt_is_destroyed_48_hours_after_it_came_into_use(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = datetime(2026, 2, 1, tzinfo=UTC)
    for days, left in ((0, 1), (1, 2), (2, 2), (3, 2), (10, 1)):
        set_today(monkeypatch, first + timedelta(days=days))
        load_bytes(tmp_path, visit(days))
        kept = [day for (day,) in rows(warehouse, "select day from staging.visitor_salts")]
        assert len(kept) == left
        assert min(kept) > (first + timedelta(days=days - 2)).date()


def test_a_salt_that_is_destroyed_is_never_drawn_again(
    warehouse: psycopg.Connection,
) -> None:
    today = datetime.now(UTC).date()
    salts = {salt_of(warehouse, today - timedelta(days=days)) for days in (0, 0, 1, 1)}
    assert len(salts) == 2
    # Two databases share none.
    warehouse.execute("truncate staging.visitor_salts")
    assert salt_of(warehouse, today) not in salts


def test_crawlers_are_flagged_and_people_are_not(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    agents = [GOOGLE, BROWSER, None, "", "curl/8.5.0", "bot " * 100_00, "ÿ\u2028"]
    load_bytes(tmp_path, b"".join(visit(n, user_agent=a) for n, a in enumerate(agents)))
    flags = [
        flag
        for (flag,) in rows(warehouse, "select is_bot from staging.raw_events order by timestamp")
    ]
    assert flags[:4] == [True, False, False, False]
    assert flags[-1] is False


def test_every_crawler_of_the_list_names_itself_in_what_is_looked_at() -> None:
    agents = [agent for one in CRAWLER_USER_AGENTS_DATA for agent in one["instances"]]
    assert len(agents) > 1_000
    assert [agent for agent in agents if is_bot(agent) != is_crawler(agent)] == []


def test_a_user_agent_of_any_length_costs_what_a_long_one_does() -> None:
    def seconds(length: int) -> float:
        started = time.process_time()
        for number in range(50):
            is_bot((f"{number} {length} {BROWSER} " * length)[:length])
        return time.process_time() - started

    seconds(100)
    assert seconds(20_000) < 3 * seconds(256)


def test_a_country_comes_of_the_address_where_a_database_is_installed(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    countries = tmp_path / "countries.mmdb"
    database = MMDBWriter(ip_version=6, ipv4_compatible=True)
    database.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "CH"}})
    database.insert_network(IPSet(["2001:db8::/32"]), {"continent": {"code": "EU"}})
    database.to_db_file(str(countries))
    events = tmp_path / "events.ndjson"
    addresses = [*IPS, "198.51.100.1", "no address", "203.0.113.78"]
    events.write_bytes(b"".join(visit(n, ip=ip) for n, ip in enumerate(addresses)))

    assert load_with_countries(events, countries).returncode == 0
    found = rows(warehouse, "select country from staging.raw_events order by timestamp")
    assert [code for (code,) in found] == ["CH", None, None, None, "CH"]
    assert not places_of(warehouse, IPS[0])


@pytest.mark.parametrize("content", [None, b"no database"])
def test_a_country_database_that_cannot_be_read_is_reported_before_anything_lands(
    warehouse: psycopg.Connection, tmp_path: Path, content: bytes | None
) -> None:
    countries = tmp_path / "countries.mmdb"
    if content is not None:
        countries.write_bytes(content)
    events = tmp_path / "events.ndjson"
    events.write_bytes(visit(1))
    refused = load_with_countries(events, countries)
    assert refused.returncode == 1
    assert f"WAREHOUSE_COUNTRY_DATABASE: {countries} cannot be read" in refused.stderr
    assert value(warehouse, "select count(*) from staging.event_batches") == 0


def load_with_countries(events: Path, countries: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WAREHOUSE, "load", str(events)],
        env={**os.environ, "WAREHOUSE_COUNTRY_DATABASE": str(countries)},
        capture_output=True,
        text=True,
        check=False,
    )
