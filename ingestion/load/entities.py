"""Loads entities: their current state. Of each the row with the newest ``updated_at`` is kept."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import psycopg
from psycopg import sql

from ingestion.contract.line import (
    EPOCH,
    FIRST_TIMESTAMP,
    LARGEST_LINE,
    Reason,
    RejectError,
    exact_number,
    is_json_number,
    parse_object,
    quoted,
    read_instant,
    read_text,
    refuse_nul,
    refuse_unstorable,
    reject,
    since_epoch,
    truncated,
)
from ingestion.contract.messages import fault_of
from ingestion.contract.tracking_plan import LARGEST_NUMBER, LONGEST_KEY
from ingestion.contract.validator import FURTHEST_AHEAD, Rejected
from ingestion.load import chunks, ledger
from ingestion.load.chunks import BYTE_ORDER_MARK, Offset, too_large_message
from ingestion.load.intake import MAX_ATTEMPTS, write_rejected
from ingestion.load.ledger import Batch, Counts
from ingestion.load.loader import AtEnd, LoadError, marked, reason, run_alone
from ingestion.privacy.erasures import block_erasures, read_erased
from ingestion.privacy.suppression import Erased
from ingestion.sources.files import Source, SourceError
from warehouse import database

# Like json.dumps with sorted names and without spaces, but decimals stay exact.
_canonical = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
# Far more than an amount of money has, and far fewer than numeric can store.
MOST_DECIMALS = 100


class EntityKind(StrEnum):
    """The kinds of entities; the values are the names of their tables in staging."""

    CLIENTS = "clients"
    UNITS = "units"
    USERS = "users"
    DOCUMENTS = "documents"


Key = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_KEY)]
ClientId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_NUMBER)]


class Client(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant. It has churned if ``churned_at`` is set, whatever ``status`` is."""

    client_id: ClientId
    created_at: str
    updated_at: str
    name: str | None = None
    status: Literal["active", "paused", "churned"] | None = None
    plan: str | None = None
    churned_at: str | None = None


class Unit(msgspec.Struct, forbid_unknown_fields=True):
    """A unit (home) of a development."""

    unit_id: Key
    updated_at: str
    development_id: str | None = None
    client_id: ClientId | None = None


class User(msgspec.Struct, forbid_unknown_fields=True):
    """A person; limits are per calendar month, the cost limit in USD."""

    user_id: Key
    created_at: str
    updated_at: str
    client_id: ClientId | None = None
    role: Literal["admin", "member"] | None = None
    plan: str | None = None
    monthly_message_limit: Count | None = None
    monthly_token_limit: Count | None = None
    monthly_cost_limit: Decimal | None = None


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """A document that people ask about."""

    document_id: Key
    updated_at: str
    title: str | None = None
    city: str | None = None
    zoning: str | None = None
    zone: str | None = None


# Columns of entities that are times, and those that are numbers.
TIME_COLUMNS = ("created_at", "churned_at", "updated_at")

SHAPES: dict[EntityKind, type[msgspec.Struct]] = {
    EntityKind.CLIENTS: Client,
    EntityKind.UNITS: Unit,
    EntityKind.USERS: User,
    EntityKind.DOCUMENTS: Document,
}


def _number_columns(shape: type[msgspec.Struct]) -> list[str]:
    numbers = (Count | None, Decimal | None)
    return [field.name for field in msgspec.structs.fields(shape) if field.type in numbers]


NUMBER_COLUMNS = frozenset(name for shape in SHAPES.values() for name in _number_columns(shape))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source: its line number and its exact bytes.

    ``cells`` holds the cells of a CSV row by column; None for a line of JSON. ``csv_error`` says
    why a row is not valid CSV. ``full_length`` is the original length in bytes of a truncated row.
    """

    number: int
    payload: bytes
    cells: dict[str, str] | None
    csv_error: str | None = None
    full_length: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a source that are landed in one batch, from ``start`` up to ``end``."""

    rows: list[Row]
    start: Offset
    end: Offset
    digest: bytes


# A row, and its columns or the reason of its rejection.
RowOutcome = tuple[Row, "dict[str, Any] | Rejected"]


