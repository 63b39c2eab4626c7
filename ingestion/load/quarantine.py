"""The quarantine: lists, shows and replays rejected lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial

import psycopg
from psycopg.rows import class_row

from ingestion.contract.line import Reason
from ingestion.contract.validator import Accepted, Receipt, Rejected, Suppressed
from ingestion.load import ledger
from ingestion.load.chunks import LONGEST_KEPT_LINE, Chunk, Offset
from ingestion.load.intake import Intake, Origin
from ingestion.load.landed import dropped_months, landed_and_dropped, landed_before
from ingestion.load.ledger import Counts
from ingestion.load.loader import Receipts
from ingestion.load.loader import reason as why
from ingestion.load.validation import Events, outcomes_of_lines, validate_chunk
from ingestion.privacy.erasures import read_erased
from warehouse import database
from warehouse.errors import WarehouseError
from warehouse.settings import settings

# Limits of a chunk that is replayed: lines and bytes.
REPLAYED_AT_ONCE = 5_000
REPLAYED_BYTES = 8 << 20


class ReplayError(WarehouseError):
    """The requested lines can't be replayed."""


@dataclass(frozen=True, slots=True)
class RejectedGroup:
    """Counts of a source's rejected lines with one reason, and how many of them still wait."""

    reason: str
    kind: str
    source: str
    rejected: int
    waiting: int
    last_received_at: datetime
    example_id: int


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """One rejected line with its reason, payload and origin."""

    reject_id: int
    batch_seq: int
    kind: str
    source: str
    line_number: int
    reason: str
    detail: str
    payload: bytes
    received_at: datetime
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Which:
    """Which rejected lines are meant: those that fulfil all conditions that are given.

    ``source`` is a path or the name of a file; ``day`` is the UTC day of receipt; ``event`` is the
    event's name in the line.
    """

    reason: str | None = None
    source: str | None = None
    event: str | None = None
    day: date | None = None
    ids: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """How many lines with an old reason would have a new outcome, and one of them.

    ``outcome`` is accepted, duplicate, suppressed, or the reason of a rejection.
    """

    reason: str
    outcome: str
    lines: int
    example_id: int

    @property
    def is_taken(self) -> bool:
        """Whether the lines would not be rejected once more."""
        return self.outcome not in {*Reason}


ALL = Which()
# The rows of warehouse.rejected_lines that Which means.
_IS_MEANT = """
    (%(ids)s::bigint[] is null or reject_id = any(%(ids)s))
    and (%(reason)s::text is null or reason = %(reason)s)
    and (%(event)s::text is null or event = %(event)s)
    and (%(day)s::date is null or (received_at at time zone 'utc')::date = %(day)s)
    and (
        %(source)s::text is null
        or source = %(source)s
        or right(source, length(%(source)s) + 1) = '/' || %(source)s
    )
"""


_NEXT_WAITING = f"""
    with next_ones as (
        select * from warehouse.rejected_lines
        where is_waiting and kind = 'events' and reject_id > %(after)s and reject_id <= %(newest)s
            and reason <> %(too_large)s and {_IS_MEANT}
        order by reject_id limit %(most)s
    ),

    measured as (
        select
            *,
            sum(octet_length(payload)) over (order by reject_id) - octet_length(payload) as before
        from next_ones
    )

    select reject_id, origin_batch_seq, line_number, reason, payload from measured
    where before < %(bytes)s order by reject_id
"""  # noqa: S608 (constants)


def rejected_groups(connection: psycopg.Connection, which: Which = ALL) -> list[RejectedGroup]:
    """Return the groups of rejected lines, the largest first."""
    return (
        connection.cursor(row_factory=class_row(RejectedGroup))
        .execute(
            "select reason, kind, source, count(*) as rejected, "
            "count(*) filter (where is_waiting) as waiting, "
            "max(received_at) as last_received_at, max(reject_id) as example_id "
            "from warehouse.rejected_lines where "
            + _IS_MEANT
            + "group by reason, kind, source order by rejected desc, reason, source",
            asdict(which),
        )
        .fetchall()
    )


def rejected_line(connection: psycopg.Connection, reject_id: int) -> RejectedLine | None:
    """Return one rejected line, None if there is none with this id."""
    return (
        connection.cursor(row_factory=class_row(RejectedLine))
        .execute(
            "select reject_id, batch_seq, kind, source, line_number, reason, detail, "
            "payload, received_at, replayed_at from warehouse.rejected_lines where reject_id = %s",
            (reject_id,),
        )
        .fetchone()
    )


def replay(which: Which = ALL) -> Counts:
    """Validate and land all waiting events again, or some of them.

    Lines that are too large are never replayed: the part that is kept may look like a complete line
    that nobody sent. Raises ReplayError if they are requested, or a reason that does not exist.
    A line that is rejected again becomes a new reject of the same file and line; the old one is
    marked as replayed, not deleted. Entities are not replayed: load their file again.
    """
    _refuse_unreplayable(which)
    with (
        database.connect(autocommit=True, application_name="warehouse rejected replay") as control,
        database.connect(autocommit=True, application_name="warehouse rejected replay") as data,
    ):
        load_id = ledger.start_load(control, ledger.EVENTS, "replay", b"")
        try:
            done = _replay(which, load_id, control, data)
        except BaseException as error:
            with suppress(psycopg.Error):
                ledger.end_load(control, load_id, "abandoned", why(error))
            raise
        ledger.end_load(control, load_id, "finished")
    return done


