"""The reference page for producers: the events and entities, and how lines are processed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from ingestion.contract.consent import BROWSER_SOURCES, DENIED, DO_NOT_TRACK
from ingestion.contract.examples import example_line
from ingestion.contract.line import (
    DEEPEST_NESTING,
    FIRST_TIMESTAMP,
    LARGEST_EXPONENT,
    LARGEST_LINE,
    MOST_DIGITS,
    Reason,
)
from ingestion.contract.tracking_plan import LARGEST_NUMBER, Member, Plan
from ingestion.contract.validator import FURTHEST_AHEAD, YEARS_BACK
from ingestion.load.chunks import LONGEST_KEPT_LINE
from ingestion.load.entities import SHAPES

_HOURS_AHEAD = FURTHEST_AHEAD.total_seconds() / 3600
_WHEN = {
    Reason.TOO_LARGE: (
        f"more than {LARGEST_LINE:,} bytes; only the first {LONGEST_KEPT_LINE:,} are kept, so it "
        "can't be replayed"
    ),
    Reason.INVALID_ENCODING: "not UTF-8",
    Reason.INVALID_JSON: (
        "not JSON (NaN, Infinity and lone surrogates are not JSON), or nested deeper than "
        f"{DEEPEST_NESTING} levels"
    ),
    Reason.NOT_AN_OBJECT: "JSON, but not an object",
    Reason.UNKNOWN_FIELD: "an unknown top-level member; for an entity, any unknown column",
    Reason.MISSING_FIELD: "a required member is absent or null",
    Reason.UNKNOWN_EVENT: "an event that is not on this page",
    Reason.INVALID_FIELD: (
        "a wrong type, a value out of range or not in its list, an invalid UUID, a time without "
        "offset, a string with NUL, a number with too many digits"
    ),
    Reason.TIMESTAMP_OUT_OF_RANGE: (
        f"before the earliest accepted day ({YEARS_BACK} years before receipt, unless "
        f"WAREHOUSE_EARLIEST_EVENT sets another day; never before {FIRST_TIMESTAMP:%Y-%m-%d}), or "
        f"more than {_HOURS_AHEAD:.0f} h after receipt"
    ),
}


def reference_page(plan: Plan) -> Iterator[str]:
    """Yield the lines of the reference page for producers, in Markdown."""
    yield "# Events"
    yield ""
    yield (
        "Send one JSON object per line (NDJSON), or one JSON array of them; gzip and zstd are "
        "unpacked. `warehouse plan --json-schema` prints the JSON Schema of all events; "
        "`warehouse load --dry-run FILE` shows what would become of a file's lines."
    )
    yield ""
    yield from _envelope()
    yield from _outcomes()
    yield from _member_table("Actor", plan.actor)
    yield from _member_table("Context", plan.context)
    yield from _measured_loss()
    yield from _privacy()
    for name, event in plan.events.items():
        yield f"## `{name}`"
        yield ""
        yield f"{event.description} Used for: {event.used_for}."
        if event.consent:
            yield (
                "**Needs consent**: suppressed if consent is refused, and from `web` and "
                "`marketing_site` unless `context.consent.analytics` is true (see *Privacy*)."
            )
        if event.browser:
            yield "**From pages too**: a browser key may send it to the collector."
        if event.requires:
            yield f"Requires {', '.join(f'`{path}`' for path in event.requires)}."
        if event.requires_one_of:
            yield f"Requires one of {', '.join(f'`{path}`' for path in event.requires_one_of)}."
        yield ""
        if event.properties:
            yield from _member_table(None, event.properties)
        yield "```json"
        yield example_line(plan, name)
        yield "```"
        yield ""
    yield from _entities()


_ENVELOPE = {
    "event": ("string", "yes", "The event's name: one of this page."),
    "timestamp": (
        "string",
        "yes",
        "When it happened: RFC 3339 with offset or `Z`, such as `2026-01-31T23:59:59.123Z`. Digits "
        "beyond microseconds are cut off.",
    ),
    "actor": ("object", "yes", "Who did it, and whose it is: see *Actor*."),
    "event_id": (
        "UUID",
        "",
        "The event's identity, together with client and timestamp. Keep it when you send an event "
        "again: then it counts once. Without one it is derived from the whole event without "
        "`context.ip`.",
    ),
    "context": ("object", "", "The circumstances: see *Context*."),
    "properties": ("object", "", "The event's own members, listed with each event."),
}


def _envelope() -> Iterator[str]:
    yield "## Envelope"
    yield ""
    yield "| member | type | required | meaning |"
    yield "|---|---|---|---|"
    for name, cells in _ENVELOPE.items():
        yield f"| `{name}` | {' | '.join(cells)} |"
    yield ""
    yield (
        "An optional member that is null counts as absent, and so does an empty string in "
        "`actor`, `context.session_id` or any member of `context.campaign`. If a name occurs "
        "twice in an object, the last member counts. A line with an unknown top-level member is "
        "rejected. Unknown members of actor, context and properties are kept and reported, "
        "because they may be misspellings: by `warehouse load`, and in `marts.unknown_members`. "
        f"Numbers on this page are within ±{LARGEST_NUMBER:,}; any other number has at most "
        f"{MOST_DIGITS} digits, and an exponent within ±{LARGEST_EXPONENT}."
    )
    yield ""


def _measured_loss() -> Iterator[str]:
    yield "## Measured loss"
    yield ""
    yield (
        "`context.producer` and `context.sequence` let the warehouse count events that never "
        "arrive: the numbers that are missing (`marts.ingest_loss_daily`). Each program that "
        "sends has a name of its own, and numbers its events 0, 1, 2, … without gaps, also "
        "those that the warehouse rejects or suppresses. Two processes never share a name: add "
        "what tells them apart, such as the host."
    )
    yield ""
    yield (
        "**After a restart** the numbers go on: store the last one that was given before the "
        "event is sent, and continue after it. A program that can't store anything takes a new "
        "name with each start, such as `checkout-1-20260131T093000Z`, and begins at 0; events "
        "that it lost at its end are then not noticed. Never begin again at 0 under the same "
        "name: a number that comes twice counts once, so losses would be hidden. An event that "
        "is sent again keeps its number."
    )
    yield ""


def _privacy() -> Iterator[str]:
    yield "## Privacy"
    yield ""
    yield (
        "**Consent** is checked before the validity of the members. A refusal counts in each of "
        f"these spellings: {_code_list(DO_NOT_TRACK)} in `context.dnt`, {_code_list(DENIED)} in "
        "`context.consent.analytics` or in `context.consent` itself, in upper or lower case and "
        f"with space around it. Events from {_code_list(BROWSER_SOURCES)} (browsers, in upper or "
        "lower case) need an opt-in: `context.consent.analytics` is `true`. A value that is "
        "neither a boolean nor a refusal is rejected as `invalid_field`."
    )
    yield ""
    yield (
        "**IP addresses** are not kept: `context.ip` is removed, whatever it contains. It is used "
        "for `visitor_hash`, a hash of the address and the user agent with a salt that is "
        "destroyed within 48 h after its day, and for the country, if a country database is "
        "installed. Of a list the first address counts, with or without port, in any "
        "spelling; a value that is not an address is ignored. Everything else is kept as received, "
        "including the user agent: the producer is responsible for addresses in other members. "
        "Rejected lines are kept byte for byte for 30 days; only the owner of the warehouse can "
        "read them."
    )
    yield ""


def _code_list(values: frozenset[Any]) -> str:
    texts = sorted({value for value in values if isinstance(value, str)})
    return ", ".join(f"`{text}`" for text in texts)


def _outcomes() -> Iterator[str]:
    yield "## Outcomes of a line"
    yield ""
    yield "Every line has exactly one outcome and is counted. Blank lines are ignored."
    yield ""
    yield "- **accepted**: the event is stored."
    yield (
        "- **duplicate**: an event with the same `actor.client_id`, `event_id` and `timestamp` is "
        "stored already. The first one stays. Without an `event_id` one is derived from the whole "
        "event without `context.ip`, so the same line sent again is a duplicate."
    )
    yield (
        "- **suppressed**: consent is missing, or the line names an erased subject. Its event and "
        "day are counted; its content is not kept."
    )
    yield (
        "- **rejected**: the line is kept in the quarantine with a reason and a message that says "
        "what to fix: all faults of its members, up to ten. `warehouse rejected` lists and shows "
        "rejected lines, and replays them after the plan was fixed. Their content is destroyed "
        "after 30 days."
    )
    yield ""
    yield "| reason | when |"
    yield "|---|---|"
    yield from (f"| `{reason}` | {_WHEN[reason]} |" for reason in Reason)
    yield ""


def _entities() -> Iterator[str]:
    yield "## Entities"
    yield ""
    yield (
        "The current state of clients, units, users and documents, as NDJSON or as CSV with a "
        "header. In CSV only an empty cell is absent (`NULL` is a text). Numbers are written as in "
        "JSON, also in CSV, and kept exactly; in NDJSON a number in quotes is rejected. Of several "
        "rows with the same key (the first column) the one with the newest `updated_at` is kept, "
        "in whatever order they are loaded. Times have the same format as in events and are not "
        f"before {FIRST_TIMESTAMP:%Y-%m-%d}. A client has churned if `churned_at` is given; status "
        "`churned` requires it."
    )
    yield ""
    for kind, shape in SHAPES.items():
        yield f"### `{kind}`"
        yield ""
        yield "| column | type | required |"
        yield "|---|---|---|"
        for field in msgspec.structs.fields(shape):
            required = "yes" if field.required else ""
            yield f"| `{field.name}` | {_column_type(field)} | {required} |"
        yield ""


def _column_type(field: msgspec.structs.FieldInfo) -> str:
    if field.name.endswith("_at"):
        return "time"
    type_ = inspect.type_info(field.type)
    if isinstance(type_, inspect.UnionType):
        (type_,) = (t for t in type_.types if not isinstance(t, inspect.NoneType))
    match type_:
        case inspect.LiteralType(values):
            return "one of " + ", ".join(f"`{value}`" for value in sorted(values))
        case inspect.IntType():
            return "whole number, ≥ 0"
        case inspect.DecimalType():
            return "amount in USD, ≥ 0"
        case inspect.StrType(min_length=int(fewest), max_length=int(most)):
            return f"string, {fewest} to {most} characters"
    return "string"


def _member_table(title: str | None, members: dict[str, Member]) -> Iterator[str]:
    if title:
        yield f"## {title}"
        yield ""
    yield "| member | type | required | personal data | meaning |"
    yield "|---|---|---|---|---|"
    for path, member in _flat(members):
        required = "yes" if member.required else ""
        personal = "yes" if member.personal else ""
        yield f"| `{path}` | {_type(member)} | {required} | {personal} | {member.description} |"
    yield ""


def _flat(members: dict[str, Member], prefix: str = "") -> Iterator[tuple[str, Member]]:
    for name, member in members.items():
        yield prefix + name, member
        yield from _flat(member.members, f"{prefix}{name}.")


def _type(member: Member) -> str:
    names = {"integer": "whole number", "strings": "list of strings"}
    terms = [names.get(member.type, member.type)]
    if member.minimum is not None and member.maximum is not None:
        terms.append(f"{member.minimum} to {member.maximum}")
    elif member.minimum is not None:
        terms.append(f"≥ {member.minimum}")
    if member.max_length is not None:
        fewest = "1 to" if member.empty_is_absent else "at most"
        terms.append(f"{fewest} {member.max_length} characters")
    if member.one_of:
        terms.append("one of " + ", ".join(f"`{value}`" for value in member.one_of))
    return ", ".join(terms)
