# ruff: noqa: S608 (a mapping is SQL text; the tests put theirs together)
from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from ingestion.sources.mapping import SHIPPED, MappingError, find_mapping, mapped_blocks

ENVELOPE = """'signup' as event, '2026-01-01T00:00:00Z' as "timestamp", {client_id: 'a'} as actor"""
ROWS = "read_csv(getvariable('source'), header = true, all_varchar = true)"

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mapped(mapping: Path, source: Path) -> list[dict]:
    return [json.loads(line) for line in b"".join(mapped_blocks(mapping, source)).splitlines()]


def names(mapping: Path, source: Path) -> list[str]:
    return [event["properties"]["name"] for event in mapped(mapping, source)]


@pytest.fixture
def by_name(write: Write) -> Path:
    return write("by_name.sql", f"select {ENVELOPE}, {{name: name}} as properties from {ROWS}")


# find_mapping


@pytest.mark.parametrize("name", ["aider", "aider.sql", "sources/aider.sql"])
def test_a_shipped_mapping_is_found_by_its_name(name: str) -> None:
    assert find_mapping(name) == SHIPPED / "aider.sql"


def test_a_path_that_exists_is_the_mapping_itself(by_name: Path) -> None:
    assert find_mapping(str(by_name)) == by_name


def test_a_file_wins_over_a_shipped_mapping_of_its_name(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("aider.sql", "select 1")
    monkeypatch.chdir(tmp_path)
    assert find_mapping("aider.sql") == Path("aider.sql")


@pytest.mark.parametrize("name", ["nothing", "other/aider.sql", "aider.csv", "", "../aider"])
def test_an_unknown_mapping_is_refused_with_the_shipped_ones_listed(name: str) -> None:
    with pytest.raises(MappingError, match="aider, azure_llm, upptime"):
        find_mapping(name)


# What comes out


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("timestamptz '2026-01-31 23:59:59.123456+02'", "2026-01-31T21:59:59.123456Z"),
        (
            "timestamp '2026-07-01 12:00:00' at time zone 'Europe/Berlin'",
            "2026-07-01T10:00:00Z",
        ),
        ("to_timestamp(0)", "1970-01-01T00:00:00Z"),
        ("null::timestamptz", None),
        ("'as it is'", "as it is"),
    ],
)
def test_a_time_with_zone_is_written_as_the_contract_wants_it(
    write: Write, value: str, written: str | None
) -> None:
    columns = f"'signup' as event, {value} as \"timestamp\", {{client_id: 'a'}} as actor"
    mapping = write("zoned.sql", f"select {columns} from {ROWS}")
    (event,) = mapped(mapping, write("s.csv", "name\na\n"))
    assert event["timestamp"] == written


@pytest.mark.parametrize(
    "value", ["timestamp '2026-01-01 00:00:00'", "date '2026-01-01'", "now()::timestamp_ns"]
)
def test_a_time_without_zone_is_refused_with_how_to_say_it(write: Write, value: str) -> None:
    columns = f"'signup' as event, {value} as \"timestamp\", {{client_id: 'a'}} as actor"
    mapping = write("zoneless.sql", f"select {columns} from {ROWS}")
    with pytest.raises(MappingError, match="without a time zone: say which it is in"):
        mapped(mapping, write("s.csv", "name\na\n"))


def test_every_row_is_one_line_of_whole_blocks(write: Write, by_name: Path) -> None:
    source = write("s.csv", "name\n" + "".join(f"row {n}\n" for n in range(1000)))
    blocks = list(mapped_blocks(by_name, source, block_bytes=4096))
    assert len(blocks) > 2
    assert all(block.endswith(b"\n") for block in blocks)
    assert all(len(block) >= 4096 for block in blocks[:-1])
    assert names(by_name, source) == [f"row {n}" for n in range(1000)]


def test_the_bytes_are_the_same_on_every_run_and_for_every_block_size(write: Write) -> None:
    mapping = write(
        "grouped.sql",
        f"select {ENVELOPE}, {{n: n, rows: count(*), mean: avg(cast(x as double))}} as properties "
        f"from {ROWS} group by n",
    )
    rows = "".join(f"{n * 7919 % 5003},{n / 7}\n" for n in range(20_000))
    source = write("s.csv", "n,x\n" + rows)
    runs = {
        b"".join(mapped_blocks(mapping, source, block_bytes=size)) for size in (1, 999, 1 << 20)
    }
    assert len(runs) == 1


