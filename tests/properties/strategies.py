"""Random event lines and files: mostly valid, and otherwise wrong in every way that matters."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tests.reference.intake import (
    BYTE_ORDER_MARK,
    CAMPAIGN_STRINGS,
    KEY_LENGTHS,
    MAX_DEPTH,
    MAX_ID_LENGTH,
    MAX_LINE_BYTES,
    OPTIONAL_ACTOR_STRINGS,
    PAGE_STRINGS,
    PLAN,
    PropertyRule,
)

RECEIVED_AT = datetime(2026, 1, 15, 12, 0, 0, 250_000, tzinfo=UTC)
LATEST = RECEIVED_AT + timedelta(hours=24)
MICROSECOND = timedelta(microseconds=1)

Event = dict[str, Any]
Path = tuple[str, ...]

CONSENT_EVENTS = tuple(sorted(name for name in PLAN if PLAN[name]["consent"]))

# Few tenants and few ids, so that events of one file meet each other.
CLIENT_IDS = ("acme", "globex", "_platform", "Büro Süd", "x" * 128, "😀" * 128, " acme")
NAMES = ("a-1", "a-2", "A-1", "ünit", "0", "null", "a,b", "x" * 300)
EVENT_IDS = (
    "0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01",
    "0B7C2C1E-5D0E-4C57-9C2E-2F6D3A1B9E01",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "FfFfFfFf-ffff-FFFF-0000-aBcDeF012345",
)

# What naive readers trip over: line ends that are none, escapes, marks, words of other formats.
TRICKY_TEXTS = (
    "",
    " ",
    "\u2028line\u2029separators\x85",
    "tab\tnewline\r\n",
    'quote " backslash \\ slash /',
    "\\u0000",
    "\\ud800",
    "\ufeffmark",
    "\x7f\x1f",
    "😀 e\u0301 é ß İ",
    "{[}]",
    "NaN",
    "=1+1",
    "\\N",
)


@cache
def texts() -> st.SearchStrategy[str]:
    """Strings that may land: no NUL, no lone surrogates."""
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
    return st.one_of(
        st.sampled_from(NAMES),
        st.sampled_from(TRICKY_TEXTS),
        st.text(letters, max_size=12),
    )


@cache
def json_values() -> st.SearchStrategy[Any]:
    """Any small JSON value without NUL and lone surrogates."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        # Without those whose exponent is below -308.
        st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
        texts(),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(texts(), inner, max_size=3),
        ),
        max_leaves=5,
    )


@cache
def moments() -> st.SearchStrategy[datetime]:
    """Moments in UTC that are in range for RECEIVED_AT, with the edges of days and of the range."""
    days = st.integers(0, (RECEIVED_AT - datetime(2024, 1, 1, tzinfo=UTC)).days)
    midnights = days.map(lambda day: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day))
    return st.one_of(
        st.datetimes(
            min_value=datetime(2024, 1, 1),
            max_value=LATEST.replace(tzinfo=None),
            timezones=st.just(UTC),
        ),
        st.timedeltas(timedelta(0), timedelta(days=3)).map(lambda age: RECEIVED_AT - age),
        midnights,
        midnights.map(lambda midnight: midnight - MICROSECOND),
        st.sampled_from(
            (
                datetime(2016, 1, 15, tzinfo=UTC),
                datetime(2016, 1, 15, tzinfo=UTC) + MICROSECOND,
                datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
                datetime(2025, 3, 30, 1, 0, tzinfo=UTC),
                datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
                RECEIVED_AT,
                LATEST - MICROSECOND,
                LATEST,
            )
        ),
    )


