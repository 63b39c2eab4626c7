"""Entities: what a thing looks like now. Of each the row with the newest ``updated_at`` stands."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
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
    clipped,
    exact_number,
    is_json_number,
    parse_object,
    read_instant,
    read_text,
    refuse_nul,
    refuse_unstorable,
    reject,
    shown,
    since_epoch,
)
from ingestion.contract.messages import explain
from ingestion.contract.tracking_plan import LARGEST_NUMBER
from ingestion.contract.validator import FURTHEST_AHEAD, Rejected
from ingestion.load import chunks, ledger
from ingestion.load.chunks import BYTE_ORDER_MARK, Place, cut_detail
from ingestion.load.intake import MOST_TRIES, write_rejected
from ingestion.load.ledger import Batch, Counts
from ingestion.load.loader import LoadError, reason
from ingestion.privacy.suppression import Erased, hold_off_erasures, read_erased
from ingestion.sources.files import Source, SourceError
from warehouse import database

# As Python's json.dumps with sorted names and no spaces, but for decimals, which stay exact.
_canonical = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
# Far more than money has, and far less than what numeric holds.
MOST_DECIMALS = 100


class EntityKind(StrEnum):
    """The kinds of entities, by the names of their tables."""

    CLIENTS = "clients"
    UNITS = "units"
    USERS = "users"
    DOCUMENTS = "documents"


# An index entry has at most 2,704 bytes.
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
ClientId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_NUMBER)]


class Client(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant. ``churned_at`` alone decides that it has churned."""

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


SHAPES: dict[EntityKind, type[msgspec.Struct]] = {
    EntityKind.CLIENTS: Client,
    EntityKind.UNITS: Unit,
    EntityKind.USERS: User,
    EntityKind.DOCUMENTS: Document,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source: its line number, its exact bytes, and a way to read it.

    ``cells`` are those of a CSV row by column; None for a line of JSON. ``fault`` says what is
    wrong with a row that is no CSV. ``cut_length`` is its real length in bytes, where it was too
    long to be kept whole.
    """

    number: int
    payload: bytes
    cells: dict[str, str] | None
    fault: str | None = None
    cut_length: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a source that are landed at once, from ``start`` up to ``end``."""

    rows: list[Row]
    start: Place
    end: Place
    digest: bytes


# A row, and its columns or why it is refused.
Judged = tuple[Row, "dict[str, Any] | Rejected"]


def load_entities(kind: EntityKind, source: Source) -> Counts:
    """Upsert the rows of an NDJSON or CSV source; return what became of them.

    ``accepted`` rows are those that now stand, ``duplicates`` those that are no newer than what
    stood. Raises source.SourceError, database.DatabaseError or LoadError: committed batches stay,
    and loading the source again changes nothing that they did.
    """
    done = Counts()
    with database.connect(
        autocommit=True, application_name="warehouse load-entities"
    ) as connection:
        load_id = ledger.start_load(connection, kind, source.name, b"")
        try:
            with closing(_parts(source)) as parts:
                for part in parts:
                    done += _land(connection, kind, load_id, source.name, part)
        except BaseException as error:
            # Where the server is gone the load stays `running` without a loader.
            with suppress(psycopg.Error):
                ledger.end_load(connection, load_id, "abandoned", reason(error))
            if isinstance(error, psycopg.Error):
                raise LoadError(
                    f"The load of {source.name} broke off: {reason(error)}. Committed batches "
                    "stay, nothing is half done; mend that and load it again."
                ) from None
            raise
        ledger.end_load(connection, load_id, "finished")
    return done


def judge_row(kind: EntityKind, row: Row, received_at: datetime) -> dict[str, Any] | Rejected:
    """Return the row's columns, its canonical JSON among them, or why it is refused."""
    try:
        if row.cut_length is not None:
            reject(Reason.TOO_LARGE, cut_detail(row.cut_length, len(row.payload)))
        text = read_text(row.payload)
        if row.fault:
            reject(Reason.INVALID_FIELD, f"no CSV: {row.fault}")
        shape = SHAPES[kind]
        if row.cells is None:
            came = parse_object(text, is_exact=True)
            # Numbers of columns have bounds of their own, and there are no others.
            refuse_unstorable(text, lambda _: True)
            came = {name: value for name, value in came.items() if value is not None}
        else:
            came = _of_cells(row.cells, shape)
        for name in _number_columns(shape):
            if isinstance(came.get(name), str):
                reject(
                    Reason.INVALID_FIELD, f"$.{name}: expected a number, got {shown(came[name])}"
                )
        try:
            entity = msgspec.convert(came, shape)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(shape))
            explain(error, came, lambda _: None, known)
        columns = msgspec.structs.asdict(entity)
        _check(columns, received_at)
    except RejectError as error:
        return Rejected(error.reason, error.detail)
    columns["canonical"] = _canonical(came).decode()
    return columns