def test_the_order_of_the_file_is_kept_over_many_chunks(write: Write, by_name: Path) -> None:
    source = write("s.csv", "name\n" + "".join(f"{n}\n" for n in range(50_000)))
    assert names(by_name, source) == [str(n) for n in range(50_000)]


def test_a_line_break_in_a_value_does_not_break_the_line(write: Write, by_name: Path) -> None:
    assert names(by_name, write("s.csv", 'name\n"two\nlines"\n')) == ["two\nlines"]


def test_a_null_column_counts_as_absent(write: Write) -> None:
    mapping = write("m.sql", f"select {ENVELOPE}, null as event_id, cast(null as json) as context")
    (event,) = mapped(mapping, write("s.csv", "name\n"))
    assert event.get("event_id") is None
    assert event.get("context") is None


def test_numbers_of_json_text_keep_their_value(write: Write) -> None:
    mapping = write(
        "m.sql",
        f"select {ENVELOPE}, json as properties from read_ndjson_objects(getvariable('source'))",
    )
    cost, whole = "0.00011070", "123456789012345678901"
    source = write("s.jsonl", f'{{"cost": {cost}, "whole": {whole}, "none": null}}\n' * 1000)
    lines = b"".join(mapped_blocks(mapping, source)).splitlines()
    numbers = [json.loads(line, parse_float=Decimal)["properties"] for line in lines]
    assert sum(each["cost"] for each in numbers) == 1000 * Decimal(cost)
    assert sum(each["whole"] for each in numbers) == 1000 * int(whole)


def test_gzip_is_read_like_plain_text(tmp_path: Path, by_name: Path) -> None:
    source = tmp_path / "s.csv.gz"
    source.write_bytes(gzip.compress(b"name\nzipped\n"))
    assert names(by_name, source) == ["zipped"]


@pytest.mark.parametrize("name", ["a[1].csv", "a*.csv", "a?.csv", "it's.csv", "ü {x}.csv"])
def test_a_files_name_is_never_a_pattern(write: Write, by_name: Path, name: str) -> None:
    write("a1.csv", "name\nanother file\n")
    assert names(by_name, write(name, "name\nthis file\n")) == ["this file"]


def test_a_file_without_rows_gives_no_block(write: Write, by_name: Path) -> None:
    assert list(mapped_blocks(by_name, write("s.csv", "name\n"))) == []


def test_a_semicolon_and_comments_may_end_a_mapping(write: Write) -> None:
    sql = f"-- ü; é\nselect {ENVELOPE}, {{name: name, s: ';'}} as properties from {ROWS} ; -- end;"
    assert names(write("m.sql", sql), write("s.csv", "name\nx\n")) == ["x"]


# What is refused


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec 1", "not valid DuckDB SQL.*syntax error"),
        ("", "not a select"),
        ("-- nothing", "not a select"),
        ("select 1; select 2", "not a select"),
        ("set threads = 8", "not a select"),
        ("copy (select 1) to 'x.csv'", "not a select"),
        ("select 1) as x; select (1", "not valid DuckDB SQL"),
        (f"select {ENVELOPE}, 1 as extra", "column 'extra'.*move it into properties"),
        (f"select {ENVELOPE.replace('event', 'Event')}", "column 'Event'"),
        ("select 'x' as event, '' as \"timestamp\"", "no column 'actor'"),
        (f"select {ENVELOPE} from nowhere", "nowhere does not exist"),
        (f"select {ENVELOPE}, error('in the middle') as properties from {ROWS}", "in the middle"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_named_with_what_is_wrong(
    write: Write, sql: str, message: str
) -> None:
    with pytest.raises(MappingError, match=message) as refused:
        list(mapped_blocks(write("m.sql", sql), write("s.csv", "name\nx\n")))
    assert "m.sql" in str(refused.value)


def test_a_missing_mapping_is_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"nothing\.sql cannot be read"):
        list(mapped_blocks(tmp_path / "nothing.sql", write("s.csv", "name\n")))


def test_a_mapping_that_is_not_utf_8_is_named(write: Write, tmp_path: Path) -> None:
    mapping = tmp_path / "latin.sql"
    mapping.write_bytes("select 'é'".encode("latin-1"))
    with pytest.raises(MappingError, match=r"latin\.sql is not UTF-8"):
        list(mapped_blocks(mapping, write("s.csv", "name\n")))


def test_a_missing_file_or_a_directory_is_named(by_name: Path, tmp_path: Path) -> None:
    for source in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(MappingError, match="is not a file"):
            list(mapped_blocks(by_name, source))


