"""Validates each line: it is accepted, suppressed, or rejected with a reason.

Duplicates are found later, by the database. The order of the checks is the contract's: size,
encoding, JSON, consent, validity. Almost every line takes the fast path, in which msgspec validates
it in one step. Any line that is unusual or invalid takes the slow path, which checks step by step
and finds the reason.
"""

from __future__ import annotations

import json
import struct
import uuid
from binascii import a2b_hex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from ingestion.contract.consent import consents, context_consents
from ingestion.contract.envelope import (
    IP_MEMBER,
    EventShape,
    Slices,
    event_shapes,
    event_union,
)
from ingestion.contract.faults import MOST_FAULTS, faults_of_members, member_at
from ingestion.contract.line import (
    EPOCH,
    FIRST_TIMESTAMP,
    LARGEST_LINE,
    Fault,
    Reason,
    RejectError,
    has_common_format,
    is_rfc3339,
    may_hold_unbounded_number,
    needs_slow_path,
    parse_object,
    quoted,
    read_instant,
    read_text,
    refuse_unstorable,
    reject,
    since_epoch,
    truncated,
)
from ingestion.contract.tracking_plan import LARGEST_NUMBER
from ingestion.contract.unknown_members import UnknownNames, unknown_names
from ingestion.privacy.countries import country_lookup
from ingestion.privacy.name_forms import Presence
from ingestion.privacy.suppression import Erased
from ingestion.privacy.visitors import address_of, is_bot, visitor_hash

NAMESPACE = uuid.UUID("6f3c9d1e-2b7a-5c48-9e0d-4a1b8c7d6e5f")
FURTHEST_AHEAD = timedelta(hours=24)
# Default age limit of events; the setting earliest_event is another day. Older times are mistakes
# (a clock's zero, seconds read as milliseconds), and each such month would become a partition.
YEARS_BACK = 10
# Suppressed lines of erased subjects are counted under this name if the plan has no such event.
UNKNOWN_EVENT = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of a chunk: all that the outcomes of its lines depend on beside themselves.

    ``at`` is its time and ``salt`` the salt of that day; ``batch_id`` is written into the rows;
    lines of the subjects in ``erased`` are suppressed. The last two are the settings of these
    names: a worker process gets them from here.
    """

    at: datetime
    salt: bytes
    batch_id: int
    erased: Erased | None = None
    earliest_event: date | None = None
    country_database: Path | None = None


class Sequence(NamedTuple):
    """A sequence number that a line has used."""

    producer: str
    number: int
    day: date


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected line: the reason, and a text on each fault that its producer can act on."""

    reason: Reason
    detail: str
    sequence: Sequence | None = None


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A line without consent, or of an erased subject. Only these members are recorded."""

    event: str
    day: date
    sequence: Sequence | None = None
    is_erased: bool = False


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A valid event: its key, and its row of staging.raw_events in COPY's binary format.

    Without garbage collection (gc=False): it has no references that could form a cycle, and there
    are millions of instances.
    """

    # One byte string that sorts like the database's unique index: client_id, a NUL (client_id
    # contains none), the 16 bytes of event_id and the 8 bytes of timestamp.
    key: bytes
    microseconds: int
    row: bytes
    producer: str | None
    number: int | None
    unknown: UnknownNames | None = None

    @property
    def sequence(self) -> Sequence | None:
        """The sequence number that the event has used."""
        return used_sequence(self.producer, self.number, self.microseconds)


Outcome = Accepted | Suppressed | Rejected

# A row in binary COPY format: the number of columns, then each column after its length (-1 for
# NULL). _fixed packs the fixed-width columns (event_id, timestamp, batch_id, is_bot) and the length
# of client_id.
COPY_COLUMNS = (
    "event_id", "timestamp", "batch_id", "is_bot", "client_id", "event",
    "actor", "context", "properties", "visitor_hash", "country",
)  # fmt: skip
_fixed = struct.Struct("!hi16siqiqi?i")
_length = struct.Struct("!i").pack
_instant = struct.Struct("!q").pack
# The start of a jsonb column before its text: length, version 1.
_jsonb_head = struct.Struct("!ib").pack
_NULL = _length(-1)
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@cache
def _decoders() -> tuple[Callable[[bytes], Any], ...]:
    """Return the decoders of events with known members, of all events, and of parts of envelopes.

    Made once: that takes as long as a thousand lines.
    """
    types = event_union(only_known=True), event_union(), Slices
    return tuple(msgspec.json.Decoder(type_).decode for type_ in types)


