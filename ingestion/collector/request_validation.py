"""Stamps the events of a request, validates them, and says the outcome of each.

The same validator validates a line when it lands, with the same time of receipt, so what was
answered is what happens.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from ingestion.collector.answers import RefusedError
from ingestion.collector.segments import accepted_record, rejected_record, suppressed_record
from ingestion.contract.consent import context_consents
from ingestion.contract.envelope import IP_MEMBER
from ingestion.contract.line import LARGEST_LINE, Reason
from ingestion.contract.tracking_plan import tracking_plan
from ingestion.contract.validator import (
    Accepted,
    Outcome,
    Receipt,
    Rejected,
    Suppressed,
    Validator,
    derived_id,
)
from ingestion.load.chunks import LONGEST_KEPT_LINE, too_large_message
from ingestion.load.entities import EntityKind, Row, validate_row
from warehouse.key_kinds import KeyKind
from warehouse.keys import Key
from warehouse.settings import settings

# A line may be longer than LARGEST_LINE by what is stamped: at most a request's headers.
STAMPED_BYTES = 128 << 10
LEGACY_EVENTS = frozenset({"chat", "pdf_download", "session"})
WEB = "web"
# The sources that a page may name; any other becomes `web`, which needs an opt-in.
PAGE_SOURCES = frozenset({"marketing_site", "builder"})
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_NOTHING = (b"null", b'""')


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request: the key, the address, the User-Agent header, and by which endpoint."""

    key: Key
    ip: str | None
    user_agent: str | None
    takes_legacy: bool = False


@dataclass(slots=True)
class Outcomes:
    """The outcome of a request: what is answered, and the records that are stored."""

    received: int = 0
    accepted: int = 0
    suppressed: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)

    def answer(self) -> dict[str, Any]:
        """Return the body of the answer."""
        return {
            "received": self.received,
            "accepted": self.accepted,
            "suppressed": self.suppressed,
            "rejected": self.rejected,
            "errors": self.errors,
        }

    def reject(self, line: bytes, why: Rejected) -> None:
        """Add a rejected line."""
        self.rejected += 1
        detail = why.detail.encode("utf-8", "backslashreplace").decode()
        self.errors.append({"index": self.received, "reason": why.reason, "detail": detail})
        self.records.append(rejected_record(line, why))