@st.composite
def timestamp_texts(draw: st.DrawFn, moment: datetime) -> str:
    """One of the ways in which RFC 3339 writes a moment."""
    offset = draw(
        st.sampled_from(("Z", "Z", "Z", "z", "+00:00", "-00:00", "moved", "moved")),
    )
    if offset == "moved":
        minutes = draw(
            st.sampled_from((60, 120, -300, 330, -570, 765, 840, 1439, -1439)),
        )
        shifted = moment.astimezone(timezone(timedelta(minutes=minutes)))
        hours, rest = divmod(abs(minutes), 60)
        offset = f"{'+' if minutes > 0 else '-'}{hours:02}:{rest:02}"
    else:
        shifted = moment
    separator = draw(st.sampled_from("TTTt "))
    fraction = f"{shifted.microsecond:06}"
    style = draw(st.sampled_from(("short", "full", "finer")))
    if style == "short":
        fraction = fraction.rstrip("0")
    elif style == "finer":
        fraction += draw(st.sampled_from(("0", "9", "999", "123456789", "9" * 40)))
    seconds = f"{shifted:%H:%M:%S}" + (f".{fraction}" if fraction else "")
    # strftime does not pad years everywhere.
    date = f"{shifted.year:04}-{shifted.month:02}-{shifted.day:02}"
    return f"{date}{separator}{seconds}{offset}"


def values_for(rule: PropertyRule) -> st.SearchStrategy[Any]:
    """Values that a property's rule takes."""
    if rule["type"] == "string":
        return texts() if rule["enum"] is None else st.sampled_from(rule["enum"])
    if rule["type"] == "strings":
        return st.lists(texts(), max_size=3)
    if rule["type"] == "boolean":
        return st.booleans()
    lowest = -(10**15) if rule["minimum"] is None else rule["minimum"]
    highest = 10**15 if rule["maximum"] is None else rule["maximum"]
    wholes = st.one_of(
        st.integers(max(lowest, -1000), min(highest, 1000)),
        st.integers(lowest, highest),
        st.sampled_from((lowest, highest)),
    )
    numbers = st.one_of(wholes, wholes, wholes.map(float))
    if rule["type"] == "whole":
        return numbers
    return st.one_of(
        numbers,
        st.floats(lowest, highest),
        st.decimals(max(lowest, -100), min(highest, 100), places=4).map(float),
        st.sampled_from((0.1, 5e-324, 0.30000000000000004)),
    )


@st.composite
def contexts(draw: st.DrawFn, *, consenting: bool, page_path: bool) -> Event:
    """Contexts whose members have the contract's types."""
    maybe = st.booleans()
    context: Event = {}
    for name in ("session_id", "ip", "user_agent", "producer"):
        if draw(maybe):
            context[name] = draw(st.one_of(st.none(), texts()))
    if draw(maybe):
        context["ip"] = draw(st.sampled_from(("203.0.113.7", "[2001:DB8::1]:443", "unknown", None)))
    if draw(maybe):
        context["source"] = draw(
            st.one_of(
                st.none(),
                st.sampled_from(
                    ("web", "web", "marketing_site", "api", "builder", "Web\u00a0", "")
                ),
                texts(),
            ),
        )
    if draw(maybe):
        # Small numbers make neighbours and repeats likely.
        context["producer"] = draw(st.sampled_from(("edge-1", "edge-2")))
        context["sequence"] = draw(
            st.one_of(st.integers(0, 30), st.sampled_from((0, 7.0, 10**15, None))),
        )
    if page_path or draw(maybe):
        context["page"] = draw(
            st.dictionaries(st.sampled_from(PAGE_STRINGS), st.none() | texts(), max_size=3),
        )
        if page_path:
            context["page"]["path"] = draw(st.sampled_from(("/", "/plans", "")) | texts())
    if draw(maybe):
        context["campaign"] = draw(
            st.none()
            | st.dictionaries(st.sampled_from(CAMPAIGN_STRINGS), st.none() | texts(), max_size=3),
        )
    analytics = True if consenting else draw(st.sampled_from((True, False, None)))
    if consenting or draw(maybe):
        context["consent"] = {"analytics": analytics}
    if draw(maybe):
        context["dnt"] = False if consenting else draw(st.sampled_from((True, False, None)))
    return context


