"""What the event contract says happens to each line of an NDJSON file.

Written to be checked against the contract by reading, not to be fast, and independent of the
product: it imports nothing from it. Erasure is the one part of the contract that is left out:
no subject counts as erased here.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, TypedDict

MAX_LINE_BYTES = 262_144
MAX_DEPTH = 64
# Of a number outside the plan, as it is written.
MAX_DIGITS = 40
MAX_EXPONENT = 308
# Of one of the plan (docs/decisions.md), which is bounded by its value: what jsonb surely holds.
MAX_PLANNED_DIGITS = 4_000
MAX_PLANNED_EXPONENT = 4_000
MAX_CLIENT_ID_LENGTH = 128
# In characters: what is a key somewhere must fit a database's index (docs/decisions.md).
MAX_ID_LENGTH = 512
MAX_KIND_LENGTH = 128
KEY_LENGTHS = {
    "chat": {"message_id": MAX_ID_LENGTH, "document_id": MAX_ID_LENGTH},
    "chat_feedback": {"message_id": MAX_ID_LENGTH},
    "pdf_download": {"document_id": MAX_ID_LENGTH},
    "lead_created": {"source": MAX_ID_LENGTH},
    "subscription_started": {"subscription_id": MAX_ID_LENGTH, "plan": MAX_KIND_LENGTH},
    "subscription_changed": {"subscription_id": MAX_ID_LENGTH, "plan": MAX_KIND_LENGTH},
    "subscription_cancelled": {"subscription_id": MAX_ID_LENGTH},
    "builder_action": {"action": MAX_KIND_LENGTH},
    "revenue": {"plan_type": MAX_KIND_LENGTH},
    "credit_used": {"feature_name": MAX_KIND_LENGTH},
    "system_metric": {"metric_type": MAX_KIND_LENGTH, "server_id": MAX_KIND_LENGTH},
}
# In characters (docs/decisions.md).
MAX_UNKNOWN_NAME = 100
LARGEST_NUMBER = 10**15
YEARS_BEFORE_RECEIPT = 10
LATEST_AFTER_RECEIPT = timedelta(hours=24)
DERIVED_ID_NAMESPACE = uuid.UUID("6f3c9d1e-2b7a-5c48-9e0d-4a1b8c7d6e5f")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

TOO_LARGE = "too_large"
INVALID_ENCODING = "invalid_encoding"
INVALID_JSON = "invalid_json"
NOT_AN_OBJECT = "not_an_object"
UNKNOWN_FIELD = "unknown_field"
MISSING_FIELD = "missing_field"
UNKNOWN_EVENT = "unknown_event"
INVALID_FIELD = "invalid_field"
TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"

Key = tuple[str, str, datetime]
UsedSequence = tuple[str, int, date]


ENVELOPE = frozenset({"event_id", "event", "timestamp", "actor", "context", "properties"})
OPTIONAL_ACTOR_STRINGS = ("user_id", "anonymous_id", "lead_id", "unit_id", "development_id")
CONTEXT_STRINGS = ("session_id", "ip", "user_agent", "source", "producer")
PAGE_STRINGS = ("url", "path", "title", "referrer")
CAMPAIGN_STRINGS = ("source", "medium", "name", "term", "content")
BROWSER_SOURCES = frozenset({"web", "marketing_site"})
DO_NOT_TRACK_WORDS = ("1", "true", "yes", "on")
DENIAL_WORDS = ("0", "false", "no", "off", "denied")


class PropertyRule(TypedDict):
    """`whole` is a number without fraction; `minimum` and `maximum` belong to numbers."""

    type: Literal["string", "whole", "number", "boolean", "strings"]
    minimum: int | None
    maximum: int | None
    enum: tuple[str, ...] | None


class EventRule(TypedDict):
    """All of `actor_all` must be present, and at least one of `actor_any` if it names any."""

    consent: bool
    required: dict[str, PropertyRule]
    optional: dict[str, PropertyRule]
    actor_all: tuple[str, ...]
    actor_any: tuple[str, ...]
    needs_page_path: bool


def _property(
    kind: Literal["string", "whole", "number", "boolean", "strings"],
    minimum: int | None = None,
    maximum: int | None = None,
    enum: tuple[str, ...] | None = None,
) -> PropertyRule:
    return {"type": kind, "minimum": minimum, "maximum": maximum, "enum": enum}


def _event(
    *,
    consent: bool = False,
    required: dict[str, PropertyRule] | None = None,
    optional: dict[str, PropertyRule] | None = None,
    actor_all: tuple[str, ...] = (),
    actor_any: tuple[str, ...] = (),
    needs_page_path: bool = False,
) -> EventRule:
    return {
        "consent": consent,
        "required": required or {},
        "optional": optional or {},
        "actor_all": actor_all,
        "actor_any": actor_any,
        "needs_page_path": needs_page_path,
    }


def _one_of(*names: str) -> PropertyRule:
    return _property("string", enum=names)


_STRING = _property("string")
_STRINGS = _property("strings")
_BOOLEAN = _property("boolean")
_NUMBER = _property("number")
_NUMBER_FROM_0 = _property("number", minimum=0)
_WHOLE = _property("whole")
_WHOLE_FROM_0 = _property("whole", minimum=0)
_RATING = _property("whole", minimum=1, maximum=5)
_LEAD = ("lead_id",)
_USER = ("user_id",)

PLAN: dict[str, EventRule] = {
    "session": _event(consent=True, actor_any=("unit_id", "user_id", "anonymous_id")),
    "page_view": _event(consent=True, needs_page_path=True),
    "pdf_download": _event(consent=True, optional={"document_id": _STRING}),
    "contact_submitted": _event(consent=True, optional={"form": _STRING}),
    "signup": _event(optional={"plan": _STRING}),
    "builder_action": _event(consent=True, required={"action": _STRING}),
    "chat": _event(
        optional={
            "conversation_id": _STRING,
            "message_id": _STRING,
            "document_id": _STRING,
            "model_name": _STRING,
            "model_version": _STRING,
            "model_provider": _STRING,
            "tokens_prompt": _WHOLE_FROM_0,
            "tokens_completion": _WHOLE_FROM_0,
            "tokens_cached": _WHOLE_FROM_0,
            "cost_prompt": _NUMBER_FROM_0,
            "cost_completion": _NUMBER_FROM_0,
            "cost_cached": _NUMBER_FROM_0,
            "response_time_ms": _NUMBER_FROM_0,
            "cache_hit": _BOOLEAN,
            "user_query_length": _WHOLE,
            "ai_response_length": _WHOLE,
            "error_occurred": _BOOLEAN,
            "error_code": _STRING,
            "error_message": _STRING,
            "query_intent": _one_of("simple_lookup", "regulatory", "comparative", "complex"),
            "sections_referenced": _STRINGS,
            "intermediate_steps": _WHOLE_FROM_0,
        },
    ),
    "chat_feedback": _event(
        required={"message_id": _STRING, "rating": _RATING},
        optional={"text": _STRING},
    ),
    # The plan lists sources of a lead and then allows any other string.
    "lead_created": _event(
        optional={"source": _STRING, "campaign": _STRING},
        actor_all=_LEAD,
    ),
    "lead_stage_changed": _event(
        required={"stage": _one_of("new", "qualifying", "nurturing", "hot", "booked", "lost")},
        actor_all=_LEAD,
    ),
    "message": _event(
        required={
            "direction": _one_of("inbound", "outbound"),
            "sender_type": _one_of("lead", "ai", "human"),
        },
        optional={"conversation_id": _STRING, "message_id": _STRING},
        actor_all=_LEAD,
    ),
    "escalation_opened": _event(optional={"reason": _STRING}, actor_all=_LEAD),
    "first_response": _event(
        optional={"response_time_seconds": _NUMBER_FROM_0},
        actor_all=_LEAD,
    ),
    "qualified": _event(actor_all=_LEAD),
    "quote_requested": _event(actor_all=_LEAD),
    "quote_accepted": _event(actor_all=_LEAD),
    "quote_sent": _event(optional={"value_cents": _WHOLE_FROM_0}, actor_all=_LEAD),
    "appointment_booked": _event(optional={"appointment_at": _STRING}, actor_all=_LEAD),
    "job_won": _event(required={"value_cents": _WHOLE_FROM_0}, actor_all=_LEAD),
    "job_lost": _event(optional={"reason": _STRING}, actor_all=_LEAD),
    "invoice_sent": _event(
        required={"value_cents": _WHOLE_FROM_0},
        optional={"invoice_id": _STRING},
        actor_all=_LEAD,
    ),
    "payment_received": _event(
        required={"value_cents": _WHOLE_FROM_0},
        optional={"invoice_id": _STRING},
        actor_all=_LEAD,
    ),
    "review_requested": _event(actor_all=_LEAD),
    "review_received": _event(
        required={"rating": _RATING},
        optional={"platform": _STRING},
        actor_all=_LEAD,
    ),
    "subscription_started": _event(
        required={"subscription_id": _STRING, "plan": _STRING, "mrr_cents": _WHOLE_FROM_0},
    ),
    "subscription_changed": _event(
        required={"subscription_id": _STRING, "plan": _STRING, "mrr_cents": _WHOLE_FROM_0},
    ),
    "subscription_cancelled": _event(required={"subscription_id": _STRING}),
    "api_cost": _event(required={"cost_cents": _WHOLE_FROM_0, "service": _STRING}),
    "revenue": _event(
        required={
            "type": _one_of("subscription", "upgrade", "purchase", "refund"),
            "amount_usd": _NUMBER_FROM_0,
        },
        optional={"plan_type": _STRING, "payment_provider": _STRING, "payment_id": _STRING},
        actor_all=_USER,
    ),
    "credit_used": _event(
        required={"feature_name": _STRING, "credits_used": _NUMBER_FROM_0},
        optional={"cost_usd": _NUMBER_FROM_0},
        actor_all=_USER,
    ),
    "api_request": _event(
        required={
            "endpoint": _STRING,
            "method": _STRING,
            "response_time_ms": _NUMBER_FROM_0,
            "status_code": _property("whole", minimum=100, maximum=599),
        },
        optional={"error_message": _STRING},
    ),
    "system_metric": _event(
        required={"metric_type": _STRING, "metric_value": _NUMBER, "server_id": _STRING},
    ),
    "analytics.dashboard_view": _event(
        consent=True,
        optional={"view": _STRING, "filter": _STRING, "format": _STRING},
    ),
    "analytics.filter_change": _event(
        consent=True,
        optional={"view": _STRING, "filter": _STRING, "format": _STRING},
    ),
    "analytics.export": _event(
        consent=True,
        optional={"view": _STRING, "filter": _STRING, "format": _STRING},
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What happens to one line.

    `reasons` holds, for a rejected line, every reason that the contract allows to be given for
    it, and is empty otherwise. `event` is the line's event name wherever it is a string, known
    or not. `key` (client_id, event_id in lower case, timestamp in UTC cut to microseconds) is
    set for accepted and duplicate lines. `day` is what a suppressed line is counted under.
    `sequence` (producer, number, day) is what the line has used, where it says so.
    """

    kind: Literal["accepted", "duplicate", "suppressed", "rejected"]
    reasons: frozenset[str] = frozenset()
    event: str | None = None
    key: Key | None = None
    day: date | None = None
    sequence: UsedSequence | None = None