def _number_columns(shape: type[msgspec.Struct]) -> list[str]:
    numbers = (Count | None, Decimal | None)
    return [field.name for field in msgspec.structs.fields(shape) if field.type in numbers]


def _of_cells(cells: dict[str, str], shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a CSV row's columns. An empty cell alone is absent: `NULL` is a text like others."""
    came: dict[str, Any] = {}
    numbers = _number_columns(shape)
    for name, cell in cells.items():
        refuse_nul(f"$.{name}", cell)
        if cell:
            came[name] = cell
        # What is no number, as JSON writes them, stays a text, and is refused as one.
        if name in numbers and is_json_number(cell) and (number := exact_number(cell)) != math.inf:
            came[name] = number
    return came


def _check(columns: dict[str, Any], received_at: datetime) -> None:
    """Turn times into datetimes and refuse what the types could not."""
    for name in ("created_at", "churned_at", "updated_at"):
        if columns.get(name) is not None:
            columns[name] = _instant(name, columns[name])
    if columns["updated_at"] > received_at + FURTHEST_AHEAD:
        reject(
            Reason.TIMESTAMP_OUT_OF_RANGE,
            f"$.updated_at: {columns['updated_at']:%Y-%m-%dT%H:%M:%SZ} lies more than 24 h ahead; "
            "it would win over every later change",
        )
    if columns.get("status") == "churned" and columns.get("churned_at") is None:
        reject(Reason.MISSING_FIELD, "$.churned_at is required where status is churned")
    limit = columns.get("monthly_cost_limit")
    if limit is not None and not _is_amount(limit):
        reject(
            Reason.INVALID_FIELD,
            f"$.monthly_cost_limit: expected a number from 0 to {LARGEST_NUMBER} of at most "
            f"{MOST_DECIMALS} decimals, got {shown(limit)}",
        )


def _is_amount(number: Decimal) -> bool:
    """Tell whether it is an amount of money; NaN and what numeric can't hold are none."""
    exponent = number.as_tuple().exponent
    return (
        isinstance(exponent, int) and exponent >= -MOST_DECIMALS and 0 <= number <= LARGEST_NUMBER
    )


def _instant(name: str, text: str) -> datetime:
    try:
        microseconds = read_instant(text)
        if microseconds < since_epoch(FIRST_TIMESTAMP):
            # The zero time of some language would give marts of 2,000 years.
            reject(
                Reason.TIMESTAMP_OUT_OF_RANGE,
                f"$.timestamp: expected a time from {FIRST_TIMESTAMP:%Y-%m-%d} on, "
                f"got {clipped(text)}",
            )
        return EPOCH + timedelta(microseconds=microseconds)
    except RejectError as error:
        reject(error.reason, error.detail.replace("$.timestamp", f"$.{name}"))
    except OverflowError:
        reject(Reason.TIMESTAMP_OUT_OF_RANGE, f"$.{name}: {clipped(text)} is beyond the calendar")


def _land(
    connection: psycopg.Connection,
    kind: EntityKind,
    load_id: int,
    source: str,
    part: Part,
) -> Counts:
    received_at = datetime.now(UTC)
    judged = [(row, judge_row(kind, row, received_at)) for row in part.rows]
    for _ in range(MOST_TRIES):
        try:
            with connection.transaction():
                hold_off_erasures(connection)
                kept = _without_erased(judged, read_erased(connection))
                rejected = [
                    (row.number, row.payload, verdict)
                    for row, verdict in kept
                    if isinstance(verdict, Rejected)
                ]
                accepted = [verdict for _, verdict in kept if not isinstance(verdict, Rejected)]
                erased = len(judged) - len(kept)
                batch_id = ledger.next_batch_id(connection)
                standing = _upsert(connection, kind, accepted, batch_id)
                counts = Counts(
                    received=len(judged),
                    accepted=standing,
                    duplicates=len(accepted) - standing,
                    suppressed=erased,
                    rejected=len(rejected),
                    suppressed_erased=erased,
                )
                batch = Batch(
                    batch_id, load_id, kind, source, part.start, part.end, part.digest,
                    received_at, counts,
                )  # fmt: skip
                batch_seq = ledger.commit_batch(connection, batch)
                write_rejected(connection, batch_seq, received_at, rejected)
        except psycopg.errors.DeadlockDetected:
            continue
        return counts
    raise psycopg.OperationalError(f"a batch met other loaders {MOST_TRIES} times in a row")


def _without_erased(judged: list[Judged], erased: Erased | None) -> list[Judged]:
    """Leave out the rows that hold the identifier of an erased subject, whatever else they are."""
    if erased is None:
        return judged
    return [(row, verdict) for row, verdict in judged if not _is_of_erased(row, verdict, erased)]


def _is_of_erased(row: Row, verdict: dict[str, Any] | Rejected, erased: Erased) -> bool:
    if isinstance(verdict, Rejected):
        return erased.is_in_refused(row.payload, verdict.reason)
    return erased.is_in_row(verdict["canonical"], verdict.get("client_id"))


def _upsert(
    connection: psycopg.Connection, kind: EntityKind, rows: list[dict[str, Any]], batch_id: int
) -> int:
    """Write the rows that are newer than what stands; return how many of them stand now."""
    names = [field.name for field in msgspec.structs.fields(SHAPES[kind])] + ["canonical"]
    table = sql.Identifier("staging", kind)
    key = sql.Identifier(names[0])
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    connection.execute(
        sql.SQL(
            "create temporary table coming on commit drop as select {} from {} with no data"
        ).format(columns, table)
    )
    with connection.cursor().copy(
        sql.SQL("copy pg_temp.coming ({}) from stdin").format(columns)
    ) as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])
    return connection.execute(
        sql.SQL(
            "insert into {table} as standing ({columns}, batch_id) "
            "select distinct on ({key}) {columns}, %s from pg_temp.coming "
            "order by {key}, updated_at desc, canonical desc "
            "on conflict ({key}) do update "
            "set ({columns}, batch_id) = ({newer}, excluded.batch_id) "
            "where (excluded.updated_at, excluded.canonical) "
            "> (standing.updated_at, standing.canonical)"
        ).format(
            table=table,
            key=key,
            columns=columns,
            newer=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in names),
        ),
        (batch_id,),
    ).rowcount