@st.composite
def valid_events(draw: st.DrawFn) -> Event:
    """Events that are never rejected at RECEIVED_AT; some of them lack consent."""
    name = draw(st.sampled_from(sorted(PLAN)) | st.sampled_from(CONSENT_EVENTS))
    rule = PLAN[name]
    few = st.integers(0, 3).map(lambda number: number == 0)

    actor: Event = {"client_id": draw(st.sampled_from(CLIENT_IDS[:2]) | _client_ids())}
    needed = set(rule["actor_all"])
    if rule["actor_any"]:
        needed.add(draw(st.sampled_from(rule["actor_any"])))
    for member in OPTIONAL_ACTOR_STRINGS:
        if member in needed:
            actor[member] = draw(texts().filter(lambda text: text != ""))
        elif draw(few):
            actor[member] = draw(st.none() | texts())

    properties = {member: draw(values_for(wanted)) for member, wanted in rule["required"].items()}
    for member, wanted in rule["optional"].items():
        if draw(few):
            properties[member] = draw(st.none() | values_for(wanted))

    event: Event = {
        "event": name,
        "timestamp": draw(timestamp_texts(draw(moments()))),
        "actor": actor,
    }
    if draw(st.booleans()):
        event["event_id"] = draw(
            st.uuids().map(str) | st.sampled_from(EVENT_IDS) | st.none(),
        )
    if rule["needs_page_path"] or draw(st.booleans()):
        consenting = draw(st.integers(0, 3)) > 0
        event["context"] = draw(
            contexts(consenting=consenting, page_path=rule["needs_page_path"]),
        )
    if properties or draw(st.booleans()):
        event["properties"] = properties
    for part in ("actor", "context", "properties"):
        if part in event and draw(few):
            _add_unknown_member(draw, event, part)
    for part in ("page", "campaign", "consent"):
        if (event.get("context") or {}).get(part) and draw(few):
            _add_unknown_member(draw, event["context"], part)
    for part in ("context", "properties"):
        if part not in event and draw(few):
            event[part] = None
    return event


@cache
def _client_ids() -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(CLIENT_IDS),
        texts().filter(lambda text: 1 <= len(text) <= 128),
    )


def _add_unknown_member(draw: st.DrawFn, event: Event, part: str) -> None:
    # The prefix keeps it from being a member that the contract knows.
    name = "x_" + draw(texts())
    event[part][name] = draw(json_values())


@dataclass(frozen=True)
class Raw:
    """A piece of text that goes into a line as it is, where JSON would not write it."""

    text: str


WRONG_VALUES = (
    None,
    [None],
    "",
    "text",
    "5",
    "true",
    True,
    False,
    0,
    -1,
    -0.0,
    0.5,
    5.5,
    6,
    99,
    600,
    100.0,
    10**15,
    10**15 + 1,
    1e15,
    -(10**15),
    -(10**15) - 1,
    2**63,
    10**300,
    1e300,
    [],
    {},
    [None],
    [1],
    ["text"],
    {"analytics": "yes"},
    {"client_id": 5},
)

RAW_VALUES = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e308",
    "1e-400",
    "1E2",
    "1e+2",
    "-0",
    "1.0e0",
    "01",
    "1.",
    ".5",
    "+1",
    "0x10",
    "1e-308",
    "1e309",
    "1e-309",
    "5E-324",
    "1e4000",
    "1e-4000",
    "1e-4001",
    "1e131071",
    "1e131072",
    "-1e200000",
    "1e-16384",
    "0e200000",
    "0e1073741824",
    "1e" + "0" * 50 + "5",
    "1e" + "9" * 5_000,
    "0." + "0" * 16_384,
    "9" * 309,
    "9" * 40,
    "-" + "9" * 40,
    "9" * 41,
    "9" * 40 + "e308",
    "0." + "1" * 39,
    "0." + "1" * 40,
    "-" + "9" * 4300,
    "9" * 4301,
    "0." + "1" * 3_999,
    "0." + "1" * 4_000,
    '{"a":1e999,"a":1}',
    '{"a":"\\u0000","a":1}',
    '{"\\u0000":1e999}',
    '"1e999,1e-999]"',
    "1.7976931348623157e308",
    "1.7976931348623159e308",
    "999999999999999.9",
    "True",
    "nul",
    "'text'",
    "undefined",
    '"\\u0000"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\uD83D"',
    '"\\x41"',
    '"\\u12G4"',
    '"\x00"',
    '"\x01"',
    '"\t"',
    '"\ud800"',
    "[1,]",
    '{"a":1,}',
    '{"a":1,"a":{"b":2}}',
    '{"\\u0000":1}',
    '{"\\udfff":1}',
    "/* comment */ 1",
)