def load_entities(kind: EntityKind, source: Source, at_end: AtEnd | None = None) -> Counts:
    """Upsert the rows of an NDJSON or CSV source; return their counts.

    ``accepted`` rows were written; ``duplicates`` are not newer than the stored row. ``at_end`` is
    run in the transaction of the last batch. Raises files.SourceError, database.DatabaseError or
    LoadError: committed batches stay, and loading the source again does not change their result.
    """
    done = Counts()
    with database.connect(
        autocommit=True, application_name="warehouse load-entities"
    ) as connection:
        load_id = ledger.start_load(connection, kind, source.name, b"")
        try:
            with closing(_parts(source)) as parts:
                ended = False
                for part, ended in marked(parts, at_end):
                    received_at = datetime.now(UTC)
                    validated = [(row, validate_row(kind, row, received_at)) for row in part.rows]
                    batch = Batch(
                        ledger.next_batch_id(connection), load_id, kind, source.name,
                        part.start, part.end, part.digest, received_at, Counts(),
                    )  # fmt: skip
                    done += land_rows(connection, kind, validated, batch, at_end if ended else None)
                if at_end and not ended:
                    run_alone(at_end, connection)
        except BaseException as error:
            # If the server is gone the load stays `running` without a loader.
            with suppress(psycopg.Error):
                ledger.end_load(connection, load_id, "abandoned", reason(error))
            if isinstance(error, psycopg.Error):
                raise LoadError(
                    f"The load of {source.name} was interrupted: {reason(error)}. Committed "
                    "batches stay, nothing is half done. Fix that and load it again."
                ) from None
            raise
        ledger.end_load(connection, load_id, "finished")
    return done


def validate_row(kind: EntityKind, row: Row, received_at: datetime) -> dict[str, Any] | Rejected:
    """Return the row's columns including its canonical JSON, or its rejection."""
    try:
        if row.full_length is not None:
            reject(Reason.TOO_LARGE, too_large_message(row.full_length, len(row.payload)))
        text = read_text(row.payload)
        if row.csv_error:
            reject(Reason.INVALID_FIELD, f"invalid CSV: {row.csv_error}")
        shape = SHAPES[kind]
        if row.cells is None:
            members = parse_object(text, is_exact=True)
            # Number columns have bounds of their own, and an entity has no other numbers.
            refuse_unstorable(text, lambda _: True)
            members = {name: value for name, value in members.items() if value is not None}
        else:
            members = _columns_from_cells(row.cells, shape)
        for name in _number_columns(shape):
            if isinstance(members.get(name), str):
                reject(
                    Reason.INVALID_FIELD,
                    f"$.{name}: expected a number, got {quoted(members[name])}",
                )
        try:
            entity = msgspec.convert(members, shape)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(shape))
            reject(*fault_of(error, members, lambda _: None, known)[0])
        columns = msgspec.structs.asdict(entity)
        _check_columns(columns, received_at)
    except RejectError as error:
        return Rejected(*error.fault)
    columns["canonical"] = _canonical(members).decode()
    return columns


def _columns_from_cells(cells: dict[str, str], shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a CSV row's columns. Only an empty cell is absent; `NULL` is an ordinary text."""
    members: dict[str, Any] = {}
    numbers = _number_columns(shape)
    for name, cell in cells.items():
        refuse_nul(f"$.{name}", cell)
        if cell:
            members[name] = cell
        # A cell that is not a JSON number stays a text, and is rejected later.
        if name in numbers and is_json_number(cell) and (number := exact_number(cell)) != math.inf:
            members[name] = number
    return members


def _check_columns(columns: dict[str, Any], received_at: datetime) -> None:
    """Convert times to datetimes, and reject what the types can't check."""
    for name in TIME_COLUMNS:
        if columns.get(name) is not None:
            columns[name] = _instant(name, columns[name])
    if columns["updated_at"] > received_at + FURTHEST_AHEAD:
        reject(
            Reason.TIMESTAMP_OUT_OF_RANGE,
            f"$.updated_at: {columns['updated_at']:%Y-%m-%dT%H:%M:%SZ} is more than 24 h ahead; "
            "the row would override every later change",
        )
    if columns.get("status") == "churned" and columns.get("churned_at") is None:
        reject(Reason.MISSING_FIELD, "$.churned_at is required if status is churned")
    limit = columns.get("monthly_cost_limit")
    if limit is not None and not _is_amount(limit):
        reject(
            Reason.INVALID_FIELD,
            f"$.monthly_cost_limit: expected a number from 0 to {LARGEST_NUMBER} of at most "
            f"{MOST_DECIMALS} decimals, got {quoted(limit)}",
        )


def _is_amount(number: Decimal) -> bool:
    """Return whether a number is an amount of money that numeric can store; NaN is not."""
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int) and exponent >= -MOST_DECIMALS and 0 <= number <= LARGEST_NUMBER
    )


def _instant(name: str, text: str) -> datetime:
    try:
        microseconds = read_instant(text)
        if microseconds < since_epoch(FIRST_TIMESTAMP):
            # The zero time of some languages would give marts of 2,000 years.
            reject(
                Reason.TIMESTAMP_OUT_OF_RANGE,
                f"$.timestamp: expected a time from {FIRST_TIMESTAMP:%Y-%m-%d} on, "
                f"got {truncated(text)}",
            )
        return EPOCH + timedelta(microseconds=microseconds)
    except RejectError as error:
        reject(error.fault.reason, error.fault.detail.replace("$.timestamp", f"$.{name}"))
    except OverflowError:
        reject(
            Reason.TIMESTAMP_OUT_OF_RANGE, f"$.{name}: {truncated(text)} is outside of the calendar"
        )