def validate_file(
    content: bytes, received_at: datetime, seen: set[Key] | None = None
) -> list[tuple[int, bytes, Outcome]]:
    """Validate each line of a file: (line number from 1, payload, outcome).

    Lines of white space only are counted in the numbers but left out of the list.
    """
    seen = set() if seen is None else seen
    if re.fullmatch(rb"\s*\[\s*\]\s*", content.removeprefix(BYTE_ORDER_MARK)):
        # A JSON array of events, without any.
        return []
    outcomes = []
    # A carriage return ends a line only together with the newline behind it.
    pieces = content.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    for number, piece in enumerate(pieces, start=1):
        has_newline = number < len(pieces)
        payload = piece.removesuffix(b"\r") if has_newline else piece
        if payload.strip() == b"":
            continue
        outcomes.append((number, payload, validate(payload, received_at, seen)))
    return outcomes


def validate(payload: bytes, received_at: datetime, seen: set[Key]) -> Outcome:
    """Validate one line, given without line end and byte-order mark; accepting adds to `seen`.

    The order is the contract's: size, encoding, JSON, consent, validity, duplicate.
    """
    if len(payload) > MAX_LINE_BYTES:
        return _rejected({TOO_LARGE})
    try:
        text = payload.decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        return _rejected({INVALID_ENCODING})
    try:
        line = read_json(text)
    except NotJsonError:
        return _rejected({INVALID_JSON})
    if not isinstance(line, dict):
        return _rejected({NOT_AN_OBJECT})

    name = line.get("event")
    event = name if isinstance(name, str) else None
    sequence = used_sequence(line, received_at)
    if lacks_consent(line):
        day = day_of(line, received_at)
        return Outcome("suppressed", event=event, day=day, sequence=sequence)
    found = defects(line, received_at) | text_defects(text, event)
    if found:
        return _rejected(found, event, sequence)

    key = (line["actor"]["client_id"], event_id_of(line), instant(line["timestamp"]))
    if key in seen:
        return Outcome("duplicate", event=event, key=key, sequence=sequence)
    seen.add(key)
    return Outcome("accepted", event=event, key=key, sequence=sequence)