@st.composite
def number_literals(draw: st.DrawFn) -> str:
    """Numbers as JSON writes them, around the bounds of digits and exponents."""
    digits = draw(st.sampled_from((1, 2, 5, 39, 40, 41, 60, 3_999, 4_001)))
    digit = draw(st.sampled_from("0195"))
    mantissa = ("9" if digits > 1 else "") + digit * (digits - (digits > 1))
    if digits > 1 and draw(st.booleans()):
        point = draw(st.integers(1, digits - 1))
        mantissa = mantissa[:point] + "." + mantissa[point:]
    sizes = st.sampled_from((0, 5, 307, 308, 309, 3_999, 4_001, 16_384, 131_072, 10**12))
    sign, zeros = draw(st.sampled_from(("", "+", "-"))), draw(st.sampled_from(("", "0", "0" * 45)))
    exponent = draw(st.just("") | sizes.map(lambda size: f"e{sign}{zeros}{size}"))
    return (
        draw(st.sampled_from(("", "-")))
        + mantissa
        + draw(st.sampled_from((exponent, exponent.upper())))
    )


@st.composite
def literals_near_bounds(draw: st.DrawFn) -> str:
    """Numbers that a double hardly distinguishes, or does not, from one that the plan names."""
    exact = Context(prec=2_000)
    bound = Decimal(draw(st.sampled_from((0, 1, 5, 100, 599, 10**15)))).copy_sign(
        draw(st.sampled_from((1, -1)))
    )
    digits = draw(st.sampled_from((1, 2, 3, 15, 16, 17, 18, 20, 30, 400, 900)))
    near = exact.add(bound, draw(st.sampled_from((-1, 0, 1))) * Decimal(f"1e-{digits}"))
    shift = draw(st.sampled_from((0, 99, 100, 400)) | st.integers(-20, 20))
    return f"{near.scaleb(-shift, exact):f}" + (f"E{shift}" if shift else "")


ODD_TIMESTAMPS = (
    "2016-01-14T23:59:59.999999Z",
    "2016-01-15T00:00:00Z",
    "2016-01-15T00:00:00+00:01",
    "1999-12-31T23:59:59.999999Z",
    "1999-12-31T23:59:59.9999999Z",
    "2000-01-01T00:00:00Z",
    "2000-01-01T00:00:00+00:01",
    "1999-12-31T23:00:00-01:00",
    "1999-06-01T00:00:00Z",
    "2026-01-16T12:00:00.250000Z",
    "2026-01-16T12:00:00.250001Z",
    "2026-01-16T12:00:01Z",
    "2027-01-01T00:00:00Z",
    "2026-01-16T13:00:00.25+01:00",
    "0000-01-01T00:00:00Z",
    "0000-02-30T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "9999-12-31T23:59:59Z",
    "10000-01-01T00:00:00Z",
    "2025-06-30T23:59:60Z",
    "2025-06-30T23:60:00Z",
    "2025-06-30T24:00:00Z",
    "2025-02-29T00:00:00Z",
    "2024-02-29T00:00:00Z",
    "2025-13-01T00:00:00Z",
    "2025-00-01T00:00:00Z",
    "2025-06-00T00:00:00Z",
    "2025-06-30T12:00:00",
    "2025-06-30T12:00Z",
    "2025-06-30",
    "2025-06-30T12:00:00+0100",
    "2025-06-30T12:00:00+01",
    "2025-06-30T12:00:00+24:00",
    "2025-06-30T12:00:00+23:59",
    "2025-06-30T12:00:00+01:60",
    "2025-06-30T12:00:00 +01:00",
    "2025-06-30T12:00:00\u221201:00",
    "2025-06-30T12:00:00.Z",
    "2025-06-30T12:00:00,5Z",
    "2025-06-30T12:00:00." + "5" * 500 + "Z",
    "2025-06-30_12:00:00Z",
    "2025-06-30  12:00:00Z",
    "20250630T120000Z",
    "2025-W27-1T12:00:00Z",
    "2025-181T12:00:00Z",
    " 2025-06-30T12:00:00Z",
    "2025-06-30T12:00:00Z\n",
    "2025-06-30T12:00:00Z\u0000",
    "２０２５-06-30T12:00:00Z",
    "2025-06-30T12:00:00UTC",
    "2025-06-30T12:00:00z",
    "2025-06-30t12:00:00-00:00",
    "1751284800",
    "now",
    "infinity",
    "",
)