def land_rows(
    connection: psycopg.Connection,
    kind: EntityKind,
    validated: list[RowOutcome],
    batch: Batch,
    in_transaction: Callable[[psycopg.Connection], object] | None = None,
) -> Counts:
    """Commit validated rows as one batch, whose counts are filled in here; return the counts.

    ``in_transaction`` is run in the same transaction. Raises psycopg.Error, with nothing written.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            with connection.transaction():
                block_erasures(connection)
                kept = _without_erased(validated, read_erased(connection))
                rejected = [
                    (row.number, row.payload, outcome)
                    for row, outcome in kept
                    if isinstance(outcome, Rejected)
                ]
                accepted = [outcome for _, outcome in kept if not isinstance(outcome, Rejected)]
                erased = len(validated) - len(kept)
                written = _upsert(connection, kind, accepted, batch.batch_id)
                counts = Counts(
                    received=len(validated),
                    accepted=written,
                    duplicates=len(accepted) - written,
                    suppressed=erased,
                    rejected=len(rejected),
                    suppressed_erased=erased,
                )
                batch_seq = ledger.commit_batch(connection, replace(batch, counts=counts))
                write_rejected(connection, batch_seq, batch.received_at, rejected, {})
                if in_transaction:
                    in_transaction(connection)
        except psycopg.errors.DeadlockDetected:
            continue
        return counts
    raise psycopg.OperationalError(f"a batch had {MAX_ATTEMPTS} deadlocks with other loaders")


def _without_erased(validated: list[RowOutcome], erased: Erased | None) -> list[RowOutcome]:
    """Leave out rows that contain an erased subject's identifier, rejected ones included."""
    if erased is None:
        return validated
    return [(row, outcome) for row, outcome in validated if not _is_of_erased(row, outcome, erased)]


def _is_of_erased(row: Row, outcome: dict[str, Any] | Rejected, erased: Erased) -> bool:
    if isinstance(outcome, Rejected):
        return erased.is_in_refused(row.payload, outcome.reason)
    return erased.is_in_row(outcome["canonical"], outcome.get("client_id"))


def _upsert(
    connection: psycopg.Connection, kind: EntityKind, rows: list[dict[str, Any]], batch_id: int
) -> int:
    """Write the rows that are newer than the stored ones; return how many were written."""
    names = _copy_incoming(connection, kind, rows)
    key = sql.Identifier(names[0])
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return connection.execute(
        sql.SQL(
            "insert into {table} as stored ({columns}, batch_id) "
            "select distinct on ({key}) {columns}, %s from pg_temp.incoming "
            "order by {key}, updated_at desc, canonical desc "
            "on conflict ({key}) do update "
            "set ({columns}, batch_id) = ({newer}, excluded.batch_id) "
            "where (excluded.updated_at, excluded.canonical) "
            "> (stored.updated_at, stored.canonical)"
        ).format(
            table=sql.Identifier("staging", kind),
            key=key,
            columns=columns,
            newer=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in names),
        ),
        (batch_id,),
    ).rowcount


def _copy_incoming(
    connection: psycopg.Connection, kind: EntityKind, rows: list[dict[str, Any]]
) -> list[str]:
    """Copy rows into pg_temp.incoming, until the transaction ends; return its columns."""
    names = [field.name for field in msgspec.structs.fields(SHAPES[kind])] + ["canonical"]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    connection.execute(
        sql.SQL(
            "create temporary table incoming on commit drop as select {} from {} with no data"
        ).format(columns, sql.Identifier("staging", kind))
    )
    with connection.cursor().copy(
        sql.SQL("copy pg_temp.incoming ({}) from stdin").format(columns)
    ) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
    return names


@dataclass(frozen=True, slots=True)
class TriedPart:
    """What a load would do with a part: ``newer`` are the keys of the rows that it would write."""

    part: Part
    counts: Counts
    rejected: list[tuple[int, Rejected]]
    newer: list[str]