def _rejected(
    reasons: Collection[str], event: str | None = None, sequence: UsedSequence | None = None
) -> Outcome:
    return Outcome("rejected", reasons=frozenset(reasons), event=event, sequence=sequence)


def unknown_members(line: dict[str, Any]) -> list[str]:
    """The paths of the members of an accepted event that the contract does not name.

    Those with longer names than MAX_UNKNOWN_NAME are counted together as `other`.
    """
    rule = PLAN[line["event"]]
    known: dict[str, Collection[str]] = {
        "actor": ("client_id", *OPTIONAL_ACTOR_STRINGS),
        "context": (*CONTEXT_STRINGS, "page", "campaign", "consent", "dnt", "sequence"),
        "context.page": PAGE_STRINGS,
        "context.campaign": CAMPAIGN_STRINGS,
        "context.consent": ("analytics",),
        "properties": rule["required"] | rule["optional"],
    }
    found = []
    for path, names in known.items():
        whole: Any = line
        for step in path.split("."):
            whole = (whole or {}).get(step)
        found += [(path, name) for name in whole or () if name not in names]
    kept = [f"{path}.{name}" for path, name in found if len(name) <= MAX_UNKNOWN_NAME]
    return kept if len(kept) == len(found) else [*kept, "other"]


def used_sequence(line: dict[str, Any], received_at: datetime) -> UsedSequence | None:
    """The sequence number that this object has used, whatever else is wrong with it."""
    context = line.get("context")
    if not isinstance(context, dict):
        return None
    producer, number = context.get("producer"), context.get("sequence")
    # No table can hold a NUL.
    if not isinstance(producer, str) or "\x00" in producer or not fits(number, _WHOLE_FROM_0):
        return None
    return producer, int(number), day_of(line, received_at)