@cache
def _shapes_by_type() -> dict[type, EventShape]:
    unions = event_union(only_known=True), event_union()
    shapes = event_shapes()
    return {
        type_: shapes[type_.__struct_config__.tag] for union in unions for type_ in get_args(union)
    }


class Validator:
    """Validates the lines of one chunk.

    ``numbers_are_bounded`` skips the check for unbounded numbers in each line: the caller has
    checked all lines at once, which is faster. ``largest_line`` is the limit of a line in bytes.
    """

    def __init__(
        self,
        receipt: Receipt,
        *,
        numbers_are_bounded: bool = False,
        largest_line: int = LARGEST_LINE,
    ) -> None:
        self._received_at = receipt.at
        self._erased = receipt.erased
        self._numbers_are_bounded = numbers_are_bounded
        self._largest_line = largest_line
        self._earliest = earliest_event(receipt.at, receipt.earliest_event)
        self._first_microseconds = since_epoch(self._earliest)
        self._last_microseconds = since_epoch(receipt.at + FURTHEST_AHEAD)
        self._salt = receipt.salt
        self._batch_id = receipt.batch_id
        # Almost every line has known members only. Another one is decoded twice.
        self._decode_known, self._decode, self._slice = _decoders()
        self._shapes, self._shape_of = event_shapes(), _shapes_by_type()
        # The line before erased subjects are cut out of it: an event without id gets one derived
        # from this.
        self._original_line = b""
        self._visitors: dict[tuple[str, ...], bytes] = {}
        self._country_of = country_lookup(receipt.country_database)
        self._names = {name: _text(name) for name in self._shapes}

    def validate(self, line: bytes) -> Outcome:
        """Validate one line, given without its line end."""
        self._original_line = line
        if self._erased and (presence := self._erased.presence(line)):
            if presence is Presence.NAMED and (suppressed := self._of_erased(line, self._erased)):
                return suppressed
            line = self._erased.cut(line)
        try:
            if not line.isascii():
                line.decode()
            if needs_slow_path(line) or (
                not self._numbers_are_bounded and may_hold_unbounded_number(line)
            ):
                return self._validate_step_by_step(line)
            try:
                event, may_hold_unknown = self._decode_known(line), False
            except msgspec.ValidationError:
                event, may_hold_unknown = self._decode(line), True
            timestamp = event.timestamp
            if not has_common_format(timestamp):
                if not is_rfc3339(timestamp):
                    return self._validate_step_by_step(line)
                timestamp = timestamp.upper()
            microseconds = since_epoch(datetime.fromisoformat(timestamp))
            shape = self._shape_of[type(event)]
            if (
                (shape.consent and not _consents(event.context))
                or (shape.requires_one_of and not _has_one(event, shape.requires_one_of))
                or not self._first_microseconds <= microseconds <= self._last_microseconds
            ):
                return self._validate_step_by_step(line)
            return self._accept(line, event, shape.name, microseconds, may_hold_unknown)
        except (ValueError, RecursionError):
            # msgspec's errors are ValueErrors as well. The slow path finds the reason.
            return self._validate_step_by_step(line)

    def _accept(
        self, line: bytes, event: Any, name: str, microseconds: int, may_hold_unknown: bool
    ) -> Accepted:
        """Return a valid event as its row. Raises NotAUuidError if its event_id is not a UUID."""
        event_id = (
            derived_id(self._original_line)
            if event.event_id is None
            else _uuid_bytes(event.event_id)
        )
        slices = self._slice(line)
        client_id = event.actor.client_id.encode()
        actor, context = slices.actor, event.context
        context_head, raw_context, properties_head, properties = _NULL, b"", _NULL, b""
        bot, visitor, country, producer, number = False, _NULL, _NULL, None, None
        if context is not None:
            raw_context, ip = slices.context, context.ip
            if ip is not msgspec.UNSET:
                raw_context = _without_ip(slices.context)
            context_head = _jsonb_head(len(raw_context) + 1, 1)
            if context.user_agent:
                bot = is_bot(context.user_agent)
                if ip:
                    visitor = self._visitor(event.actor.client_id, ip, context.user_agent)
            if ip and self._country_of and (address := address_of(ip)):
                code = self._country_of(address)
                country = _text(code) if code else _NULL
            producer, number = context.producer, context.sequence
        if event.properties is not None:
            properties = slices.properties
            properties_head = _jsonb_head(len(properties) + 1, 1)
        # Lengths and texts are joined in one step; joined per column they would be copied twice.
        row = b"".join(
            (
                _fixed.pack(
                    len(COPY_COLUMNS), 16, event_id, 8, microseconds, 8, self._batch_id, 1, bot,
                    len(client_id),
                ),
                client_id,
                self._names[name],
                _jsonb_head(len(actor) + 1, 1), actor,
                context_head, raw_context,
                properties_head, properties,
                visitor,
                country,
            )
        )  # fmt: skip
        key = b"%b\0%b%b" % (client_id, event_id, _instant(microseconds))
        unknown = unknown_names(name, slices) if may_hold_unknown else None
        return Accepted(key, microseconds, row, producer, number, unknown)

    def _visitor(self, client_id: str, ip: str, user_agent: str) -> bytes:
        """Return the column visitor_hash. Cached, because a visitor usually sends several lines."""
        who = (client_id, ip, user_agent)
        if (column := self._visitors.get(who)) is None:
            column = _NULL
            if address := address_of(ip):
                column = _length(32) + visitor_hash(self._salt, client_id, address, user_agent)
            self._visitors[who] = column
        return column

    def _of_erased(self, line: bytes, erased: Erased) -> Suppressed | None:
        """Return a line that names an erased subject as suppressed; None if it is not an object."""
        try:
            content = None if needs_slow_path(line) else _decode_any(line)
        except (ValueError, RecursionError):
            content = None
        if content is None:
            # msgspec rejects some numbers that the contract accepts.
            try:
                content = parse_object(read_text(line, self._largest_line))
            except RejectError:
                return None
        if not isinstance(content, dict):
            return None
        name = content.get("event")
        sequence = self._sequence(content)
        return Suppressed(
            name if isinstance(name, str) and name in self._shapes else UNKNOWN_EVENT,
            self._day(content),
            None if sequence and erased.holds(sequence.producer) else sequence,
            True,
        )

    def _validate_step_by_step(self, line: bytes) -> Outcome:
        """Validate step by step, in the contract's order (the slow path)."""
        content: Any = None
        try:
            text = read_text(line, self._largest_line)
            content = parse_object(text)
            name = content.get("event")
            shape = self._shapes.get(name) if isinstance(name, str) else None
            if shape and shape.consent and not context_consents(content.get("context")):
                return Suppressed(shape.name, self._day(content), self._sequence(content))
            if faults := list(self._faults(text, content, shape)):
                return Rejected(faults[0].reason, _all(faults), self._sequence(content))
            if shape is None:
                raise AssertionError("an event outside the plan was validated")
            event = msgspec.convert(content, event_union())
            microseconds = read_instant(event.timestamp)
            return self._accept(line, event, shape.name, microseconds, may_hold_unknown=True)
        except RejectError as error:
            return Rejected(error.fault.reason, error.fault.detail, self._sequence(content))

    def _faults(
        self, text: str, content: dict[str, Any], shape: EventShape | None
    ) -> Iterator[Fault]:
        """Yield all that is wrong with a JSON object, in the contract's order."""
        yield from _fault(refuse_unstorable, text, lambda path: _is_planned_number(content, path))
        yield from faults_of_members(content)
        has_actor = isinstance(content.get("actor"), dict)
        one_of = shape.requires_one_of if shape and has_actor else ()
        if shape and one_of and not _has_one(content, one_of):
            paths = ", ".join(f"$.{path}" for path in one_of)
            yield Fault(Reason.MISSING_FIELD, f"one of {paths} is required for {shape.name}")
        if isinstance(timestamp := content.get("timestamp"), str):
            yield from _fault(self._refuse_out_of_range, timestamp)
        if isinstance(event_id := content.get("event_id"), str):
            yield from _fault(_refuse_other_than_uuid, event_id)

    def _refuse_out_of_range(self, timestamp: str) -> None:
        microseconds = read_instant(timestamp)
        if not self._first_microseconds <= microseconds <= self._last_microseconds:
            reject(
                Reason.TIMESTAMP_OUT_OF_RANGE,
                f"$.timestamp: expected a time from {self._earliest:%Y-%m-%d} to 24 h after "
                f"receipt ({self._received_at:%Y-%m-%dT%H:%M:%SZ}), got {truncated(timestamp)}",
            )

    def _day(self, content: dict[str, Any]) -> date:
        """Return the UTC day of the timestamp, or of receipt if the timestamp can't be read."""
        timestamp = content.get("timestamp")
        try:
            if isinstance(timestamp, str):
                return (EPOCH + timedelta(microseconds=read_instant(timestamp))).date()
        except (RejectError, OverflowError):
            pass
        return self._received_at.date()

    def _sequence(self, content: Any) -> Sequence | None:
        """Return the sequence number of a rejected or suppressed line, if it has a valid one."""
        context = content.get("context") if isinstance(content, dict) else None
        if not isinstance(context, dict):
            return None
        producer, number = context.get("producer"), context.get("sequence")
        fits = isinstance(producer, str) and "\0" not in producer and type(number) is int
        if not fits or not 0 <= number <= LARGEST_NUMBER:
            return None
        return Sequence(producer, number, self._day(content))