ODD_EVENT_IDS = (
    *EVENT_IDS,
    "",
    "0b7c2c1e5d0e4c579c2e2f6d3a1b9e01",
    "{0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01}",
    "urn:uuid:0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01",
    "0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e0",
    "0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01\n",
    "0b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e0g",
    "0b7c2c1e-5d0e4-c57-9c2e-2f6d3a1b9e01",
    "٠b7c2c1e-5d0e-4c57-9c2e-2f6d3a1b9e01",
    5,
)

ODD_EVENT_NAMES = (
    *sorted(PLAN),
    "Session",
    " session",
    "session\u0000",
    "analytics.ingest_success",
    "analytics.ingest_failure",
    "analytics.aggregation_failure",
    "analytics.unheard_of",
    "unheard_of",
    "",
    ["session"],
    {"session": 1},
    7,
)


def _paths(value: Any, above: Path = ()) -> list[Path]:
    """Where the members of an event are, those of its objects included."""
    found = []
    if isinstance(value, dict):
        for name, member in value.items():
            found.append((*above, name))
            found += _paths(member, (*above, name))
    return found


def _parent(event: Event, path: Path) -> Event:
    for name in path[:-1]:
        event = event[name]
    return event


def _any_path(draw: st.DrawFn, event: Event) -> Path:
    paths = _paths(event)
    return draw(st.sampled_from(paths)) if paths else ("event",)


def _wrong_value(draw: st.DrawFn) -> Any:
    # A copy: later mutations may write into it.
    return deepcopy(draw(st.sampled_from(WRONG_VALUES)))


def _remove(draw: st.DrawFn, event: Event) -> None:
    path = _any_path(draw, event)
    _parent(event, path).pop(path[-1], None)


def _replace(draw: st.DrawFn, event: Event) -> None:
    path = _any_path(draw, event)
    _parent(event, path)[path[-1]] = _wrong_value(draw)


def _replace_by_raw_text(draw: st.DrawFn, event: Event) -> None:
    path = _any_path(draw, event)
    _parent(event, path)[path[-1]] = Raw(draw(st.sampled_from(RAW_VALUES)))


def _replace_planned_property(draw: st.DrawFn, event: Event) -> None:
    rule = PLAN.get(event["event"]) if isinstance(event.get("event"), str) else None
    names = [*rule["required"], *rule["optional"]] if rule else []
    properties = event.get("properties")
    if not names or not isinstance(properties, dict):
        event["properties"] = _wrong_value(draw)
        return
    properties[draw(st.sampled_from(names))] = _wrong_value(draw)


def _replace_context_member(draw: st.DrawFn, event: Event) -> None:
    names = ("session_id", "ip", "page", "campaign", "consent", "dnt", "source", "sequence")
    context = event.get("context")
    if not isinstance(context, dict):
        context = event["context"] = {}
    context[draw(st.sampled_from(names))] = _wrong_value(draw)


def _change_consent(draw: st.DrawFn, event: Event) -> None:
    decisions = (
        True, False, None, 0, 1, 1.0, -0.0, 2, "false", "true", " Denied", "NO", "off", "1", "0",
        "\u00a0Yes", "on", "granted", "", [True], {"granted": False},
    )  # fmt: skip
    context = event.get("context")
    if not isinstance(context, dict):
        context = event["context"] = {}
    decision = draw(st.sampled_from(decisions))
    context["consent"] = draw(st.sampled_from(({"analytics": decision}, decision)))
    if draw(st.booleans()):
        context["dnt"] = draw(st.sampled_from(decisions))
    if draw(st.booleans()):
        context["source"] = draw(st.sampled_from(("web", "marketing_site", "api", "WEB\t", 5)))


def _withhold_consent(draw: st.DrawFn, event: Event) -> None:
    event["event"] = draw(st.sampled_from(CONSENT_EVENTS))
    event["context"] = deepcopy(
        draw(
            st.sampled_from(
                (
                    {"dnt": True},
                    {"consent": {"analytics": False}},
                    {"source": "web"},
                    {"source": "marketing_site", "consent": None},
                    {"source": "web", "consent": "yes"},
                    {"source": "web", "consent": {"analytics": True}, "dnt": True},
                )
            )
        )
    )