def _parts(source: Source) -> Iterator[Part]:
    """Yield the rows of a source that are not blank: CSV by the file's name, else NDJSON."""
    blocks = source.blocks(0)
    name = source.name.lower().removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".csv"):
        yield from _parts_of_csv(_csv_rows(_lines(blocks), source.name))
        return
    for chunk in chunks.cut(blocks, Place()):
        lengths = chunk.cut_lengths
        rows = [Row(number, line, None, None, lengths.get(number)) for number, line in chunk.lines]
        if rows:
            yield Part(rows, chunk.start, chunk.end, chunk.digest)


def _parts_of_csv(rows: Iterator[Row]) -> Iterator[Part]:
    start = Place()
    while taken := list(_some(rows)):
        content = b"\n".join(row.payload for row in taken)
        end = Place(start.chunks + 1, start.bytes + len(content), taken[-1].number)
        yield Part(taken, start, end, hashlib.sha256(content).digest())
        start = end


def _some(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield as many of the rows that come next as a chunk holds."""
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
        # A quote that is never closed takes so much of what follows into its row, and no more.
        if size > LARGEST_LINE + len(b"\r\n"):
            raise csv.Error(f"a row of more than {LARGEST_LINE:,} bytes")
        # Bytes that are not UTF-8 pass as lone surrogates, and are refused with their row.
        return line[0].decode("utf-8", "surrogateescape")

    csv.field_size_limit(LARGEST_LINE)
    # Not a generator, which would be over with the first error.
    reader = csv.reader(map(text, lines))
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise SourceError(f"{name} has no CSV header: {error}.") from error
    if twice := [column for column, count in Counter(header).items() if count > 1]:
        raise SourceError(
            f"{name} has the column {shown(twice[0])} twice in its header: only one can be meant."
        )
    number = len(taken) + 1
    while True:
        taken.clear()
        size = 0
        cells, fault = None, None
        try:
            cells = next(reader, None)
        except csv.Error as error:
            fault = str(error)
        if cells is None and fault is None:
            return
        whole = b"".join(taken)
        payload = whole.removesuffix(b"\n").removesuffix(b"\r")
        if payload and not payload.isspace():
            # A cell too many or too few shows as a column that no entity has, or a missing one.
            cells = cells or []
            extra = {f"cell {n}": cell for n, cell in enumerate(cells) if n >= len(header)}
            named = dict(zip(header, cells, strict=False)) | extra
            length, kept = size - len(whole) + len(payload), payload[: chunks.LONGEST_KEPT_LINE]
            yield Row(number, kept, named, fault, length if length > len(kept) else None)
        number += len(taken)


def _lines(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield the lines with their ends, without a leading byte-order mark, and their real lengths.

    Of a line that is longer than what the quarantine keeps it yields the beginning.
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
