"""Of each client, unit, user and document the newest row stands, however its rows came."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import random
import re
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingestion.contract.line import Reason
from ingestion.contract.validator import Rejected
from ingestion.load import chunks, entities
from ingestion.load.entities import EntityKind, Row, load_entities, validate_row
from ingestion.load.ledger import Counts
from ingestion.sources.files import open_source
from tests.conftest import ON_16, examples
from tests.support.lines import empty, rows, value
from tests.support.processes import Finished, batches, finish, held, kill, run, start, until

NOW = datetime(2026, 1, 15, tzinfo=UTC)
Json = dict[str, Any]


def client(client_id: str, day: int, **changes: Any) -> Json:
    return {
        "client_id": client_id,
        "name": f"of day {day}",
        "status": "active",
        "created_at": "2025-01-01T00:00:00Z",
        "updated_at": f"2026-01-{day:02}T00:00:00Z",
    } | changes


def user(user_id: str, day: int, **changes: Any) -> Json:
    return {
        "user_id": user_id,
        "created_at": "2025-01-01T00:00:00Z",
        "updated_at": f"2026-01-{day:02}T00:00:00Z",
    } | changes


def ndjson(entity_rows: list[Json]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in entity_rows)


def as_csv(entity_rows: list[Json]) -> bytes:
    text = io.StringIO()
    names = dict.fromkeys(name for row in entity_rows for name in row)
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(entity_rows)
    return text.getvalue().encode()


def load_bytes(kind: str, directory: Path, content: bytes, name: str = "rows.ndjson") -> Counts:
    path = directory / name
    path.write_bytes(content)
    return load_entities(EntityKind(kind), open_source(str(path)))


def clients(connection: psycopg.Connection) -> dict[str, str]:
    return dict(rows(connection, "select client_id, name from staging.clients"))


def canonical(row: Json) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@examples(25)
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(1, 3), st.sampled_from(("é", "x", "X", "😀"))
        ),
        max_size=14,
    ),
    data=st.data(),
)
def test_the_newest_row_stands_in_any_order_of_rows_batches_and_files(
    warehouse: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[tuple[str, int, str]],
    data: st.DataObject,
) -> None:
    empty(warehouse)
    monkeypatch.setattr(chunks, "CHUNK_LINES", 3)
    all_rows = [client(of, day, name=name) for of, day, name in changes]
    newest: dict[str, Json] = {}
    for row in sorted(all_rows, key=lambda row: (row["updated_at"], canonical(row))):
        newest[row["client_id"]] = row
    cut = data.draw(st.integers(0, len(all_rows)))
    done = Counts()
    for part in (all_rows[:cut], all_rows[cut:]):
        done += load_bytes("clients", tmp_path, ndjson(part))
    assert clients(warehouse) == {of: row["name"] for of, row in newest.items()}
    assert done.received == done.accepted + done.duplicates == len(all_rows)


@pytest.mark.parametrize("warehouse", [ON_16, 18], indirect=True)
def test_of_two_rows_of_one_time_the_greater_by_canonical_json_stands(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    # By code points, as Python sorts: neither by language nor by UTF-16.
    names = ["B", "a", "ä", "\uffff", "😀"]
    for order in itertools.islice(itertools.permutations(names), 0, None, 17):
        empty(warehouse)
        for name in order:
            load_bytes("clients", tmp_path, ndjson([client("a", 1, name=name)]))
        assert clients(warehouse) == {"a": "😀"}


def test_csv_and_ndjson_bring_the_same(warehouse: psycopg.Connection, tmp_path: Path) -> None:
    kinds: dict[str, list[Json]] = {
        "clients": [
            client("a", 1, name='quotes " and, commas\nand lines'),
            client("b", 1, status="churned", churned_at="2026-01-05T12:00:00+02:00"),
            client("ü", 2, name="é" * 500),
        ],
        "units": [{"unit_id": "u", "client_id": "a", "updated_at": "2026-01-01T00:00:00Z"}],
        "users": [
            user("1", 1, role="admin", monthly_message_limit=5, monthly_cost_limit=0.1),
            user("2", 1, monthly_cost_limit=10**15, monthly_token_limit=0),
        ],
        "documents": [
            {"document_id": "d", "title": "=1+1", "updated_at": "2026-01-01 00:00:00.5z"}
        ],
    }
    for kind, entity_rows in kinds.items():
        found = []
        for name, content in (
            ("rows.ndjson", ndjson(entity_rows)),
            ("rows.csv", as_csv(entity_rows)),
            ("crlf.CSV", b"\xef\xbb\xbf" + as_csv(entity_rows)),
        ):
            empty(warehouse)
            counts = load_bytes(kind, tmp_path, content, name)
            assert counts == Counts(len(entity_rows), len(entity_rows)), (kind, name)
            columns = [column for (column,) in rows(warehouse, COLUMNS, kind)]
            text = ", ".join(f"e.{column}" for column in columns)
            found.append(rows(warehouse, f"select {text} from staging.{kind} as e order by 1"))  # noqa: S608
        assert found[0] == found[1] == found[2]
    assert value(warehouse, "select count(*) from staging.documents") == 1


COLUMNS = (
    "select column_name::text from information_schema.columns where table_schema = 'staging' "
    "and table_name = %s and column_name not in ('canonical', 'batch_id') order by 1"
)


def test_amounts_are_kept_as_they_are_written(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    amounts = {
        "1": "0.1",
        "2": "1000000000000000",
        "3": "0",
        "4": "123.456789",
        "5": "999999999999999.999999",
    }
    lines = [user(key, 1) | {"monthly_cost_limit": amount} for key, amount in amounts.items()]
    load_bytes("users", tmp_path, as_csv(lines), "rows.csv")
    for row in lines:
        content = ndjson([user("n" + row["user_id"], 1, monthly_cost_limit="HERE")])
        content = content.replace(b'"HERE"', row["monthly_cost_limit"].encode())
        load_bytes("users", tmp_path, content)
    found = dict(rows(warehouse, "select user_id, monthly_cost_limit from staging.users"))
    for key, amount in amounts.items():
        assert found[key] == found["n" + key] == Decimal(amount)


BAD_ROWS: dict[str, tuple[str, Any, Reason]] = {
    "no key": ("clients", client("", 1), Reason.INVALID_FIELD),
    "key null": ("clients", client("a", 1) | {"client_id": None}, Reason.MISSING_FIELD),
    "key too long": ("users", user("x" * 513, 1), Reason.INVALID_FIELD),
    "client too long": ("clients", client("x" * 129, 1), Reason.INVALID_FIELD),
    "no created_at": ("clients", client("a", 1, created_at=None), Reason.MISSING_FIELD),
    "no updated_at": ("clients", client("a", 1, updated_at=None), Reason.MISSING_FIELD),
    "no time": ("clients", client("a", 1, updated_at="yesterday"), Reason.INVALID_FIELD),
    "no offset": ("clients", client("a", 1, created_at="2026-01-01"), Reason.INVALID_FIELD),
    "year 0": (
        "clients",
        client("a", 1, created_at="0000-01-01T00:00:00Z"),
        Reason.TIMESTAMP_OUT_OF_RANGE,
    ),
    "zero time": (
        "users",
        user("a", 1, created_at="0001-01-01T00:00:00+01:00"),
        Reason.TIMESTAMP_OUT_OF_RANGE,
    ),
    "churned before the first": (
        "clients",
        client("a", 1, churned_at="1999-12-31T23:59:59.999999Z"),
        Reason.TIMESTAMP_OUT_OF_RANGE,
    ),
    "beyond the calendar": (
        "clients",
        client("a", 1, created_at="9999-12-31T23:59:59-01:00"),
        Reason.TIMESTAMP_OUT_OF_RANGE,
    ),
    "far ahead": (
        "clients",
        client("a", 1, updated_at="2026-01-16T00:00:01Z"),
        Reason.TIMESTAMP_OUT_OF_RANGE,
    ),
    "status unheard of": ("clients", client("a", 1, status="gone"), Reason.INVALID_FIELD),
    "churned without a time": ("clients", client("a", 1, status="churned"), Reason.MISSING_FIELD),
    "churned with an empty time": (
        "clients",
        client("a", 1, status="churned", churned_at=None),
        Reason.MISSING_FIELD,
    ),
    "unknown column": ("clients", client("a", 1, colour="red"), Reason.UNKNOWN_FIELD),
    "role unheard of": ("users", user("a", 1, role="owner"), Reason.INVALID_FIELD),
    "limit a fraction": ("users", user("a", 1, monthly_message_limit=1.5), Reason.INVALID_FIELD),
    "limit below 0": ("users", user("a", 1, monthly_token_limit=-1), Reason.INVALID_FIELD),
    "limit above": ("users", user("a", 1, monthly_token_limit=10**15 + 1), Reason.INVALID_FIELD),
    "cost below 0": ("users", user("a", 1, monthly_cost_limit=-0.01), Reason.INVALID_FIELD),
    "cost above": ("users", user("a", 1, monthly_cost_limit=1e16), Reason.INVALID_FIELD),
    "cost no number": ("users", user("a", 1, monthly_cost_limit="NaN"), Reason.INVALID_FIELD),
    "cost signalling": ("users", user("a", 1, monthly_cost_limit="sNaN"), Reason.INVALID_FIELD),
    "cost infinite": ("users", user("a", 1, monthly_cost_limit="Infinity"), Reason.INVALID_FIELD),
    "cost too fine": ("users", user("a", 1, monthly_cost_limit="1e-20000"), Reason.INVALID_FIELD),
    "cost no amount": ("users", user("a", 1, monthly_cost_limit="a lot"), Reason.INVALID_FIELD),
}


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_bad_row_is_refused_with_its_reason(name: str, form: str) -> None:
    kind, row, reason = BAD_ROWS[name]
    cells = {key: "" if cell is None else str(cell) for key, cell in row.items()}
    if form == "csv" and name == "no key":
        # An empty cell is absent.
        reason = Reason.MISSING_FIELD
    payload = as_csv([row]) if form == "csv" else ndjson([row])
    outcome = validate_row(EntityKind(kind), Row(1, payload, cells if form == "csv" else None), NOW)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason, outcome.detail
    assert len(outcome.detail) < 300


ENDLESS = b"x" * (20 << 20)
BAD_LINES: dict[str, tuple[bytes, str]] = {
    "invalid UTF-8": (b'{"client_id":"\xff"}', "invalid_encoding"),
    "no JSON": (b"{", "invalid_json"),
    "no object": (b"[]", "not_an_object"),
    "NUL": (rb'{"client_id":"a\u0000"}', "invalid_field"),
    "300 KiB": (b'{"client_id":"' + b"x" * 300 * 1024 + b'"}', "too_large"),
    "bottomless": (b"[" * 100_000, "invalid_json"),
    "20 MiB": (ENDLESS, "too_large"),
}
BAD_CSV_LINES: dict[str, tuple[bytes, str]] = {
    "invalid UTF-8": (b"\xff,1,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z", "invalid_encoding"),
    "a cell too few": (b"x,1,2026-01-01T00:00:00Z", "missing_field"),
    "a cell too many": (b"x,1,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z,5", "unknown_field"),
    "NUL": (b"x\0,1,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z", "invalid_field"),
    "300 KiB": (b"x" * 300 * 1024 + b",1,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z", "too_large"),
    "20 MiB": (ENDLESS, "too_large"),
    "20 MiB of cells": (b"x," * (10 << 20), "too_large"),
    "a carriage return in a cell": (b"x\ry,1,2026-01-01,2026-01-01T00:00:00Z", "invalid_field"),
}  # fmt: skip


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_bad_lines_are_refused_and_the_others_go_on(
    warehouse: psycopg.Connection, tmp_path: Path, form: str
) -> None:
    bad = BAD_LINES if form == "ndjson" else BAD_CSV_LINES
    good = [
        {"client_id": f"c{number}", "name": "n"}
        | {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
        for number in range(len(bad))
    ]
    whole = ndjson(good) if form == "ndjson" else as_csv(good)
    header, *good_lines = whole.splitlines() if form == "csv" else [b" ", *whole.splitlines()]
    lines = [header]
    for (line, _), good_line in zip(bad.values(), good_lines, strict=True):
        lines += [line, b"", good_line]
    path = tmp_path / f"rows.{form}"
    path.write_bytes(b"\n".join(lines))

    finished = run("load-entities", "clients", path, "--json", "--strict")
    assert (finished.code, finished.errors) == (3, "")
    assert finished.answer == {
        "kind": "clients",
        "received": 2 * len(bad),
        "accepted": len(bad),
        "duplicates": 0,
        "suppressed": 0,
        "rejected": len(bad),
        "suppressed_erased": 0,
    }
    found = rows(
        warehouse,
        "select line_number, reason, payload from staging.rejected_events order by line_number",
    )
    assert found == [
        (2 + 3 * number, reason, line[:262_144])
        for number, (line, reason) in enumerate(bad.values())
    ]
    kept = "at most 262,144 are accepted, and the first 262,144 are kept"
    long = [
        f"the line has {len(line):,} bytes; {kept}"
        for line, reason in bad.values()
        if reason == "too_large"
    ]
    details = rows(
        warehouse,
        "select detail from staging.rejected_events where reason = 'too_large' "
        "order by line_number",
    )
    assert [detail for (detail,) in details] == long
    assert len(clients(warehouse)) == len(bad)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_the_largest_row_is_taken_and_one_of_a_byte_more_reports_its_length(
    warehouse: psycopg.Connection, tmp_path: Path, form: str, end: bytes
) -> None:
    whole = ndjson([client("a", 1)]) if form == "ndjson" else as_csv([client("a", 1)])
    *before, last = whole.splitlines()
    largest = last.replace(b"of day 1", b"x" * (262_144 - len(last) + len(b"of day 1")))
    assert len(largest) == 262_144
    content = end.join([*before, largest, largest.replace(b"xx", b"xxx", 1), b""])
    counts = load_bytes("clients", tmp_path, content, f"rows.{form}")
    assert (counts.accepted, counts.rejected) == (1, 1)
    ((detail, payload),) = rows(warehouse, "select detail, payload from staging.rejected_events")
    assert detail.startswith("the line has 262,145 bytes")
    assert len(payload) == 262_144


def test_only_an_empty_cell_is_absent(warehouse: psycopg.Connection, tmp_path: Path) -> None:
    header = b"client_id,name,status,plan,churned_at,created_at,updated_at\n"
    days = b"2026-01-31T10:00:00Z,2026-02-02T10:00:00Z\n"
    content = header + b"a,NULL,,null,," + days + b"NULL,,active,,," + days
    content += b"b,x,NULL,,," + days + b"c,x,,,null," + days + b"d,x,,,,NULL,NULL\n"
    counts = load_bytes("clients", tmp_path, content, "rows.csv")
    assert (counts.accepted, counts.rejected) == (2, 3)
    found = rows(warehouse, "select client_id, name, status, plan from staging.clients order by 1")
    assert found == [("NULL", None, "active", None), ("a", "NULL", None, "null")]
    details = rows(warehouse, "select detail from staging.rejected_events order by reject_id")
    assert [detail.partition(":")[0] for (detail,) in details] == [
        "$.status", "$.churned_at", "$.created_at",
    ]  # fmt: skip


@pytest.mark.parametrize("cell", ["NULL", "null", "None", "", "5", "5.0", "5e0", "x", " "])
@pytest.mark.parametrize(
    "column", ["monthly_message_limit", "monthly_token_limit", "monthly_cost_limit"]
)
def test_a_number_in_a_cell_is_read_and_no_other_text(column: str, cell: str) -> None:
    cells = {
        "user_id": "u", column: cell,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    columns = validate_row(EntityKind.USERS, Row(1, b"x", cells), NOW)
    if cell == "" or cell.startswith("5"):
        assert not isinstance(columns, Rejected)
        assert columns[column] == (5 if cell else None)
    else:
        assert isinstance(columns, Rejected)
        assert columns.reason == Reason.INVALID_FIELD


LITERALS = (
    *("0", "-0", "7", "7.0", "70e-1", "7E+0", "0e999", "0e-400", "1e2", "1000000000000000"),
    *("0.1", "0.10", "1e-7", "999999999999999.999999", "7.00000000000000000001", "1e-100"),
    *("-1", "-1e-400", "1e-101", "1000000000000000.01", "1e16", "1e999", "1e5000", "9" * 5_000),
    *("1_000", "1__0", "٧", "７", " 7", "7 ", " 7 ", "+7", "07", ".7", "7.", "7e", "0x7", "--7"),
    *("NaN", "Infinity", "-Infinity", "true", '"5"', "7\n", "7,", "1e٧"),
)


@pytest.mark.parametrize("literal", LITERALS)
@pytest.mark.parametrize(
    "column", ["monthly_message_limit", "monthly_token_limit", "monthly_cost_limit"]
)
def test_numbers_of_a_row_are_those_of_json_to_the_last_digit(column: str, literal: str) -> None:
    is_number = re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", literal)
    number = Decimal(literal) if is_number else Decimal(-1)
    decimals = 100 if column == "monthly_cost_limit" else 0
    with localcontext(prec=5_000):
        fits = 0 <= number <= 10**15 and round(number, decimals) == number

    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    payload = ndjson([user("u", 1) | {column: "HERE"}]).strip().replace(b'"HERE"', b"%b")
    in_json = Row(1, payload % literal.encode(), None)
    in_cell = Row(1, b"x", {"user_id": "u", column: literal} | times)
    outcomes = [validate_row(EntityKind.USERS, row, NOW) for row in (in_json, in_cell)]
    # JSON allows spaces around a number, a cell does not.
    if literal.strip(" \n") != literal:
        del outcomes[0]
    for columns in outcomes:
        if fits:
            assert not isinstance(columns, Rejected)
            assert columns[column] == number
            assert json.loads(columns["canonical"], parse_float=Decimal)[column] == number
        else:
            assert isinstance(columns, Rejected)
            assert len(columns.detail) < 300


def test_a_quote_that_is_never_closed_takes_no_more_than_a_line_may_hold(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    good = as_csv([client(f"c{number:05}", 1, name="n" * 80) for number in range(5_000)])
    header, rest = good.split(b"\r\n", 1)
    counts = load_bytes(
        "clients", tmp_path, header + b'\r\nbad,"open,active\r\n' + rest, "rows.csv"
    )
    assert counts.rejected == 1
    assert value(warehouse, "select reason from staging.rejected_events") == "too_large"
    (payload,) = rows(warehouse, "select payload from staging.rejected_events")[0]
    assert payload == (b'bad,"open,active\r\n' + rest)[:262_144]
    assert counts.accepted == 5_000 - payload.count(b"\n")


def test_quotes_that_close_in_the_next_line_and_open_again_take_no_more_than_that(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    header, good = as_csv([client("a", 1)]).split(b"\r\n", 1)
    load_bytes("clients", tmp_path, header + b'\nx,"' + b'","\n' * 66_000 + good, "rows.csv")
    assert clients(warehouse) == {"a": "of day 1"}
    longest = "select max(octet_length(payload)) from staging.rejected_events"
    assert value(warehouse, longest) == 262_144


@pytest.mark.parametrize("form", ["rows.ndjson", "rows.csv"])
def test_rows_are_landed_by_their_bytes_as_well_as_by_their_number(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1_000)
    some = [client(key, 1, name="x" * 600) for key in "abcde"]
    load_bytes("clients", tmp_path, as_csv(some) if form.endswith("csv") else ndjson(some), form)
    received = "select received from staging.event_batches order by chunk"
    assert rows(warehouse, received) == [(2,), (2,), (1,)]
    assert len(clients(warehouse)) == 5


def test_a_long_line_takes_no_longer_than_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "LONGEST_KEPT_LINE", 1 << 16)
    block = b"x" * (1 << 16)
    tracemalloc.start()
    found = list(entities._lines(itertools.chain(itertools.repeat(block, 1_000), [b"y\nlast"])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [(block + b"\n", 1_000 * len(block) + 2), (b"last", 4)]
    assert peak < 10 * len(block)


def test_a_header_that_names_a_column_twice_is_refused(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "units.csv"
    path.write_bytes(b"unit_id,updated_at,unit_id\nu,2026-01-01T00:00:00Z,v\n")
    finished = run("load-entities", "units", path)
    assert (finished.code, finished.output) == (1, "")
    assert f'{path} has the column "unit_id" twice in its header' in finished.errors


def test_the_form_goes_by_the_files_name_in_any_case(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    content = as_csv([client("a", 1)])
    for name, packed in (("c.CSV.GZ", gzip.compress), ("c.Csv.ZST", zstandard.compress)):
        counts = load_bytes("clients", tmp_path, packed(content), name)
        assert (counts.received, counts.rejected) == (1, 0), name


def test_loading_a_file_again_changes_nothing(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    content = ndjson([client(f"c{number % 5}", 1 + number % 9) for number in range(20)] + [{}])
    first = load_bytes("clients", tmp_path, content)
    before = rows(warehouse, "select * from staging.clients order by 1")
    second = load_bytes("clients", tmp_path, content)
    assert rows(warehouse, "select * from staging.clients order by 1") == before
    assert (first.accepted, first.duplicates, first.rejected) == (5, 15, 1)
    assert (second.accepted, second.duplicates, second.rejected) == (0, 20, 1)


MANY = [
    client(f"c{number % 3_000:04}", 1 + number % 9, plan=str(number)) for number in range(12_000)
]


def expected_many() -> dict[str, str]:
    newest: dict[str, Json] = {}
    for row in sorted(MANY, key=lambda row: (row["updated_at"], canonical(row))):
        newest[row["client_id"]] = row
    return {key: row["plan"] for key, row in newest.items()}


def plans(connection: psycopg.Connection) -> dict[str, str]:
    return dict(rows(connection, "select client_id, plan from staging.clients"))


def total(finished: Finished) -> dict[str, int]:
    assert (finished.code, finished.errors) == (0, "")
    return finished.answer


@pytest.mark.parametrize("warehouse", [ON_16, 18], indirect=True)
def test_loads_at_once_in_opposite_order_leave_the_newest_standing(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    shuffled = random.Random(1).sample(MANY, len(MANY))
    for name, content in (("there", MANY), ("back", MANY[::-1]), ("mixed", shuffled)):
        (tmp_path / name).write_bytes(ndjson(content))
    processes = [
        start("load-entities", "clients", tmp_path / name, "--json")
        for name in ("there", "back", "mixed")
    ]
    for process in processes:
        answer = total(finish(process))
        assert answer["received"] == answer["accepted"] + answer["duplicates"] == len(MANY)
    assert plans(warehouse) == expected_many()
    query = "select batch_seq from staging.event_batches order by batch_seq"
    numbers = [number for (number,) in rows(warehouse, query)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_load_that_was_killed_and_started_again_ends_as_an_unbroken_one(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "clients.ndjson"
    path.write_bytes(ndjson(MANY))
    with held(
        warehouse, "before insert on staging.event_batches for each row when (new.chunk = 1)"
    ) as is_waiting:
        process = start("load-entities", "clients", path)
        until(is_waiting)
        kill(process)
    assert batches(warehouse) == 1
    assert plans(warehouse)
    answer = total(run("load-entities", "clients", path, "--json"))
    assert answer["received"] == len(MANY)
    assert plans(warehouse) == expected_many()