def _add_unknown(draw: st.DrawFn, event: Event) -> None:
    containers = [()] + [path for path in _paths(event) if isinstance(_at(event, path), dict)]
    target = _at(event, draw(st.sampled_from(containers)))
    name = draw(st.sampled_from(("Event", "event ", "type", "received_at", "", "id")) | texts())
    target.setdefault(name, draw(json_values()))


def _at(event: Event, path: Path) -> Any:
    return _parent(event, (*path, ""))


def _replace_timestamp(draw: st.DrawFn, event: Event) -> None:
    event["timestamp"] = draw(st.sampled_from(ODD_TIMESTAMPS))


def _replace_event_id(draw: st.DrawFn, event: Event) -> None:
    event["event_id"] = draw(st.sampled_from(ODD_EVENT_IDS))


def _replace_event_name(draw: st.DrawFn, event: Event) -> None:
    event["event"] = draw(st.sampled_from(ODD_EVENT_NAMES))


def _replace_client(draw: st.DrawFn, event: Event) -> None:
    if isinstance(event.get("actor"), dict):
        event["actor"]["client_id"] = draw(st.sampled_from(("", "x" * 129, "😀" * 129, None, 5)))


def _lengthen_key(draw: st.DrawFn, event: Event) -> None:
    """Make an id or the name of a kind as long as it may be, or longer by one."""
    lengths = [("actor", name, MAX_ID_LENGTH) for name in OPTIONAL_ACTOR_STRINGS]
    lengths += [("context", name, MAX_ID_LENGTH) for name in ("session_id", "producer")]
    keys = KEY_LENGTHS.get(event["event"], {}) if isinstance(event.get("event"), str) else {}
    lengths += [("properties", name, length) for name, length in keys.items()]
    part, name, length = draw(st.sampled_from(lengths))
    if isinstance(event.get(part), dict):
        event[part][name] = draw(st.sampled_from("x😀")) * (length + draw(st.integers(0, 1)))


def _spoil_text(draw: st.DrawFn, event: Event) -> None:
    """Put a NUL or a lone surrogate into a string or a name anywhere."""
    spoiler = draw(st.sampled_from(("\x00", "a\x00b", "\ud800", "\udfff", "\udc00\ud800")))
    path = _any_path(draw, event)
    parent, name = _parent(event, path), path[-1]
    where = draw(st.sampled_from(("value", "name", "inside")))
    if where == "value":
        parent[name] = spoiler
    elif where == "name":
        parent[name + spoiler] = parent.pop(name, None)
    else:
        parent[name] = [{"deep": ["inside", spoiler]}]


def _nest(draw: st.DrawFn, event: Event) -> None:
    """Nest to just within, or just beyond, the depth that is allowed."""
    part = draw(st.sampled_from(("properties", "context", "actor")))
    if not isinstance(event.get(part), dict):
        event[part] = {}
    # The event and the part are two levels above.
    levels = draw(st.sampled_from((MAX_DEPTH - 2, MAX_DEPTH - 1, MAX_DEPTH, 2_000)))
    opening, closing = draw(st.sampled_from((("[", "]"), ('{"a":', "}"))))
    innermost = "" if opening == "[" else "{}"
    inner_levels = levels if opening == "[" else levels - 1
    event[part]["nested"] = Raw(opening * inner_levels + innermost + closing * inner_levels)


def _repeat_member(draw: st.DrawFn, event: Event) -> None:
    """Give an object the same member twice: the last one wins."""
    part = draw(st.sampled_from(("actor", "context", "properties")))
    members = event.get(part)
    if not isinstance(members, dict) or not members:
        return
    name = draw(st.sampled_from(sorted(members)))
    other = draw(st.sampled_from((None, 5, "other", {}, [])))
    twice = [(name, other), (name, members[name])]
    if draw(st.booleans()):
        twice.reverse()
    rest = [(each, value) for each, value in members.items() if each != name]
    written = [f"{_quoted(each)}:{write(value)}" for each, value in [*twice, *rest]]
    event[part] = Raw("{" + ",".join(written) + "}")