def try_parts(
    connection: psycopg.Connection, kind: EntityKind, source: Source
) -> Iterator[TriedPart]:
    """Validate a source and compare its rows with the stored ones as a load would; write nothing.

    A row that stands in two parts counts in both.
    """
    erased, now = read_erased(connection), datetime.now(UTC)
    key = sql.Identifier(SHAPES[kind].__struct_fields__[0])
    with closing(_parts(source)) as parts:
        for part in parts:
            validated = [(row, validate_row(kind, row, now)) for row in part.rows]
            kept = _without_erased(validated, erased)
            rows = [outcome for _, outcome in kept if not isinstance(outcome, Rejected)]
            rejected = [(row.number, why) for row, why in kept if isinstance(why, Rejected)]
            with connection.transaction():
                _copy_incoming(connection, kind, rows)
                newer = connection.execute(
                    sql.SQL(
                        "select distinct i.{key} from pg_temp.incoming as i "
                        "left join {table} as s on s.{key} = i.{key} where s.{key} is null "
                        "or (i.updated_at, i.canonical) > (s.updated_at, s.canonical)"
                    ).format(key=key, table=sql.Identifier("staging", kind))
                ).fetchall()
            suppressed = len(validated) - len(kept)
            yield TriedPart(
                part,
                Counts(
                    len(validated), len(newer), len(rows) - len(newer), suppressed,
                    len(rejected), suppressed,
                ),
                rejected,
                [one for (one,) in newer],
            )  # fmt: skip


def _parts(source: Source) -> Iterator[Part]:
    """Yield the non-blank rows of a source: CSV if its name ends in .csv, otherwise NDJSON."""
    blocks = source.blocks(0)
    name = source.name.lower().removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".csv"):
        yield from _parts_of_csv(_csv_rows(_lines(blocks), source.name))
        return
    for chunk in map(chunks.split, chunks.cut(blocks, Offset())):
        lengths = chunk.full_lengths
        rows = [Row(number, line, None, None, lengths.get(number)) for number, line in chunk.lines]
        if rows:
            yield Part(rows, chunk.start, chunk.end, chunk.digest)


def _parts_of_csv(rows: Iterator[Row]) -> Iterator[Part]:
    start = Offset()
    while taken := list(_next_chunk(rows)):
        content = b"\n".join(row.payload for row in taken)
        end = Offset(start.chunks + 1, start.bytes + len(content), taken[-1].number)
        yield Part(taken, start, end, hashlib.sha256(content).digest())
        start = end


def _next_chunk(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the next rows, as many as fit in a chunk."""
    size = 0
    for count, row in enumerate(rows, 1):
        yield row
        size += len(row.payload)
        if count >= chunks.CHUNK_LINES or size >= chunks.CHUNK_BYTES:
            return


def _csv_rows(lines: Iterator[tuple[bytes, int]], name: str) -> Iterator[Row]:
    taken: list[bytes] = []
    size = 0

    def text(line: tuple[bytes, int]) -> str:
        nonlocal size
        taken.append(line[0])
        size += line[1]
        # Limits how many of the following lines an unclosed quote takes into its row.
        if size > LARGEST_LINE + len(b"\r\n"):
            raise csv.Error(f"a row of more than {LARGEST_LINE:,} bytes")
        # Bytes that are not UTF-8 become lone surrogates; their row is rejected later.
        return line[0].decode("utf-8", "surrogateescape")

    csv.field_size_limit(LARGEST_LINE)
    # An iterator object, not a generator: a generator would end with the first error.
    reader = csv.reader(map(text, lines))
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise SourceError(
            f"{name} has no valid CSV header: {error}. Its first line must name the columns."
        ) from error
    if twice := [column for column, count in Counter(header).items() if count > 1]:
        raise SourceError(
            f"{name} has the column {quoted(twice[0])} twice in its header: remove one."
        )
    number = len(taken) + 1
    while True:
        taken.clear()
        size = 0
        cells, csv_error = None, None
        try:
            cells = next(reader, None)
        except csv.Error as error:
            csv_error = str(error)
        if cells is None and csv_error is None:
            return
        whole = b"".join(taken)
        payload = whole.removesuffix(b"\n").removesuffix(b"\r")
        if payload and not payload.isspace():
            # An extra cell becomes an unknown column and a missing one an absent column.
            cells = cells or []
            extra = {f"cell {n}": cell for n, cell in enumerate(cells) if n >= len(header)}
            named = dict(zip(header, cells, strict=False)) | extra
            length, kept = size - len(whole) + len(payload), payload[: chunks.LONGEST_KEPT_LINE]
            yield Row(number, kept, named, csv_error, length if length > len(kept) else None)
        number += len(taken)


def _lines(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield (line with its end, original length) without a leading byte-order mark.

    A line that is longer than the quarantine keeps is truncated.
    """
    line, length, last, mark = bytearray(), 0, b"", BYTE_ORDER_MARK
    for block in blocks:
        *ended, rest = block.split(b"\n")
        for piece in ended:
            line += piece[: chunks.LONGEST_KEPT_LINE - len(line)]
            length, last = length + len(piece), piece[-1:] or last
            end = b"\r\n" if length > len(line) and last == b"\r" else b"\n"
            yield bytes(line).removeprefix(mark) + end, length + 1
            line.clear()
            length, last, mark = 0, b"", b""
        line += rest[: chunks.LONGEST_KEPT_LINE - len(line)]
        length, last = length + len(rest), rest[-1:] or last
    if line:
        yield bytes(line).removeprefix(mark), length