def preview_replay(which: Which = ALL) -> list[Change]:
    """Return what a replay would change, the largest groups first; nothing is written.

    Raises ReplayError as ``replay`` does.
    """
    _refuse_unreplayable(which)
    found: dict[tuple[str, str], Change] = {}
    with database.connect(
        autocommit=True, application_name="warehouse rejected replay"
    ) as connection:
        erased, dropped = read_erased(connection), dropped_months(connection)
        seen: set[bytes] = set()
        for waiting in _waiting(connection, which):
            reasons = {line.reject_id: line.reason for line in waiting}
            # The salt is in hashes that nobody stores.
            receipt = Receipt(
                datetime.now(UTC), bytes(32), 0, erased,
                settings().earliest_event, settings().country_database,
            )  # fmt: skip
            outcomes = list(outcomes_of_lines(_chunk(waiting, Offset()), receipt))
            valid = [one for _, _, one in outcomes if isinstance(one, Accepted)]
            events = Events.of(valid)
            with connection.transaction():
                landed = landed_and_dropped(connection, events, dropped)
                landed |= landed_before(connection, events)
            landed_keys = {valid[position].key for position in landed}
            for reject_id, _, outcome in outcomes:
                if isinstance(outcome, Rejected):
                    name = outcome.reason.value
                elif isinstance(outcome, Suppressed):
                    name = "suppressed"
                else:
                    is_duplicate = outcome.key in seen or outcome.key in landed_keys
                    name = "duplicate" if is_duplicate else "accepted"
                    seen.add(outcome.key)
                group = reasons[reject_id], name
                lines = found[group].lines if group in found else 0
                found[group] = Change(*group, lines + 1, reject_id)
    return sorted(found.values(), key=lambda change: (-change.lines, change.reason, change.outcome))


def waiting_by_reason(connection: psycopg.Connection) -> dict[str, int]:
    """Return how many rejected lines wait, by reason."""
    return dict(
        connection.execute(
            "select reason, count(*) from staging.rejected_events "
            "where replayed_at is null and expired_at is null group by reason order by reason"
        ).fetchall()
    )


def _refuse_unreplayable(which: Which) -> None:
    if which.reason not in {None, *Reason}:
        raise ReplayError(
            f"No line is rejected for the reason {which.reason!r}. Reasons: {', '.join(Reason)}."
        )
    if which.reason == Reason.TOO_LARGE:
        raise ReplayError(
            f"Lines that are too large can't be replayed: only their first {LONGEST_KEPT_LINE:,} "
            "bytes are kept. Split them at the producer and load them again."
        )


@dataclass(frozen=True, slots=True)
class _Waiting:
    reject_id: int
    origin_batch_seq: int
    line_number: int
    reason: str
    payload: bytes


def _waiting(connection: psycopg.Connection, which: Which) -> Iterator[list[_Waiting]]:
    """Yield the waiting lines, so many at a time, that wait now: none that is rejected again."""
    row = connection.execute("select max(reject_id) from staging.rejected_events").fetchone()
    newest, after = row[0] if row else None, 0
    while (
        waiting := connection.cursor(row_factory=class_row(_Waiting))
        .execute(
            _NEXT_WAITING,
            asdict(which)
            | {
                "after": after,
                "newest": newest,
                "too_large": Reason.TOO_LARGE,
                "most": REPLAYED_AT_ONCE,
                "bytes": REPLAYED_BYTES,
            },
        )
        .fetchall()
    ):
        yield waiting
        after = waiting[-1].reject_id


def _replay(
    which: Which, load_id: int, control: psycopg.Connection, data: psycopg.Connection
) -> Counts:
    done = Counts()
    origins: dict[int, Origin] = {}
    intake = Intake(data, load_id, "replay", origins)
    receipts = Receipts(control)
    offset = Offset()
    for waiting in _waiting(control, which):
        chunk = _chunk(waiting, offset)
        origins.clear()
        origins.update(
            (line.reject_id, Origin(line.origin_batch_seq, line.line_number)) for line in waiting
        )
        receipt = receipts.next(intake.erased)
        validate = partial(validate_chunk, chunk)
        mark = partial(_mark_replayed, reject_ids=list(origins))
        done += intake.land(validate(receipt), receipt, validate, mark)
        offset = chunk.end
    return done


def _chunk(waiting: list[_Waiting], start: Offset) -> Chunk:
    """Return rejected lines as a chunk; their line numbers are their reject ids."""
    content = b"\n".join(line.payload for line in waiting) + b"\n"
    end = Offset(start.chunks + 1, start.bytes + len(content), start.lines + len(waiting))
    lines = [(line.reject_id, line.payload) for line in waiting]
    return Chunk(start, end, lines, content, hashlib.sha256(content).digest())


def _mark_replayed(connection: psycopg.Connection, reject_ids: list[int]) -> None:
    marked = connection.execute(
        "update staging.rejected_events set replayed_at = clock_timestamp() "
        "where reject_id = any(%s) and replayed_at is null",
        (reject_ids,),
    ).rowcount
    if marked != len(reject_ids):
        raise psycopg.OperationalError("another replay took some of these lines; run it again")