def _repeat_top_member(draw: st.DrawFn, event: Event) -> None:
    """Give the event a member twice that is another the first time."""
    name = draw(st.sampled_from(sorted(event)))
    other = _wrong_value(draw)
    if name == "event":
        other = draw(st.sampled_from(sorted(PLAN)))
    elif name == "context":
        other = {"ip": "192.0.2.9", "dnt": True}
    event[name] = Raw(f"{write(other)},{_quoted(name)}:{write(event[name])}")


def _pad(draw: st.DrawFn, event: Event) -> None:
    """Make the line as long as it may be, or a little shorter or longer."""
    length = MAX_LINE_BYTES + draw(st.sampled_from((-1, 0, 1, 5)))
    event["properties"] = {**_object_or_empty(event.get("properties")), "padding": ""}
    missing = length - len(write(event).encode("utf-8", "surrogatepass"))
    event["properties"]["padding"] = "x" * missing


def _object_or_empty(value: Any) -> Event:
    return value if isinstance(value, dict) else {}


# Some are more telling than others and stand here twice. Padding is not among them: nothing may
# change a line's length after it.
MUTATIONS: tuple[Callable[[st.DrawFn, Event], None], ...] = (
    _replace_timestamp,
    _replace_timestamp,
    _replace_planned_property,
    _replace_planned_property,
    _add_unknown,
    _add_unknown,
    _replace,
    _replace,
    _remove,
    _replace_by_raw_text,
    _replace_context_member,
    _change_consent,
    _withhold_consent,
    _replace_event_id,
    _replace_event_name,
    _replace_client,
    _lengthen_key,
    _spoil_text,
    _nest,
    _repeat_member,
    _repeat_top_member,
)


def _quoted(text: str, *, ascii_only: bool = False) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)


def write(value: Any, *, ascii_only: bool = False, space: str = "", escaped: bool = False) -> str:
    """Write JSON: with `space` between tokens, and each string's first letter `escaped`."""

    def string(text: str) -> str:
        if escaped and text and ord(text[0]) < 0x80:
            return f'"\\u{ord(text[0]):04x}' + _quoted(text[1:], ascii_only=ascii_only)[1:]
        return _quoted(text, ascii_only=ascii_only)

    def anything(each: Any) -> str:
        if isinstance(each, Raw):
            return each.text
        if isinstance(each, str):
            return string(each)
        if isinstance(each, dict):
            members = [
                f"{string(name)}{space}:{space}{anything(member)}" for name, member in each.items()
            ]
            return "{" + space + f"{space},{space}".join(members) + space + "}"
        if isinstance(each, list):
            return "[" + f"{space},{space}".join(anything(element) for element in each) + "]"
        return json.dumps(each)

    return anything(value)


@st.composite
def written(draw: st.DrawFn, event: Event) -> bytes:
    """An event as a line, in one of the many ways to write the same JSON."""
    if draw(st.booleans()):
        event = {name: event[name] for name in draw(st.permutations(list(event)))}
    text = write(
        event,
        ascii_only=draw(st.booleans()),
        space=draw(st.sampled_from(("", "", " ", "\t", " \r"))),
        escaped=draw(st.integers(0, 5)) == 5,
    )
    before, after = draw(st.sampled_from((("", ""), ("", ""), (" ", "\t"), ("\t \r", "  \r "))))
    # A lone surrogate that is not escaped is no UTF-8: let it through, to be refused.
    return (before + text + after).encode("utf-8", "surrogatepass")


@st.composite
def mutated_events(draw: st.DrawFn) -> Event:
    """Valid events with one to three things changed, most of which make them invalid."""
    event = draw(valid_events())
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=3)):
        mutate(draw, event)
    return event


@st.composite
def _long_lines(draw: st.DrawFn) -> bytes:
    event = draw(valid_events())
    _pad(draw, event)
    return write(event).encode()


