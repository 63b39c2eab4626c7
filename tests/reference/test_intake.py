"""The reference says what the contract says: one example or more for each of its rules."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from tests.conftest import examples
from tests.properties.strategies import RECEIVED_AT, files, lines, valid_events, written
from tests.reference.intake import (
    DERIVED_ID_NAMESPACE,
    INVALID_ENCODING,
    INVALID_FIELD,
    INVALID_JSON,
    MAX_LINE_BYTES,
    MISSING_FIELD,
    NOT_AN_OBJECT,
    PLAN,
    TIMESTAMP_OUT_OF_RANGE,
    TOO_LARGE,
    UNKNOWN_EVENT,
    UNKNOWN_FIELD,
    Outcome,
    validate,
    validate_file,
)

# The reference changes only with the contract.
pytestmark = pytest.mark.deep

EVENT_ID = "0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01"
AT = "2026-01-10T08:30:00Z"
MOMENT = datetime(2026, 1, 10, 8, 30, tzinfo=UTC)
ABSENT = object()

Event = dict[str, Any]
FEW_EXAMPLES = examples(20)


def signup(**changes: Any) -> Event:
    """A valid event that needs neither consent nor properties, with members changed or ABSENT."""
    event: Event = {
        "event_id": EVENT_ID,
        "event": "signup",
        "timestamp": AT,
        "actor": {"client_id": "acme"},
    }
    event |= changes
    return {name: value for name, value in event.items() if value is not ABSENT}


def event_of(name: str, properties: Any = ABSENT, **actor: Any) -> Event:
    context = {"page": {"path": "/"}} if name == "page_view" else ABSENT
    return signup(
        event=name,
        actor={"client_id": "acme", **actor},
        properties=properties,
        context=context,
    )


def encode(event: Any) -> bytes:
    return json.dumps(event).encode()


def outcome_of(event: Any) -> Outcome:
    """What happens to this event (or these bytes) as the first line ever."""
    payload = event if isinstance(event, bytes) else encode(event)
    return validate(payload, RECEIVED_AT, set())


def raw_property(text: str) -> bytes:
    """A valid line but for a member that is written as given."""
    return encode(signup(properties={"x": "HERE"})).replace(b'"HERE"', text.encode())


def metric(text: str) -> bytes:
    """A valid line but for a number of the plan, which is written as given."""
    properties = {"metric_type": "m", "metric_value": "HERE", "server_id": "s"}
    return encode(event_of("system_metric", properties)).replace(b'"HERE"', text.encode())


def nested(levels: int) -> bytes:
    """A line of so many levels, the outer object and its properties counted."""
    return raw_property("[" * (levels - 2) + "]" * (levels - 2))


def padded(length: int) -> bytes:
    line = encode(signup())
    return line + b" " * (length - len(line))


def test_the_plan_names_every_event_once() -> None:
    assert len(PLAN) == 35
    assert {name for name, rule in PLAN.items() if rule["consent"]} == {
        "session",
        "page_view",
        "pdf_download",
        "contact_submitted",
        "builder_action",
        "analytics.dashboard_view",
        "analytics.filter_change",
        "analytics.export",
    }


def test_an_accepted_event_has_a_key_and_no_reasons() -> None:
    assert outcome_of(signup()) == Outcome(
        "accepted", frozenset(), "signup", ("acme", EVENT_ID, MOMENT)
    )


MINIMAL_EVENTS = [
    event_of("session", unit_id="u"),
    event_of("session", user_id="u"),
    event_of("session", anonymous_id="u"),
    event_of("page_view"),
    event_of("pdf_download"),
    event_of("contact_submitted"),
    event_of("signup"),
    event_of("builder_action", {"action": "publish"}),
    event_of("chat"),
    event_of("chat_feedback", {"message_id": "m", "rating": 1}),
    event_of("lead_created", {"source": "a fair"}, lead_id="l"),
    event_of("lead_stage_changed", {"stage": "hot"}, lead_id="l"),
    event_of("message", {"direction": "inbound", "sender_type": "ai"}, lead_id="l"),
    event_of("escalation_opened", lead_id="l"),
    event_of("first_response", lead_id="l"),
    event_of("qualified", lead_id="l"),
    event_of("quote_requested", lead_id="l"),
    event_of("quote_accepted", lead_id="l"),
    event_of("quote_sent", lead_id="l"),
    event_of("appointment_booked", {"appointment_at": "on Monday"}, lead_id="l"),
    event_of("job_won", {"value_cents": 0}, lead_id="l"),
    event_of("job_lost", lead_id="l"),
    event_of("invoice_sent", {"value_cents": 1}, lead_id="l"),
    event_of("payment_received", {"value_cents": 1}, lead_id="l"),
    event_of("review_requested", lead_id="l"),
    event_of("review_received", {"rating": 5}, lead_id="l"),
    event_of("subscription_started", {"subscription_id": "s", "plan": "p", "mrr_cents": 0}),
    event_of("subscription_changed", {"subscription_id": "s", "plan": "p", "mrr_cents": 0}),
    event_of("subscription_cancelled", {"subscription_id": "s"}),
    event_of("api_cost", {"cost_cents": 1, "service": "s"}),
    event_of("revenue", {"type": "refund", "amount_usd": 0.5}, user_id="u"),
    event_of("credit_used", {"feature_name": "f", "credits_used": 0.5}, user_id="u"),
    event_of(
        "api_request",
        {"endpoint": "/", "method": "GET", "response_time_ms": 0.5, "status_code": 100},
    ),
    event_of("system_metric", {"metric_type": "m", "metric_value": -0.5, "server_id": "s"}),
    event_of("analytics.dashboard_view"),
    event_of("analytics.filter_change"),
    event_of("analytics.export"),
]


def test_the_least_of_every_event_is_tried() -> None:
    assert {event["event"] for event in MINIMAL_EVENTS} == set(PLAN)


@pytest.mark.parametrize("event", MINIMAL_EVENTS, ids=lambda event: event["event"])
def test_the_least_that_an_event_needs_is_accepted(event: Event) -> None:
    assert outcome_of(event).kind == "accepted"


@pytest.mark.parametrize("event", MINIMAL_EVENTS, ids=lambda event: event["event"])
def test_without_any_of_what_it_needs_an_event_is_rejected(event: Event) -> None:
    rule = PLAN[event["event"]]
    for name in rule["required"]:
        for gone in (
            {key: value for key, value in event["properties"].items() if key != name},
            event["properties"] | {name: None},
        ):
            assert outcome_of(event | {"properties": gone}).reasons == {MISSING_FIELD}
    for name in event["actor"]:
        for nothing in (None, ""):
            assert (
                MISSING_FIELD
                in outcome_of(event | {"actor": event["actor"] | {name: nothing}}).reasons
            )
    if rule["needs_page_path"]:
        for context in (ABSENT, {}, {"page": None}, {"page": {}}, {"page": {"path": None}}):
            gone = event | {"context": context}
            gone = {name: value for name, value in gone.items() if value is not ABSENT}
            assert outcome_of(gone).reasons == {MISSING_FIELD}


LONG_TEXT = "x" * 10_000
ACCEPTED: dict[str, Any] = {
    "object with spaces around": b" \t" + encode(signup()) + b"\r ",
    "event id in capitals": signup(event_id=EVENT_ID.upper()),
    "event id null": signup(event_id=None),
    "no event id": signup(event_id=ABSENT),
    "context and properties null": signup(context=None, properties=None),
    "optional property null": signup(properties={"plan": None}),
    "empty property": signup(properties={"plan": ""}),
    "optional actor null": signup(actor={"client_id": "acme", "user_id": None}),
    "optional actor empty": signup(actor={"client_id": "acme", "user_id": ""}),
    "client of no client": signup(actor={"client_id": "_platform"}),
    "client id of 1": signup(actor={"client_id": " "}),
    "client id of 128": signup(actor={"client_id": "ü" * 128}),
    "empty session": signup(context={"session_id": ""}),
    "empty path": event_of("page_view") | {"context": {"page": {"path": ""}}},
    "unknown members": signup(
        actor={"client_id": "acme", "x": 1},
        context={"x": 1, "page": {"x": 1}, "campaign": {"x": 1}, "consent": {"x": 1}},
        properties={"x": [1, {"y": None}]},
    ),
    "null context members": signup(
        context={"page": None, "consent": None, "dnt": None, "sequence": None, "ip": None},
    ),
    "page members null": signup(context={"page": {"url": None}, "consent": {"analytics": None}}),
    "any ip": signup(context={"ip": "not an address"}),
    "whole number with zeros": event_of("job_won", {"value_cents": 100.0}, lead_id="l"),
    "whole number with exponent": encode(
        event_of("job_won", {"value_cents": 7}, lead_id="l"),
    ).replace(b"7}", b"1E2}"),
    "largest number": event_of("job_won", {"value_cents": 10**15}, lead_id="l"),
    "largest number as fraction": event_of("job_won", {"value_cents": 1e15}, lead_id="l"),
    "fraction of a number": event_of("first_response", {"response_time_seconds": 0.1}, lead_id="l"),
    "lowest number": event_of(
        "system_metric",
        {"metric_type": "m", "metric_value": -(10**15), "server_id": "s"},
    ),
    "length without a bound": event_of("chat", {"user_query_length": -1}),
    "list of strings": event_of("chat", {"sections_referenced": ["", "a"]}),
    "empty list": event_of("chat", {"sections_referenced": []}),
    "booleans": event_of("chat", {"cache_hit": True, "error_occurred": False}),
    "sequence": signup(context={"producer": "p", "sequence": 0}),
    "sequence with zeros": signup(context={"producer": "p", "sequence": 5.0}),
    "largest sequence": signup(context={"sequence": 10**15}),
    "number beyond the bound outside the plan": signup(properties={"x": 10**39}),
    "long text": signup(properties={"plan": LONG_TEXT}),
    "depth of 64": nested(64),
    "line of the largest size": padded(MAX_LINE_BYTES),
    "paired surrogates": raw_property('"\\ud83d\\ude00"'),
    "whole number of 40 digits": raw_property("9" * 40),
    "negative whole number of 40 digits": raw_property("-" + "9" * 40),
    "fraction of 40 digits": raw_property("0." + "1" * 39),
    "40 digits and the largest exponent": raw_property("9" * 40 + "e308"),
    "smallest exponent": raw_property("1E-308"),
    "exponent with zeros before it": raw_property("1e+" + "0" * 5_000 + "308"),
    "string of digits": raw_property('"' + "9" * 5_000 + '"'),
    "string that ends like a number": raw_property('"1e400,", "y": "1e400]"'),
    "name of digits": raw_property('{"' + "9" * 41 + '": 1}'),
    "plan's number of many digits": metric("1." + "0" * 3_999),
    "plan's number with a small exponent": metric("5e-4000"),
    "plan's number of 0 with a large exponent": metric("0e999"),
    "plan's number just below the largest": metric("999999999999999.99999"),
    "plan's smallest number": metric("-1000000000000000.00000000000000000000"),
    "plan's whole number of 0 with a large exponent": encode(
        event_of("job_won", {"value_cents": 7}, lead_id="l")
    ).replace(b"7}", b"0E999}"),
    "plan's whole number of many digits": encode(
        event_of("job_won", {"value_cents": 7}, lead_id="l")
    ).replace(b"7}", b"7." + b"0" * 400 + b"}"),
    "sequence of many digits": encode(signup(context={"sequence": 7})).replace(
        b"7}", b"7." + b"0" * 400 + b"}"
    ),
    "escaped name": encode(signup()).replace(b'"event"', b'"\\u0065vent"'),
    "last of two members": encode(signup()).replace(b"{", b'{"event":5,', 1),
    "last of two members deeper": encode(signup()).replace(
        b'{"client_id', b'{"client_id":5,"client_id'
    ),
}


@pytest.mark.parametrize("event", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_the_contract_allows_is_accepted(event: Any) -> None:
    assert outcome_of(event).kind == "accepted"


REJECTED: dict[str, tuple[Any, set[str]]] = {
    "over the size": (padded(MAX_LINE_BYTES + 1), {TOO_LARGE}),
    "over the size, not UTF-8": (b"\xff" * (MAX_LINE_BYTES + 1), {TOO_LARGE}),
    "not UTF-8": (b'{"event":"\xff"}', {INVALID_ENCODING}),
    "surrogate as bytes": (b'{"event":"\xed\xa0\x80"}', {INVALID_ENCODING}),
    "overlong": (b'{"event":"\xc0\x80"}', {INVALID_ENCODING}),
    "UTF-16": ("{}".encode("utf-16"), {INVALID_ENCODING}),
    "no JSON": (b"event", {INVALID_JSON}),
    "empty": (b"", {INVALID_JSON}),
    "cut off": (encode(signup())[:-1], {INVALID_JSON}),
    "two objects": (b"{}{}", {INVALID_JSON}),
    "comma too many": (b'{"a":1,}', {INVALID_JSON}),
    "mark inside": (b"\xef\xbb\xbf{}", {INVALID_JSON}),
    "odd space": ("\u00a0{}".encode(), {INVALID_JSON}),
    "control character": (raw_property('"\x01"'), {INVALID_JSON}),
    "NUL byte in a string": (raw_property('"\x00"'), {INVALID_JSON}),
    "NaN": (raw_property("NaN"), {INVALID_JSON}),
    "Infinity": (raw_property("Infinity"), {INVALID_JSON}),
    "-Infinity": (raw_property("-Infinity"), {INVALID_JSON}),
    "high surrogate": (raw_property('"\\ud83d"'), {INVALID_JSON}),
    "low surrogate": (raw_property('"\\ude00"'), {INVALID_JSON}),
    "swapped surrogates": (raw_property('"\\ude00\\ud83d"'), {INVALID_JSON}),
    "surrogate in a name": (raw_property('{"\\ud83d":1}'), {INVALID_JSON}),
    "surrogate in a list": (raw_property('[["\\ud83d"]]'), {INVALID_JSON}),
    "surrogate in a replaced member": (
        raw_property('{"a":"\\ud83d","a":1}'),
        {INVALID_JSON},
    ),
    "depth of 65": (nested(65), {INVALID_JSON}),
    # The event and its properties are the two levels that the text does not show.
    "depth of 65 objects": (raw_property('{"a":' * 63 + "1" + "}" * 63), {INVALID_JSON}),
    "bottomless": (b"[" * 200_000, {INVALID_JSON}),
    "whole number of 41 digits": (raw_property("9" * 41), {INVALID_FIELD}),
    "whole number of thousands of digits": (raw_property("-" + "9" * 5_000), {INVALID_FIELD}),
    "fraction of 41 digits": (raw_property("0." + "0" * 40), {INVALID_FIELD}),
    "41 digits on both sides": (raw_property("9" * 20 + "." + "9" * 21), {INVALID_FIELD}),
    "exponent too large": (raw_property("1e309"), {INVALID_FIELD}),
    "exponent too small": (raw_property("-10.5E-309"), {INVALID_FIELD}),
    "exponent of many digits": (raw_property("1e+" + "9" * 5_000), {INVALID_FIELD}),
    "0 with a large exponent": (raw_property("0e200000"), {INVALID_FIELD}),
    "number out of bounds in a list": (raw_property("[1,[1e131071]]"), {INVALID_FIELD}),
    "number out of bounds in a replaced member": (
        raw_property('{"a":1e200000,"a":1}'),
        {INVALID_FIELD},
    ),
    "NUL in a replaced member": (raw_property('{"a":"\\u0000","a":1}'), {INVALID_FIELD}),
    "number out of bounds in the actor": (
        encode(signup(actor={"client_id": "acme", "x": 7})).replace(b"7}", b"7e999}"),
        {INVALID_FIELD},
    ),
    "number out of bounds of an unknown event": (
        encode(signup(event="sign_up", properties={"x": 7})).replace(b"7}", b"7e999}"),
        {INVALID_FIELD, UNKNOWN_EVENT},
    ),
    "plan's number of too many digits": (metric("1." + "0" * 4_000), {INVALID_FIELD}),
    "plan's number just above the largest": (metric("1000000000000000.01"), {INVALID_FIELD}),
    "plan's number just below the smallest": (metric("-10000000000000000.1e-1"), {INVALID_FIELD}),
    "plan's number just below 0": (
        encode(event_of("chat", {"cost_prompt": 7})).replace(b"7}", b"-1e-400}"),
        {INVALID_FIELD},
    ),
    "plan's whole number and little more": (
        encode(event_of("job_won", {"value_cents": 7}, lead_id="l")).replace(
            b"7}", b"7.00000000000000000001}"
        ),
        {INVALID_FIELD},
    ),
    "0 with a large exponent outside the plan": (raw_property("0e999"), {INVALID_FIELD}),
    "plan's number with too small an exponent": (metric("5e-4001"), {INVALID_FIELD}),
    "plan's number of another event": (
        encode(event_of("job_won", {"value_cents": 7, "metric_value": 8}, lead_id="l")).replace(
            b"8}", b"1e-309}"
        ),
        {INVALID_FIELD},
    ),
    "plan's number infinite": (
        encode(event_of("job_won", {"value_cents": 7}, lead_id="l")).replace(b"7}", b"1e400}"),
        {INVALID_FIELD},
    ),
    "sequence infinite": (
        encode(signup(context={"sequence": 7})).replace(b"7}", b"1e400}"),
        {INVALID_FIELD},
    ),
    "sequence out of all bounds": (
        encode(signup(context={"sequence": 7})).replace(b"7}", b"1e200000}"),
        {INVALID_FIELD},
    ),
    "list": (b"[]", {NOT_AN_OBJECT}),
    "string": (b'"x"', {NOT_AN_OBJECT}),
    "null": (b"null", {NOT_AN_OBJECT}),
    "bare number": (b"1e400", {NOT_AN_OBJECT}),
    "bare number out of bounds": (b"1e200000", {NOT_AN_OBJECT}),
    "bare number of 5,000 digits": (b"9" * 5_000, {NOT_AN_OBJECT}),
    "list with NaN": (b"[NaN]", {INVALID_JSON}),
    "unknown member": (signup(x=1), {UNKNOWN_FIELD}),
    "unknown member null": (signup(x=None), {UNKNOWN_FIELD}),
    "member in capitals": (signup(Event="signup"), {UNKNOWN_FIELD}),
    "legacy shape": (
        {"type": "chat", "development_id": "d", "unit_id": "u"},
        {UNKNOWN_FIELD, MISSING_FIELD},
    ),
    "empty object": (b"{}", {MISSING_FIELD}),
    "no event": (signup(event=ABSENT), {MISSING_FIELD}),
    "event null": (signup(event=None), {MISSING_FIELD}),
    "event no string": (signup(event=5), {INVALID_FIELD, UNKNOWN_EVENT}),
    "event a list": (signup(event=["signup"]), {INVALID_FIELD, UNKNOWN_EVENT}),
    "event not in the plan": (signup(event="sign_up"), {UNKNOWN_EVENT}),
    "event empty": (signup(event=""), {UNKNOWN_EVENT}),
    "event in capitals": (signup(event="Signup"), {UNKNOWN_EVENT}),
    "the warehouse's own": (signup(event="analytics.ingest_success"), {UNKNOWN_EVENT}),
    "event with NUL": (signup(event="signup\x00"), {INVALID_FIELD, UNKNOWN_EVENT}),
    "no timestamp": (signup(timestamp=ABSENT), {MISSING_FIELD}),
    "timestamp null": (signup(timestamp=None), {MISSING_FIELD}),
    "timestamp a number": (signup(timestamp=1768034400), {INVALID_FIELD}),
    "no actor": (signup(actor=ABSENT), {MISSING_FIELD}),
    "actor null": (signup(actor=None), {MISSING_FIELD}),
    "actor a string": (signup(actor="acme"), {INVALID_FIELD, MISSING_FIELD}),
    "no client": (signup(actor={}), {MISSING_FIELD}),
    "client null": (signup(actor={"client_id": None}), {MISSING_FIELD}),
    "client empty": (signup(actor={"client_id": ""}), {MISSING_FIELD, INVALID_FIELD}),
    "client a number": (signup(actor={"client_id": 5}), {INVALID_FIELD}),
    "client of 129": (signup(actor={"client_id": "x" * 129}), {INVALID_FIELD}),
    "actor member a number": (
        signup(actor={"client_id": "acme", "user_id": 5}),
        {INVALID_FIELD},
    ),
    "event id empty": (signup(event_id=""), {INVALID_FIELD}),
    "event id a number": (signup(event_id=5), {INVALID_FIELD}),
    "event id without hyphens": (signup(event_id=EVENT_ID.replace("-", "")), {INVALID_FIELD}),
    "event id in braces": (signup(event_id="{" + EVENT_ID + "}"), {INVALID_FIELD}),
    "event id as URN": (signup(event_id="urn:uuid:" + EVENT_ID), {INVALID_FIELD}),
    "event id and newline": (signup(event_id=EVENT_ID + "\n"), {INVALID_FIELD}),
    "event id of other digits": (signup(event_id="٠" + EVENT_ID[1:]), {INVALID_FIELD}),
    "context a list": (signup(context=[]), {INVALID_FIELD}),
    "context empty string": (signup(context=""), {INVALID_FIELD}),
    "properties a list": (signup(properties=[]), {INVALID_FIELD}),
    "properties a string of an unknown event": (
        signup(event="x", properties="y"),
        {INVALID_FIELD, UNKNOWN_EVENT},
    ),
    "page a string": (signup(context={"page": "/"}), {INVALID_FIELD}),
    "page a string where a path is needed": (
        event_of("page_view") | {"context": {"page": "/"}},
        {INVALID_FIELD, MISSING_FIELD},
    ),
    "path a number": (event_of("page_view") | {"context": {"page": {"path": 5}}}, {INVALID_FIELD}),
    "campaign a string": (signup(context={"campaign": "x"}), {INVALID_FIELD}),
    "campaign member a number": (signup(context={"campaign": {"term": 5}}), {INVALID_FIELD}),
    "consent a boolean": (signup(context={"consent": True}), {INVALID_FIELD}),
    "analytics a string": (signup(context={"consent": {"analytics": "true"}}), {INVALID_FIELD}),
    "analytics a number": (signup(context={"consent": {"analytics": 1}}), {INVALID_FIELD}),
    "dnt a number": (signup(context={"dnt": 1}), {INVALID_FIELD}),
    "session a number": (signup(context={"session_id": 5}), {INVALID_FIELD}),
    "ip a number": (signup(context={"ip": 5}), {INVALID_FIELD}),
    "source a list": (signup(context={"source": ["web"]}), {INVALID_FIELD}),
    "producer a number": (signup(context={"producer": 5}), {INVALID_FIELD}),
    "sequence below": (signup(context={"sequence": -1}), {INVALID_FIELD}),
    "sequence above": (signup(context={"sequence": 10**15 + 1}), {INVALID_FIELD}),
    "sequence a fraction": (signup(context={"sequence": 0.5}), {INVALID_FIELD}),
    "sequence a string": (signup(context={"sequence": "1"}), {INVALID_FIELD}),
    "sequence a boolean": (signup(context={"sequence": True}), {INVALID_FIELD}),
    "property a number": (signup(properties={"plan": 5}), {INVALID_FIELD}),
    "property a list": (signup(properties={"plan": []}), {INVALID_FIELD}),
    "cents a fraction": (event_of("job_won", {"value_cents": 100.5}, lead_id="l"), {INVALID_FIELD}),
    "cents a string": (event_of("job_won", {"value_cents": "1"}, lead_id="l"), {INVALID_FIELD}),
    "cents a boolean": (event_of("job_won", {"value_cents": True}, lead_id="l"), {INVALID_FIELD}),
    "cents below": (event_of("job_won", {"value_cents": -1}, lead_id="l"), {INVALID_FIELD}),
    "cents above": (event_of("job_won", {"value_cents": 10**15 + 1}, lead_id="l"), {INVALID_FIELD}),
    "number above": (
        event_of("first_response", {"response_time_seconds": 1e16}, lead_id="l"),
        {INVALID_FIELD},
    ),
    "metric below": (
        event_of("system_metric", {"metric_type": "m", "metric_value": -1e16, "server_id": "s"}),
        {INVALID_FIELD},
    ),
    "rating 0": (event_of("review_received", {"rating": 0}, lead_id="l"), {INVALID_FIELD}),
    "rating 6": (event_of("review_received", {"rating": 6}, lead_id="l"), {INVALID_FIELD}),
    "rating 4.5": (event_of("review_received", {"rating": 4.5}, lead_id="l"), {INVALID_FIELD}),
    "boolean a number": (event_of("chat", {"cache_hit": 1}), {INVALID_FIELD}),
    "boolean a string": (event_of("chat", {"cache_hit": "true"}), {INVALID_FIELD}),
    "tokens a fraction": (event_of("chat", {"tokens_prompt": 0.5}), {INVALID_FIELD}),
    "length a fraction": (event_of("chat", {"user_query_length": 0.5}), {INVALID_FIELD}),
    "steps below": (event_of("chat", {"intermediate_steps": -1}), {INVALID_FIELD}),
    "cost below": (event_of("chat", {"cost_prompt": -0.01}), {INVALID_FIELD}),
    "intent unheard of": (event_of("chat", {"query_intent": "other"}), {INVALID_FIELD}),
    "intent empty": (event_of("chat", {"query_intent": ""}), {INVALID_FIELD}),
    "sections a string": (event_of("chat", {"sections_referenced": "a"}), {INVALID_FIELD}),
    "sections with null": (event_of("chat", {"sections_referenced": [None]}), {INVALID_FIELD}),
    "stage in capitals": (
        event_of("lead_stage_changed", {"stage": "Hot"}, lead_id="l"),
        {INVALID_FIELD},
    ),
    "NUL in a property": (signup(properties={"plan": "a\x00b"}), {INVALID_FIELD}),
    "NUL deep in an unknown property": (
        signup(properties={"x": [{"y": ["\x00"]}]}),
        {INVALID_FIELD},
    ),
    "NUL in a name": (signup(context={"a\x00": 1}), {INVALID_FIELD}),
    "NUL in an unknown top-level name": (signup(**{"\x00": 1}), {INVALID_FIELD, UNKNOWN_FIELD}),
    "NUL in a client": (signup(actor={"client_id": "\x00"}), {INVALID_FIELD}),
    "last of two members": (
        encode(signup()).replace(b'"signup"', b'"signup","event":null'),
        {MISSING_FIELD},
    ),
    "session of nobody": (event_of("session"), {MISSING_FIELD}),
    "session of a number": (event_of("session", unit_id=5), {INVALID_FIELD}),
    "session of a development": (event_of("session", development_id="d"), {MISSING_FIELD}),
    "several defects": (
        signup(x=1, event="y", timestamp=None, event_id="z"),
        {UNKNOWN_FIELD, UNKNOWN_EVENT, MISSING_FIELD, INVALID_FIELD},
    ),
}


@pytest.mark.parametrize(("event", "reasons"), REJECTED.values(), ids=REJECTED.keys())
def test_what_the_contract_forbids_is_rejected_with_every_reason_that_applies(
    event: Any, reasons: set[str]
) -> None:
    outcome = outcome_of(event)
    assert (outcome.kind, outcome.reasons, outcome.key) == ("rejected", reasons, None)


@pytest.mark.parametrize("status", [99, 600, 200.5])
def test_a_status_code_lies_between_100_and_599(status: float) -> None:
    properties = {"endpoint": "/", "method": "GET", "response_time_ms": 1, "status_code": status}
    assert outcome_of(event_of("api_request", properties)).reasons == {INVALID_FIELD}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-06-30T12:00:00Z", utc(2025, 6, 30, 12)),
        ("2025-06-30t12:00:00z", utc(2025, 6, 30, 12)),
        ("2025-06-30 12:00:00Z", utc(2025, 6, 30, 12)),
        ("2025-06-30T12:00:00-00:00", utc(2025, 6, 30, 12)),
        ("2025-06-30T12:00:00+02:30", utc(2025, 6, 30, 9, 30)),
        ("2025-06-30T12:00:00-23:59", utc(2025, 7, 1, 11, 59)),
        ("2025-06-30T12:00:00+23:59", utc(2025, 6, 29, 12, 1)),
        ("2025-06-30T12:00:00.5Z", utc(2025, 6, 30, 12, 0, 0, 500_000)),
        ("2025-06-30T12:00:00.1234567Z", utc(2025, 6, 30, 12, 0, 0, 123_456)),
        ("2025-06-30T12:00:00.9999999Z", utc(2025, 6, 30, 12, 0, 0, 999_999)),
        ("2025-06-30T12:00:00." + "9" * 100 + "Z", utc(2025, 6, 30, 12, 0, 0, 999_999)),
        ("2024-02-29T23:59:59Z", utc(2024, 2, 29, 23, 59, 59)),
        ("2016-01-15T00:00:00Z", utc(2016, 1, 15)),
        ("2016-01-14T23:00:00-01:00", utc(2016, 1, 15)),
        ("2026-01-16T12:00:00.25Z", RECEIVED_AT + timedelta(hours=24)),
        ("2026-01-16T12:00:00.2500009Z", RECEIVED_AT + timedelta(hours=24)),
    ],
)
def test_timestamps_are_read_as_rfc_3339_and_cut_to_microseconds(
    text: str, moment: datetime
) -> None:
    assert outcome_of(signup(timestamp=text)).key == ("acme", EVENT_ID, moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2025-06-30",
        "2025-06-30T12:00:00",
        "2025-06-30T12:00Z",
        "2025-06-30T12:00:00+0200",
        "2025-06-30T12:00:00+02",
        "2025-06-30T12:00:00+24:00",
        "2025-06-30T12:00:00+02:60",
        "2025-06-30T12:00:00 +02:00",
        "2025-06-30T12:00:00.Z",
        "2025-06-30T12:00:00,5Z",
        "2025-06-30T12:00:60Z",
        "2016-12-31T23:59:60Z",
        "2025-06-30T12:60:00Z",
        "2025-06-30T24:00:00Z",
        "2025-02-29T12:00:00Z",
        "2025-13-01T12:00:00Z",
        "2025-00-01T12:00:00Z",
        "2025-6-30T12:00:00Z",
        "25-06-30T12:00:00Z",
        "12025-06-30T12:00:00Z",
        "2025-06-30_12:00:00Z",
        "20250630T120000Z",
        " 2025-06-30T12:00:00Z",
        "2025-06-30T12:00:00Z\n",
        "２０２５-06-30T12:00:00Z",
        "0000-02-30T00:00:00Z",
    ],
)
def test_what_is_no_timestamp_is_an_invalid_field(text: str) -> None:
    assert outcome_of(signup(timestamp=text)).reasons == {INVALID_FIELD}


@pytest.mark.parametrize(
    "text",
    [
        "2016-01-14T23:59:59.999999Z",
        "2016-01-14T23:59:59.9999999Z",
        "2016-01-15T00:00:00+00:01",
        "2000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "2026-01-16T12:00:00.250001Z",
        "2026-01-16T12:00:00.25-00:01",
        "9999-12-31T23:59:59Z",
    ],
)
def test_a_timestamp_over_ten_years_old_or_over_24_hours_ahead_is_out_of_range(text: str) -> None:
    assert outcome_of(signup(timestamp=text)).reasons == {TIMESTAMP_OUT_OF_RANGE}


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00Z",
        "0000-02-29T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_a_moment_that_cannot_be_held_is_out_of_range(text: str) -> None:
    assert outcome_of(signup(timestamp=text)).reasons == {TIMESTAMP_OUT_OF_RANGE}


NO_CONSENT: dict[str, Event] = {
    "do not track": {"dnt": True},
    "do not track, consent all the same": {"dnt": True, "consent": {"analytics": True}},
    "refused": {"consent": {"analytics": False}},
    "refused elsewhere": {"source": "api", "consent": {"analytics": False}},
    "browser, not asked": {"source": "web"},
    "marketing site, not asked": {"source": "marketing_site", "consent": {}},
    "browser, no answer": {"source": "web", "consent": {"analytics": None}},
    "browser, no object": {"source": "web", "consent": True},
    "browser, no boolean": {"source": "web", "consent": {"analytics": "true"}},
    "browser in capitals": {"source": "Web"},
    "browser with space": {"source": "\u00a0marketing_SITE \n"},
    "browser, granted elsewhere": {"source": "web", "consent": "granted"},
    "refused as a whole": {"consent": False},
    "refused as a whole in words": {"consent": " Denied", "source": "web"},
    "consent 0": {"consent": 0},
    **{
        f"do not track: {json.dumps(said)}": {"dnt": said}
        for said in (1, 1.0, "1", "true", "TRUE", "yes", "on", " Yes\t", "\u3000ON")
    },
    **{
        f"refused: {json.dumps(said)}": {"consent": {"analytics": said}}
        for said in (0, 0.0, -0.0, "0", "false", "no", "No ", "off", "denied", "DENIED\u00a0")
    },
}


@pytest.mark.parametrize("context", NO_CONSENT.values(), ids=NO_CONSENT.keys())
def test_an_event_that_needs_consent_is_suppressed_without(context: Event) -> None:
    suppressed = Outcome("suppressed", event="pdf_download", day=MOMENT.date())
    assert outcome_of(event_of("pdf_download") | {"context": context}) == suppressed


@pytest.mark.parametrize("context", NO_CONSENT.values(), ids=NO_CONSENT.keys())
def test_an_event_that_needs_no_consent_is_never_suppressed(context: Event) -> None:
    assert outcome_of(signup(context=context)).kind in {"accepted", "rejected"}


@pytest.mark.parametrize(
    "context",
    [
        None,
        {},
        {"source": "api"},
        {"source": "builder", "consent": {"analytics": None}},
        {"source": "web", "consent": {"analytics": True}},
        {"source": "marketing_site", "consent": {"analytics": True}, "dnt": False},
        {"source": "web site"},
        {"source": "we b"},
        {"consent": {"analytics_storage": "denied"}},
        {"x": {"dnt": True}},
    ],
)
def test_an_event_that_needs_consent_is_accepted_with(context: Any) -> None:
    assert outcome_of(event_of("pdf_download") | {"context": context}).kind == "accepted"


@pytest.mark.parametrize(
    "context",
    [
        "web",
        ["web"],
        {"source": ["web"]},
        *({"dnt": said} for said in (0, 2, "", "no", "false", "unspecified", "1.0", [True], {})),
        *({"consent": said} for said in (True, 1, "yes", "granted", [], [False])),
        *({"consent": {"analytics": said}} for said in (1, "true", "", "nope", [False], {})),
    ],
)
def test_what_is_malformed_and_no_refusal_is_rejected(context: Any) -> None:
    outcome = outcome_of(event_of("pdf_download") | {"context": context})
    assert outcome.reasons == {INVALID_FIELD}


def test_of_a_refusal_that_stands_twice_the_last_counts() -> None:
    line = encode(event_of("pdf_download") | {"context": {"dnt": 5}})
    assert outcome_of(line.replace(b'"dnt": 5', b'"dnt": true, "dnt": false')).kind == "accepted"
    assert (
        outcome_of(line.replace(b'"dnt": 5', b'"dnt": false, "d\\u006et": "1"')).kind
        == "suppressed"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"x": 1},
        {"timestamp": None},
        {"timestamp": "1999-01-01T00:00:00Z"},
        {"actor": 5},
        {"event_id": "no"},
        {"properties": "\x00"},
        {"context": {"dnt": True, "sequence": "no"}},
    ],
)
def test_an_object_without_consent_is_suppressed_whatever_else_is_wrong(changes: Event) -> None:
    line = event_of("pdf_download") | {"context": {"dnt": True}} | changes
    assert outcome_of(line).kind == "suppressed"


def test_size_encoding_and_json_come_before_consent() -> None:
    line = encode(event_of("pdf_download") | {"context": {"dnt": True}})
    assert outcome_of(line).kind == "suppressed"
    assert outcome_of(line + b" " * MAX_LINE_BYTES).reasons == {TOO_LARGE}
    assert outcome_of(line.replace(b'"acme"', b'"\xff"')).reasons == {INVALID_ENCODING}
    assert outcome_of(line.replace(b'"acme"', b"NaN")).reasons == {INVALID_JSON}


def test_a_line_uses_its_sequence_number_on_the_day_of_its_timestamp_or_else_of_receipt() -> None:
    used = {"producer": "p", "sequence": 7.0}
    on_the_day, on_receipt = ("p", 7, MOMENT.date()), ("p", 7, RECEIVED_AT.date())
    assert outcome_of(signup(context=used)).sequence == on_the_day
    assert outcome_of(signup(context=used, x=1)).sequence == on_the_day
    assert outcome_of(signup(context=used, timestamp="1999-01-01T00:00:00Z")).sequence == (
        "p", 7, date(1999, 1, 1),
    )  # fmt: skip
    assert (
        outcome_of(signup(context=used, timestamp="2026-01-09T23:00:00-02:00")).sequence
        == on_the_day
    )
    for unreadable in ("yesterday", None, 5, "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00"):
        assert outcome_of(signup(context=used, timestamp=unreadable)).sequence == on_receipt
    for half in ({"producer": "p"}, {"sequence": 7}, {"producer": 5, "sequence": 7}, [], None):
        assert outcome_of(signup(context=half)).sequence is None
    for number in (-1, 0.5, "7", True, 10**15 + 1):
        assert outcome_of(signup(context={"producer": "p", "sequence": number})).sequence is None


def test_a_suppressed_line_is_counted_on_the_day_of_its_timestamp_or_else_of_receipt() -> None:
    without = event_of("pdf_download") | {"context": {"dnt": True, "producer": "p", "sequence": 0}}
    outcome = outcome_of(without)
    assert (outcome.day, outcome.sequence) == (MOMENT.date(), ("p", 0, MOMENT.date()))
    assert outcome_of(without | {"timestamp": "soon"}).day == RECEIVED_AT.date()


def test_numbers_out_of_bounds_come_after_consent_and_before_duplicates() -> None:
    line = raw_property("1e200000")
    without_consent = line.replace(b'"signup"', b'"session","context":{"dnt":true}')
    assert outcome_of(without_consent).kind == "suppressed"
    seen = {("acme", EVENT_ID, MOMENT)}
    assert validate(line, RECEIVED_AT, seen).kind == "rejected"


def test_a_line_with_a_number_out_of_bounds_is_not_remembered() -> None:
    seen: set[tuple[str, str, datetime]] = set()
    assert validate(raw_property("1e200000"), RECEIVED_AT, seen).kind == "rejected"
    assert validate(raw_property("1"), RECEIVED_AT, seen).kind == "accepted"


def test_the_first_of_the_same_key_wins_and_the_rest_are_duplicates() -> None:
    seen: set[tuple[str, str, datetime]] = set()
    key = ("acme", EVENT_ID, MOMENT)

    def then(**changes: Any) -> str:
        return validate(encode(signup(**changes)), RECEIVED_AT, seen).kind

    assert then() == "accepted"
    assert seen == {key}
    assert then() == "duplicate"
    assert then(properties={"plan": "another"}) == "duplicate"
    assert then(event="chat") == "duplicate"
    assert then(event_id=EVENT_ID.upper()) == "duplicate"
    assert then(timestamp="2026-01-10T09:30:00.0000009+01:00") == "duplicate"
    assert then(actor={"client_id": "globex"}) == "accepted"
    assert then(actor={"client_id": "Acme"}) == "accepted"
    assert then(timestamp="2026-01-10T08:30:00.000001Z") == "accepted"
    assert then(event_id=str(uuid.UUID(int=0))) == "accepted"
    assert then(x=1) == "rejected"
    assert len(seen) == 5


def test_suppressed_and_rejected_lines_are_not_remembered() -> None:
    seen: set[tuple[str, str, datetime]] = set()
    validate(encode(event_of("pdf_download") | {"context": {"dnt": True}}), RECEIVED_AT, seen)
    validate(encode(signup(x=1)), RECEIVED_AT, seen)
    assert seen == set()


def test_a_derived_event_id_is_that_of_the_canonical_event_without_the_ip() -> None:
    line = (
        b'{ "timestamp":"2026-01-10T08:30:00Z", "actor":{"user_id":"\\u00fc","client_id":"acme"},'
        b' "properties":{"n":1E2,"b":1,"b":2},"event":"signup", "context":{"ip":"10.0.0.1"}}'
    )
    canonical = (
        '{"actor":{"client_id":"acme","user_id":"ü"},"context":{},"event":"signup",'
        '"properties":{"b":2,"n":100.0},"timestamp":"2026-01-10T08:30:00Z"}'
    )
    derived = str(uuid.uuid5(DERIVED_ID_NAMESPACE, canonical))
    assert outcome_of(line).key == ("acme", derived, MOMENT)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda event: dict(reversed(event.items())), True),
        (lambda event: event | {"context": {"ip": "10.0.0.2", "source": "api"}}, True),
        (lambda event: event | {"context": {"source": "api"}}, True),
        (lambda event: event | {"event_id": None}, False),
        (lambda event: event | {"context": {"source": "web"}}, False),
        (lambda event: event | {"properties": {}}, False),
        (lambda event: event | {"properties": {"ip": "10.0.0.1"}}, False),
        (lambda event: event | {"timestamp": "2026-01-10T08:30:00+00:00"}, False),
    ],
)
def test_a_derived_event_id_stands_for_the_event_as_it_came(
    change: Callable[[Event], Event], same: bool
) -> None:
    event = signup(event_id=ABSENT, context={"ip": "10.0.0.1", "source": "api"})
    assert (outcome_of(change(event)).key == outcome_of(event).key) is same


def test_a_file_is_read_line_by_line_with_blank_lines_counted_but_left_out() -> None:
    first, second = encode(signup()), encode(signup(x=1))
    content = b"\xef\xbb\xbf" + first + b"\r\n\n \t\r\n" + second + b"\n" + first
    outcomes = validate_file(content, RECEIVED_AT)
    assert [(number, payload, outcome.kind) for number, payload, outcome in outcomes] == [
        (1, first, "accepted"),
        (4, second, "rejected"),
        (5, first, "duplicate"),
    ]


def test_a_file_of_nothing_has_no_lines() -> None:
    for content in (b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"):
        assert validate_file(content, RECEIVED_AT) == []


def test_only_a_newline_ends_a_line() -> None:
    separators = encode(signup()).replace(b"acme", "a\u2028b\u0085c".encode())
    assert [outcome.kind for _, _, outcome in validate_file(separators, RECEIVED_AT)] == [
        "accepted"
    ]
    ((_, payload, outcome),) = validate_file(b"{}\r{}\n", RECEIVED_AT)
    assert (payload, outcome.reasons) == (b"{}\r{}", {INVALID_JSON})


def test_only_the_line_end_is_taken_off_a_payload() -> None:
    content = b' {"x":1} \r\r\n[]\r'
    payloads = [payload for _, payload, _ in validate_file(content, RECEIVED_AT)]
    assert payloads == [b' {"x":1} \r', b"[]\r"]


def test_neither_line_end_nor_mark_counts_towards_the_size() -> None:
    content = b"\xef\xbb\xbf" + padded(MAX_LINE_BYTES) + b"\r\n"
    assert [outcome.kind for _, _, outcome in validate_file(content, RECEIVED_AT)] == ["accepted"]


def test_only_a_mark_at_the_start_of_a_file_is_tolerated() -> None:
    mark, line = b"\xef\xbb\xbf", encode(signup())
    kinds = [o.kind for _, _, o in validate_file(mark + line + b"\n" + mark + line, RECEIVED_AT)]
    assert kinds == ["accepted", "rejected"]
    assert [o.kind for _, _, o in validate_file(mark + mark + line, RECEIVED_AT)] == ["rejected"]


def test_what_landed_in_an_earlier_file_is_a_duplicate() -> None:
    seen: set[tuple[str, str, datetime]] = set()
    content = encode(signup())
    assert [o.kind for _, _, o in validate_file(content, RECEIVED_AT, seen)] == ["accepted"]
    assert [o.kind for _, _, o in validate_file(content, RECEIVED_AT, seen)] == ["duplicate"]


@FEW_EXAMPLES
@given(valid_events().flatmap(written))
def test_generated_valid_events_are_never_rejected(line: bytes) -> None:
    assert outcome_of(line).kind in {"accepted", "suppressed"}


@FEW_EXAMPLES
@given(lines())
def test_every_line_has_an_outcome_with_reasons_only_where_rejected(line: bytes) -> None:
    outcome = outcome_of(line)
    assert (outcome.kind == "rejected") is bool(outcome.reasons)
    assert (outcome.kind == "accepted") is (outcome.key is not None)
    assert b"\n" not in line


@examples(5)
@given(files(max_lines=15))
def test_a_file_loaded_twice_is_all_duplicates_the_second_time(content: bytes) -> None:
    seen: set[tuple[str, str, datetime]] = set()
    first = validate_file(content, RECEIVED_AT, seen)
    second = validate_file(content, RECEIVED_AT, seen)
    landed = {"accepted", "duplicate"}
    assert len(first) == len(second)
    for (_, _, before), (_, _, after) in zip(first, second, strict=True):
        assert after.kind == ("duplicate" if before.kind in landed else before.kind)