def ids_in_row(rows: bytes, start: int = 0) -> tuple[bytes, bytes]:
    """Return the client_id in UTF-8 and the 16 bytes of event_id of the row at ``start``."""
    _, _, event_id, *_, length = _fixed.unpack_from(rows, start)
    start += _fixed.size
    return rows[start : start + length], event_id


def used_sequence(producer: str | None, number: int | None, microseconds: int) -> Sequence | None:
    """Return the sequence number that an event has used, if it has one."""
    if producer is None or number is None:
        return None
    return Sequence(producer, number, (EPOCH + timedelta(microseconds=microseconds)).date())


def earliest_event(received_at: datetime, day: date | None = None) -> datetime:
    """Return the start of the earliest day (UTC) of accepted events: ``day``, if it is set."""
    if day is None:
        received_on = received_at.astimezone(UTC).date()
        # Ten years before 29 February is 28 February.
        last = 28 if received_on.month == 2 else received_on.day
        day = received_on.replace(
            year=received_on.year - YEARS_BACK, day=min(received_on.day, last)
        )
    return max(datetime.combine(day, time(), UTC), FIRST_TIMESTAMP)


def _consents(context: Any) -> bool:
    if context is None:
        return True
    consent = context.consent
    analytics = None if consent is None else consent.analytics
    return consents(context.dnt, consent, analytics, context.source)