def test_a_broken_line_is_named_with_file_and_line(write: Write) -> None:
    source = write("s.jsonl", '{"event": "exit", "time": 1}\n{"event": oops\n')
    with pytest.raises(MappingError, match=r"aider\.sql failed on .*s\.jsonl.*line"):
        list(mapped_blocks(find_mapping("aider"), source))


# The sandbox


@pytest.mark.parametrize(
    "reading",
    ["read_text('{}')", "read_csv('{}')", "glob('{}')", "read_csv([getvariable('source'), '{}'])"],
)
def test_another_file_is_refused(write: Write, reading: str) -> None:
    other = write("other.csv", "name\nsecret\n")
    mapping = write("m.sql", f"select {ENVELOPE} from {reading.format(other)}")
    with pytest.raises(MappingError, match=r"nothing else.*other\.csv"):
        list(mapped_blocks(mapping, write("s.csv", "name\nx\n")))


def test_the_network_is_refused(write: Write) -> None:
    mapping = write("m.sql", f"select {ENVELOPE} from read_csv('https://localhost/x.csv')")
    with pytest.raises(MappingError, match="nothing else"):
        list(mapped_blocks(mapping, write("s.csv", "name\n")))


def test_the_file_itself_cannot_be_written(write: Write) -> None:
    source = write("s.csv", "name\nx\n")
    mapping = write(
        "m.sql",
        f"with w as (copy (select 1 as a) to '{source}' (format csv, use_tmp_file false)) "
        f"select {ENVELOPE} from w",
    )
    with pytest.raises(MappingError, match="COPY"):
        list(mapped_blocks(mapping, source))
    assert source.read_text() == "name\nx\n"


# Rules of the shipped mappings


def test_aider_keeps_lines_apart_that_differ_in_their_event_alone(write: Write) -> None:
    line = '{{"event": "{}", "properties": {{}}, "user_id": "u", "time": 1723560031}}\n'
    source = write("s.jsonl", "".join(map(line.format, ("launched", "cli session", "launched"))))
    first, second, third = mapped(find_mapping("aider"), source)
    assert first == third != second
    assert first["event"] == second["event"] == "session"


def test_aider_leaves_a_null_cost_out_and_a_line_without_user_anonymous(write: Write) -> None:
    source = write(
        "s.jsonl",
        '{"event": "message_send", "properties": {"main_model": "m", "prompt_tokens": 1, '
        '"completion_tokens": 2, "cost": null, "model_name": "other"}, "user_id": null, '
        '"time": 1723560031}\n',
    )
    assert mapped(find_mapping("aider"), source) == [
        {
            "event": "chat",
            "timestamp": "2024-08-13T14:40:31Z",
            "actor": {"client_id": "aider", "anonymous_id": "unknown"},
            "context": {"source": "api"},
            "properties": {
                "main_model": "m",
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "cost": None,
                "model_name": "m",
                "tokens_prompt": 1,
                "tokens_completion": 2,
                "action": "message_send",
            },
        }
    ]


def test_azure_gives_equal_rows_ids_of_their_own_that_do_not_hang_on_the_directory(
    write: Write, tmp_path: Path
) -> None:
    rows = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n" + "2023-11-16 18:17:03.9799600,1,2\r\n" * 2
    here = mapped(find_mapping("azure_llm"), write("trace_conv.csv", rows))
    (tmp_path / "x_code").mkdir()
    there = mapped(find_mapping("azure_llm"), write("x_code/other_conv_1.csv", rows))
    assert here == there
    assert here[0]["event_id"] != here[1]["event_id"]
    assert here[0]["actor"] == {"client_id": "azure-conv"}
    assert here[0]["timestamp"] == "2023-11-16T18:17:03.9799600Z"


def test_azure_refuses_a_file_whose_name_gives_no_client(write: Write) -> None:
    source = write(
        "trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,2\n"
    )
    with pytest.raises(MappingError, match="neither _code nor _conv"):
        list(mapped_blocks(find_mapping("azure_llm"), source))


def test_upptime_makes_no_answer_599_and_the_time_utc(write: Write) -> None:
    source = write(
        "s.csv",
        "commit,checked_at,endpoint,state,status_code,latency_ms\n"
        "12e4,2024-12-17T23:08:18+02:00,EBI HTTP,down,0,436\n",
    )
    (event,) = mapped(find_mapping("upptime"), source)
    assert event["timestamp"] == "2024-12-17T21:08:18Z"
    assert event["actor"] == {"client_id": "_platform"}
    assert event["properties"] == {
        "endpoint": "EBI HTTP",
        "method": "GET",
        "status_code": 599,
        "response_time_ms": 436,
        "state": "down",
    }