def day_of(line: dict[str, Any], received_at: datetime) -> date:
    """The day of the timestamp in UTC, or of receipt where it cannot be read."""
    timestamp = line.get("timestamp")
    try:
        return instant(timestamp).date() if isinstance(timestamp, str) else received_at.date()
    except (NotATimestampError, UnrepresentableError):
        return received_at.date()


class NotJsonError(Exception):
    """The text is not what the contract takes as JSON."""


class _Members(list[tuple[str, Any]]):
    """An object with all of its members, those included that a later namesake replaces."""


def read_json(text: str) -> Any:
    """Read a JSON text; of members with the same name the last wins.

    Raises NotJsonError also for NaN and Infinity, lone surrogates (in names as well) and nesting
    deeper than 64. The text counts as a whole: a member that a later one replaces is looked at too.
    A number that is refused however it is used is read as infinity.
    """
    try:
        raw = json.loads(
            text,
            object_pairs_hook=_Members,
            parse_int=_read_number(int),
            parse_float=_read_number(_Fraction),
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise NotJsonError(str(error)) from error
    return _plain(raw, depth=0)


class _Fraction(float):
    """A number with a point or an exponent; `exact` is what is written, which a float may miss."""

    exact: Decimal

    def __new__(cls, literal: str) -> _Fraction:
        number = super().__new__(cls, literal)
        number.exact = Decimal(literal)
        return number


def exactly(number: float) -> Decimal:
    """A number as it is written, where that is known."""
    return number.exact if isinstance(number, _Fraction) else Decimal(number)


def _read_number(read: Callable[[str], float]) -> Callable[[str], float]:
    def number(literal: str) -> float:
        return read(literal) if is_taken(literal, is_planned=True) else float("inf")

    return number


def is_taken(literal: str, *, is_planned: bool) -> bool:
    """Whether a number may be written like this, in the plan or outside it."""
    mantissa, _, exponent = literal.lower().partition("e")
    digits = re.findall("[0-9]", mantissa)
    # Not an int: that reads no more than 4,300 digits.
    size = abs(Decimal(exponent or "0"))
    if is_planned:
        return len(digits) <= MAX_PLANNED_DIGITS and size <= MAX_PLANNED_EXPONENT
    return len(digits) <= MAX_DIGITS and size <= MAX_EXPONENT


class _Literal:
    """A number as it is written."""

    def __init__(self, literal: str) -> None:
        self.literal = literal


def text_defects(text: str, event: str | None) -> set[str]:
    """What is wrong with any string or number of the text, replaced members included."""
    whole = json.loads(text, object_pairs_hook=_Members, parse_int=_Literal, parse_float=_Literal)
    is_valid = all(
        "\x00" not in found
        if isinstance(found, str)
        else is_taken(found.literal, is_planned=is_number_of_the_plan(path, event))
        for path, found in _leaves(whole, ())
    )
    return set() if is_valid else {INVALID_FIELD}


def is_number_of_the_plan(path: tuple[str, ...], event: str | None) -> bool:
    """Whether the plan has a number for this event at this place."""
    if path == ("context", "sequence"):
        return True
    rule = PLAN.get(event or "")
    if rule is None or len(path) != 2 or path[0] != "properties":
        return False
    planned = (rule["required"] | rule["optional"]).get(path[1])
    return planned is not None and planned["type"] in ("whole", "number")


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every string, name and number with the names that lead to it; a list counts as a name."""
    if isinstance(value, str | _Literal):
        yield path, value
    elif isinstance(value, _Members):
        for name, member in value:
            yield path, name
            yield from _leaves(member, (*path, name))
    elif isinstance(value, list):
        for element in value:
            yield from _leaves(element, (*path, "[]"))


def _refuse_constant(literal: str) -> None:
    raise NotJsonError(f"{literal} is not JSON")


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        _refuse_lone_surrogates(value)
        return value
    # _Members is a list as well: objects and arrays both count as a level.
    if isinstance(value, list) and depth == MAX_DEPTH:
        raise NotJsonError("nested too deep")
    if isinstance(value, _Members):
        members = {}
        for name, member in value:
            _refuse_lone_surrogates(name)
            members[name] = _plain(member, depth + 1)
        return members
    if isinstance(value, list):
        return [_plain(element, depth + 1) for element in value]
    return value


def _refuse_lone_surrogates(text: str) -> None:
    # Escaped pairs have become one character by now, so what is left stands alone.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NotJsonError("a lone surrogate")


def lacks_consent(line: dict[str, Any]) -> bool:
    """Whether the line is an event that needs consent and has none.

    Looks only at the members that decide, whatever else is wrong with the line.
    """
    event = line.get("event")
    if not isinstance(event, str) or event not in PLAN or not PLAN[event]["consent"]:
        return False
    context = line.get("context")
    if not isinstance(context, dict):
        return False
    consent = context.get("consent")
    analytics = consent.get("analytics") if isinstance(consent, dict) else None
    if _is_said(context.get("dnt"), DO_NOT_TRACK_WORDS):
        return True
    if _is_said(consent, DENIAL_WORDS) or _is_said(analytics, DENIAL_WORDS):
        return True
    source = context.get("source")
    from_browser = isinstance(source, str) and source.strip().lower() in BROWSER_SOURCES
    return from_browser and analytics is not True


def _is_said(value: Any, words: Collection[str]) -> bool:
    """Whether a value of any type is one of these words, the booleans and 1 or 0 among them."""
    if isinstance(value, str):
        return value.strip().lower() in words
    if isinstance(value, bool):
        return str(value).lower() in words
    if isinstance(value, int | float):
        return exactly(value) in [int(word) for word in words if word.isdigit()]
    return False


def defects(line: dict[str, Any], received_at: datetime) -> set[str]:
    """Every reason for which the contract lets this object be refused; none if it is valid."""
    found: set[str] = set()
    if any(name not in ENVELOPE for name in line):
        found.add(UNKNOWN_FIELD)

    event_id = line.get("event_id")
    if event_id is not None and not is_uuid(event_id):
        found.add(INVALID_FIELD)

    found |= _timestamp_defects(line.get("timestamp"), received_at)

    actor = _object(line, "actor", found)
    context = _object(line, "context", found)
    properties = _object(line, "properties", found)
    if line.get("actor") is None:
        found.add(MISSING_FIELD)
    found |= _actor_defects(actor)
    found |= _context_defects(context)

    event = line.get("event")
    if event is None:
        found.add(MISSING_FIELD)
    elif not isinstance(event, str):
        # Both say what is true: the type is wrong, and nothing of the sort is in the plan.
        found |= {INVALID_FIELD, UNKNOWN_EVENT}
    elif event not in PLAN:
        found.add(UNKNOWN_EVENT)
    else:
        found |= _plan_defects(PLAN[event], actor, context, properties)
        found |= _length_defects(properties, KEY_LENGTHS.get(event, {}))
    return found


def is_uuid(value: Any) -> bool:
    """Whether this is a UUID as 8-4-4-4-12 hexadecimal digits of any case."""
    hexadecimal = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    return isinstance(value, str) and re.fullmatch(hexadecimal, value) is not None


def _object(parent: dict[str, Any], name: str, found: set[str]) -> dict[str, Any]:
    """The object under this name less its null members; empty if it is absent or no object."""
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        found.add(INVALID_FIELD)
        return {}
    return {member: content for member, content in value.items() if content is not None}


def _string_defects(members: dict[str, Any], names: Collection[str]) -> set[str]:
    wrong = [name for name in names if name in members and not isinstance(members[name], str)]
    return {INVALID_FIELD} if wrong else set()


def _length_defects(members: dict[str, Any], lengths: dict[str, int]) -> set[str]:
    too_long = [
        name
        for name, length in lengths.items()
        if isinstance(members.get(name), str) and len(members[name]) > length
    ]
    return {INVALID_FIELD} if too_long else set()


def _actor_defects(actor: dict[str, Any]) -> set[str]:
    found = _string_defects(actor, ("client_id", *OPTIONAL_ACTOR_STRINGS))
    found |= _length_defects(actor, dict.fromkeys(OPTIONAL_ACTOR_STRINGS, MAX_ID_LENGTH))
    client_id = actor.get("client_id")
    if client_id is None:
        found.add(MISSING_FIELD)
    elif client_id == "":
        # An empty string in the actor is absent, and it is also shorter than a client_id may be.
        found |= {MISSING_FIELD, INVALID_FIELD}
    elif isinstance(client_id, str) and len(client_id) > MAX_CLIENT_ID_LENGTH:
        found.add(INVALID_FIELD)
    return found


def _context_defects(context: dict[str, Any]) -> set[str]:
    found = _string_defects(context, CONTEXT_STRINGS)
    found |= _length_defects(context, {"session_id": MAX_ID_LENGTH, "producer": MAX_ID_LENGTH})
    found |= _string_defects(_object(context, "page", found), PAGE_STRINGS)
    found |= _string_defects(_object(context, "campaign", found), CAMPAIGN_STRINGS)
    consent = _object(context, "consent", found)
    if "analytics" in consent and not isinstance(consent["analytics"], bool):
        found.add(INVALID_FIELD)
    if "dnt" in context and not isinstance(context["dnt"], bool):
        found.add(INVALID_FIELD)
    if "sequence" in context and not fits(context["sequence"], _WHOLE_FROM_0):
        found.add(INVALID_FIELD)
    return found


def _plan_defects(
    rule: EventRule,
    actor: dict[str, Any],
    context: dict[str, Any],
    properties: dict[str, Any],
) -> set[str]:
    found: set[str] = set()
    given = [name for name, value in actor.items() if value != ""]
    if any(name not in given for name in rule["actor_all"]):
        found.add(MISSING_FIELD)
    if rule["actor_any"] and not any(name in given for name in rule["actor_any"]):
        found.add(MISSING_FIELD)
    if rule["needs_page_path"] and "path" not in _object(context, "page", found):
        found.add(MISSING_FIELD)
    if any(name not in properties for name in rule["required"]):
        found.add(MISSING_FIELD)
    for name, property_rule in (rule["required"] | rule["optional"]).items():
        if name in properties and not fits(properties[name], property_rule):
            found.add(INVALID_FIELD)
    return found


def fits(value: Any, rule: PropertyRule) -> bool:
    """Whether a value that is present has the type, range and enumeration of its rule."""
    kind = rule["type"]
    if kind == "string":
        return isinstance(value, str) and (rule["enum"] is None or value in rule["enum"])
    if kind == "strings":
        return isinstance(value, list) and all(isinstance(element, str) for element in value)
    if kind == "boolean":
        return isinstance(value, bool)

    # Python's booleans are integers, JSON's are not numbers.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    number = exactly(value)
    # copy_abs, as abs() would round.
    if number.copy_abs() > LARGEST_NUMBER:
        return False
    if kind == "whole" and number != int(number):
        return False
    if rule["minimum"] is not None and number < rule["minimum"]:
        return False
    return rule["maximum"] is None or number <= rule["maximum"]


class NotATimestampError(Exception):
    """The text is no RFC 3339 timestamp with offset, or has a leap second."""


class UnrepresentableError(Exception):
    """A correct timestamp whose moment in UTC lies outside the years 1 to 9999."""


_RFC_3339 = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"[Tt ]"
    r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<offset_hours>[0-9]{2}):(?P<offset_minutes>[0-9]{2}))"
)


def instant(text: str) -> datetime:
    """The moment in UTC, finer digits than microseconds cut off.

    Raises NotATimestampError and UnrepresentableError.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise NotATimestampError(text)
    part = match.groupdict(default="0")
    offset_hours, offset_minutes = int(part["offset_hours"]), int(part["offset_minutes"])
    if offset_hours > 23 or offset_minutes > 59:
        raise NotATimestampError(text)
    # The year 0000 has the same days as 2000, which can stand in for it to check the day.
    year = int(part["year"]) or 2000
    microseconds = int(part["fraction"][:6].ljust(6, "0"))
    try:
        # Refuses :60 as well.
        local = datetime(
            year,
            int(part["month"]),
            int(part["day"]),
            int(part["hour"]),
            int(part["minute"]),
            int(part["second"]),
            microseconds,
            tzinfo=UTC,
        )
    except ValueError as error:
        raise NotATimestampError(text) from error
    if part["year"] == "0000":
        raise UnrepresentableError(text)
    offset = timedelta(hours=offset_hours, minutes=offset_minutes)
    try:
        return local + offset if part["sign"] == "-" else local - offset
    except OverflowError as error:
        raise UnrepresentableError(text) from error


def _timestamp_defects(timestamp: Any, received_at: datetime) -> set[str]:
    if timestamp is None:
        return {MISSING_FIELD}
    if not isinstance(timestamp, str):
        return {INVALID_FIELD}
    try:
        moment = instant(timestamp)
    except NotATimestampError:
        return {INVALID_FIELD}
    except UnrepresentableError:
        return {TIMESTAMP_OUT_OF_RANGE}
    if moment.date() < earliest_day(received_at) or moment > received_at + LATEST_AFTER_RECEIPT:
        return {TIMESTAMP_OUT_OF_RANGE}
    return set()


def earliest_day(received_at: datetime) -> date:
    """The first day of which events are taken where no setting says otherwise."""
    day = received_at.astimezone(UTC).date()
    if (day.month, day.day) == (2, 29):
        day -= timedelta(days=1)
    return max(day.replace(year=day.year - YEARS_BEFORE_RECEIPT), date(2000, 1, 1))


def event_id_of(line: dict[str, Any]) -> str:
    """The event id of a valid line in lower case, derived where the line brings none."""
    event_id = line.get("event_id")
    if event_id is not None:
        return event_id.lower()
    return str(uuid.uuid5(DERIVED_ID_NAMESPACE, canonical_json(_without_ip(line))))


def canonical_json(value: Any) -> str:
    """The one text of a JSON value that the contract derives identities from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _without_ip(line: dict[str, Any]) -> dict[str, Any]:
    context = line.get("context")
    if not isinstance(context, dict):
        return line
    kept = {name: member for name, member in context.items() if name != "ip"}
    return {**line, "context": kept}