def _has_one(event: Any, paths: tuple[str, ...]) -> bool:
    """Return whether an event, parsed or of its type, has one of some members of its actor."""
    for path in paths:
        value: Any = event
        for name in path.split("."):
            is_parsed = isinstance(value, dict)
            value = value.get(name) if is_parsed else getattr(value, name, None)
        if value:
            return True
    return False


class NotAUuidError(ValueError):
    """A string is not a UUID of 8-4-4-4-12 hexadecimal digits."""


def _uuid_bytes(text: str) -> bytes:
    """Return a UUID's 16 bytes. Raises NotAUuidError. Twice as fast as a regular expression."""
    try:
        # With hyphens in place of digits, there are too few bytes; this is checked below.
        found = a2b_hex(text.replace("-", ""))
    except ValueError as error:
        raise NotAUuidError from error
    if len(text) != 36 or text[8:24:5] != "----" or len(found) != 16:
        raise NotAUuidError
    return found


def _text(value: str) -> bytes:
    """Return a text column in binary COPY format: length, text."""
    content = value.encode()
    return _length(len(content)) + content


def _without_ip(context: Any) -> bytes:
    """Return the context's bytes without ``ip``, everything else as received."""
    members = _decode_members(context)
    del members[IP_MEMBER]
    return _encode(members)


def derived_id(line: bytes) -> bytes:
    """Return the UUIDv5 of the event's canonical JSON without ``context.ip``, as 16 bytes.

    Raises ValueError, RecursionError or AttributeError if the line is no JSON object.
    """
    content = json.loads(line)
    if isinstance(content.get("context"), dict):
        content["context"].pop(IP_MEMBER, None)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return uuid.uuid5(NAMESPACE, canonical).bytes


def _is_planned_number(content: dict[str, Any], path: str) -> bool:
    # An item of a list, or a name with a bracket, is never a number of the plan.
    member = None if "[" in path else member_at(content, path)
    return member is not None and member.type in ("integer", "number")


def _fault(refuse: Callable[..., None], *arguments: Any) -> Iterator[Fault]:
    """Yield the fault for which something is refused, if it is."""
    try:
        refuse(*arguments)
    except RejectError as error:
        yield error.fault


def _refuse_other_than_uuid(event_id: str) -> None:
    try:
        _uuid_bytes(event_id)
    except NotAUuidError:
        reject(
            Reason.INVALID_FIELD,
            f"$.event_id: expected a UUID (8-4-4-4-12 hexadecimal digits), got {quoted(event_id)}",
        )


def _all(faults: list[Fault]) -> str:
    """Return the details of all faults in one text, the first that gives the reason first."""
    # A string with NUL, say, is found twice: as such, and where the member has a list of values.
    details = list(dict.fromkeys(fault.detail for fault in faults))
    if more := len(details) - MOST_FAULTS:
        details[MOST_FAULTS:] = ["more faults are not listed"] if more > 0 else []
    return "; ".join(details)