@st.composite
def _damaged(draw: st.DrawFn, line: bytes) -> bytes:
    """The line cut off, with bytes put in, or with something before or behind it."""
    position = draw(st.integers(0, len(line)))
    damage = draw(st.sampled_from(("cut", "insert", "drop", "append", "mark")))
    if damage == "cut":
        return line[:position]
    if damage == "drop":
        return line[:position] + line[position + 1 :]
    if damage == "append":
        return line + draw(st.sampled_from((b",", b"}", b"{}", b"null", b"\x00", b"#")))
    if damage == "mark":
        return BYTE_ORDER_MARK + line
    noise = (b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b'"')
    return line[:position] + draw(st.sampled_from(noise)) + line[position:]


NO_OBJECTS = (
    b"[]",
    b"[{}]",
    b"null",
    b"true",
    b"5",
    b"NaN",
    b"-Infinity",
    b"1e400",
    b'"text"',
    b'"\\ud800"',
    b'["\\udc00"]',
    b'"\\u0000"',
    b"[" * 64 + b"]" * 64,
    b"[" * 65 + b"]" * 65,
    b"[" * 100_000,
    b"{}",
    b'{"event":"session"}',
    b'{"type":"chat","development_id":"d-1","unit_id":"u-1"}',
    "\ufeff".encode("utf-16"),
)
BLANKS = (b"", b" ", b"\t \t", b"\r", b" \r ")


@cache
def lines() -> st.SearchStrategy[bytes]:
    """One line without its newline: valid, mutated, damaged, blank or anything at all.

    About half of them are valid.
    """
    valid = valid_events().flatmap(written)
    mutated = mutated_events().flatmap(written)
    weighted = (
        *[valid] * 9,
        *[mutated] * 8,
        valid.flatmap(_damaged),
        st.sampled_from(NO_OBJECTS),
        st.one_of(
            json_values().map(write).map(str.encode),
            st.binary(max_size=40),
            texts().map(str.encode),
            _long_lines(),
            st.sampled_from(BLANKS),
        ).map(lambda line: line.replace(b"\n", b"")),
    )
    return st.sampled_from(weighted).flatmap(lambda strategy: strategy)


@st.composite
def _retold(draw: st.DrawFn, event: Event) -> bytes:
    """An earlier event again: as it was, or different where it may be a duplicate still."""
    event = dict(event)
    change = draw(st.sampled_from(("nothing", "nothing", "case", "ip", "content", "client")))
    event_id = event.get("event_id")
    if change == "case" and isinstance(event_id, str):
        event["event_id"] = event_id.swapcase()
    elif change == "ip" and isinstance(event.get("context"), dict):
        event["context"] = {**event["context"], "ip": draw(st.sampled_from(("::1", "10.0.0.9")))}
    elif change == "content":
        event["properties"] = {**_object_or_empty(event.get("properties")), "told": "again"}
    elif change == "client":
        event["actor"] = {**event["actor"], "client_id": draw(st.sampled_from(CLIENT_IDS))}
    return draw(written(event))


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


@st.composite
def files(draw: st.DrawFn, max_lines: int = 60) -> bytes:
    """A whole file, repeats of earlier lines and events among its lines."""
    size = draw(st.integers(0, max_lines))
    so_far: list[bytes] = []
    events: list[Event] = []
    for _ in range(size):
        kind = draw(st.sampled_from(("line", "line", "event", "event", "repeat", "retell")))
        if kind == "repeat" and so_far:
            so_far.append(draw(st.sampled_from(so_far)))
        elif kind == "retell" and events:
            so_far.append(draw(_retold(draw(st.sampled_from(events)))))
        elif kind == "event":
            events.append(draw(valid_events()))
            so_far.append(draw(written(events[-1])))
        else:
            so_far.append(draw(lines()))

    first = next((number for number, line in enumerate(so_far) if line.strip()), None)
    if first is not None and not _is_object(so_far[first]):
        # Joined objects or an array without a line beside them are no file of lines (test_formats).
        so_far.insert(first + 1, draw(valid_events().flatmap(written)))

    ends = draw(st.sampled_from(((b"\n",), (b"\n",), (b"\r\n",), (b"\n", b"\r\n"))))
    content = b"".join(line + draw(st.sampled_from(ends)) for line in so_far)
    if draw(st.integers(0, 3)) == 0:
        content = content.removesuffix(b"\n").removesuffix(b"\r")
    if draw(st.integers(0, 3)) == 0:
        content = BYTE_ORDER_MARK + content
    return content