class RequestValidator:
    """Validates what is received at one time."""

    def __init__(self, received_at: datetime) -> None:
        self._received_at = received_at
        self._validate = segment_validator(
            Receipt(received_at, b"", 0, None, settings().earliest_event)
        ).validate

    def events(self, lines: Iterable[bytes], sender: Sender) -> Outcomes:
        """Stamp and validate events. Raises RefusedError (403) if the key may not send one."""
        outcomes = Outcomes()
        for line in lines:
            content, outcome = self._event(line, sender)
            if type(outcome) is Accepted:
                outcomes.accepted += 1
                outcomes.records.append(accepted_record(content))
            elif isinstance(outcome, Suppressed):
                outcomes.suppressed += 1
                outcomes.records.append(suppressed_record(outcome))
            elif isinstance(outcome, Rejected):
                outcomes.reject(content, outcome)
            outcomes.received += 1
        return outcomes

    def _event(self, line: bytes, sender: Sender) -> tuple[bytes, Outcome]:
        """Return what is stored of an event, and its outcome: accepted as stamped, else as sent."""
        if len(line) > LARGEST_LINE:
            return _kept_with_consent(line, sender), _too_large(line)
        try:
            members = _members(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            outcome = self._validate(line)
            if isinstance(outcome, Rejected):
                return line, outcome
            # Nothing that can't be stamped is accepted.
            return line, Rejected(Reason.INVALID_JSON, "it can't be read as a JSON object")
        if sender.takes_legacy and "type" in members and "event" not in members:
            name = _string(members["type"])
            if name not in LEGACY_EVENTS:
                return line, Rejected(
                    Reason.UNKNOWN_EVENT,
                    f"$.type: expected one of {', '.join(sorted(LEGACY_EVENTS))}",
                )
            self._translate(members, sender.key)
        else:
            _stamp_id(line, members)
        _refuse_other_events(members, sender.key)
        _stamp_client(members, sender.key)
        _stamp_context(members, sender)
        stamped = _encode(members)
        outcome = self._validate(stamped)
        return stamped if type(outcome) is Accepted else line, outcome

    def _translate(self, members: dict[str, Any], key: Key) -> None:
        """Bring the legacy shape into that of an event, which has no identity of its own."""
        members["event"] = members.pop("type")
        ids = {name: members.pop(name) for name in ("development_id", "unit_id") if name in members}
        client = key.client_id or ids.get("development_id")
        actor = ({} if client is None else {"client_id": client}) | ids
        members["actor"] = msgspec.Raw(_encode(actor))
        members["event_id"] = str(uuid.uuid4())
        members["timestamp"] = self._received_at.isoformat().replace("+00:00", "Z")

    def entities(self, kind: EntityKind, lines: Iterable[bytes]) -> Outcomes:
        """Validate the rows of entities."""
        outcomes = Outcomes()
        for line in lines:
            kept = _kept(line)
            length = len(line) if len(line) > len(kept) else None
            row = Row(outcomes.received + 1, kept, None, None, length)
            outcome = validate_row(kind, row, self._received_at)
            if isinstance(outcome, Rejected):
                outcomes.reject(kept, outcome)
            else:
                outcomes.accepted += 1
                outcomes.records.append(accepted_record(line))
            outcomes.received += 1
        return outcomes


def segment_validator(receipt: Receipt) -> Validator:
    """Return the validator of the lines of a segment, which may be longer by what was stamped."""
    return Validator(receipt, largest_line=LARGEST_LINE + STAMPED_BYTES)


def _kept(line: bytes) -> bytes:
    return line[:LONGEST_KEPT_LINE]


def _too_large(line: bytes) -> Rejected:
    return Rejected(Reason.TOO_LARGE, too_large_message(len(line), LONGEST_KEPT_LINE))


def _kept_with_consent(line: bytes, sender: Sender) -> bytes:
    """Return what is stored of a line that is too large: without consent, nothing."""
    try:
        members = _members(line)
        _stamp_context(members, sender)
        event = tracking_plan().events.get(_string(members.get("event")) or "")
        if event and event.consent and not context_consents(_value(members.get("context", b"{}"))):
            return b""
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    return _kept(line)


@cache
def browser_events() -> frozenset[str]:
    """Return the events that a browser key may send."""
    return frozenset(name for name, event in tracking_plan().events.items() if event.browser)


def _string(raw: Any) -> str | None:
    """Return a member that is a string, None for anything else."""
    if raw is None:
        return None
    if isinstance(raw, str):
        return raw
    try:
        value = _value(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return value if isinstance(value, str) else None


def _refuse_other_events(members: dict[str, Any], key: Key) -> None:
    # An event that a browser may not send is never kept, not even as rejected: a replay could
    # accept it after the plan was changed. Without a name it never becomes an event.
    if key.kind is not KeyKind.BROWSER:
        return
    name = _string(members.get("event"))
    if name is not None and name not in browser_events():
        raise RefusedError(
            403,
            "event_not_allowed",
            f"A browser key can't send {name[:60]!r}: send it from a server, with a server key. "
            "Nothing of this request was taken.",
        )


def _stamp_id(line: bytes, members: dict[str, Any]) -> None:
    """Give an event without id the one that it has in a file: derived from it as it was sent."""
    if bytes(members.get("event_id", b"null")).strip() == b"null":
        try:
            members["event_id"] = str(uuid.UUID(bytes=derived_id(line)))
        except (ValueError, RecursionError, AttributeError):
            # It is rejected below.
            return


def _stamp_client(members: dict[str, Any], key: Key) -> None:
    if key.client_id is None:
        return
    actor = _object(members.get("actor"))
    if actor is None:
        # It is something else, and rejected below.
        return
    sent = actor.get("client_id")
    if sent is not None and bytes(sent).strip() not in _NOTHING and _string(sent) != key.client_id:
        raise RefusedError(
            403,
            "client_not_allowed",
            "An event names another client in $.actor.client_id than this key's: leave it out, or "
            "use that client's key. Nothing of this request was taken.",
        )
    actor["client_id"] = key.client_id
    members["actor"] = msgspec.Raw(_encode(actor))


def _stamp_context(members: dict[str, Any], sender: Sender) -> None:
    context = _object(members.get("context"))
    if context is None:
        return
    is_browser = sender.key.kind is KeyKind.BROWSER
    if is_browser:
        context.pop(IP_MEMBER, None)
        if _string(context.get("source")) not in PAGE_SOURCES:
            context["source"] = WEB
    if sender.ip and _is_absent(context.get(IP_MEMBER)):
        context[IP_MEMBER] = sender.ip
    if sender.user_agent and _is_absent(context.get("user_agent")):
        context["user_agent"] = sender.user_agent
    if context or "context" in members:
        members["context"] = msgspec.Raw(_encode(context))


def _is_absent(raw: Any) -> bool:
    return raw is None or bytes(raw).strip() in _NOTHING


def _object(raw: Any) -> dict[str, Any] | None:
    """Return the members of an object, none of them if it is absent; None for anything else."""
    if raw is None or bytes(raw).strip() == b"null":
        return {}
    try:
        return _members(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
