"""The reference page for producers: what may be sent, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from ingestion.contract.consent import BROWSER_SOURCES, DENIED, DO_NOT_TRACK
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
        f"a line of more than {LARGEST_LINE:,} bytes; the first {LONGEST_KEPT_LINE:,} are kept, "
        "and it can't be replayed"
    ),
    Reason.INVALID_ENCODING: "not UTF-8",
    Reason.INVALID_JSON: (
        "not JSON (NaN, Infinity and lone surrogates are none either), or nested deeper than "
        f"{DEEPEST_NESTING}"
    ),
    Reason.NOT_AN_OBJECT: "JSON, but no object",
    Reason.UNKNOWN_FIELD: "an unknown top-level member, of an entity any unknown column",
    Reason.MISSING_FIELD: "a required member is absent or null",
    Reason.UNKNOWN_EVENT: "no event of this page",
    Reason.INVALID_FIELD: (
        "a wrong type, range, enumeration or UUID, a time without offset, a string with NUL, a "
        "number with too many digits"
    ),
    Reason.TIMESTAMP_OUT_OF_RANGE: (
        f"before the earliest day that is taken ({YEARS_BACK} years before receipt, unless the "
        f"warehouse is set to another day; never before {FIRST_TIMESTAMP:%Y-%m-%d}), or more than "
        f"{_HOURS_AHEAD:.0f} h after receipt"
    ),
}


def reference_page(plan: Plan) -> Iterator[str]:
    """Yield the lines of the reference page for producers, in Markdown."""
    yield "# Events"
    yield ""
    yield (
        "One JSON object per line: `event`, `timestamp` (RFC 3339 with offset), `actor`, and where "
        "there is more to say `event_id` (UUID), `context`, `properties`. An optional member that "
        "is null counts as absent, and so does an empty string in `actor`, `context.session_id` or "
        "any member of `context.campaign`. Of members with one name the last counts. Unknown "
        "members of actor, context and properties are kept; an unknown top-level member is "
        f"refused. Numbers of this page lie within ±{LARGEST_NUMBER:,}; any other number has at "
        f"most {MOST_DIGITS} digits, and an exponent within ±{LARGEST_EXPONENT}."
    )
    yield ""
    yield from _fates()
    yield from _member_table("Actor", plan.actor)
    yield from _member_table("Context", plan.context)
    yield from _privacy()
    for name, event in plan.events.items():
        yield f"## `{name}`"
        yield ""
        yield f"{event.description} Used for: {event.used_for}."
        if event.consent:
            yield (
                "**Needs consent**: suppressed where consent is refused, and from `web` and "
                "`marketing_site` unless `context.consent.analytics` is true (see *Privacy*)."
            )
        if event.requires:
            yield f"Requires {', '.join(f'`{path}`' for path in event.requires)}."
        if event.requires_one_of:
            yield f"Requires one of {', '.join(f'`{path}`' for path in event.requires_one_of)}."
        yield ""
        if event.properties:
            yield from _member_table(None, event.properties)
    yield from _entities()


def _privacy() -> Iterator[str]:
    yield "## Privacy"
    yield ""
    yield (
        "**Consent** is decided first, whatever else is wrong with a line. A refusal counts "
        f"however it is written: {_written(DO_NOT_TRACK)} in `context.dnt`, {_written(DENIED)} in "
        "`context.consent.analytics` or in `context.consent` itself, in any case and with space "
        f"around it. From {_written(BROWSER_SOURCES)} (a browser, in any case) nothing is tracked "
        "before `context.consent.analytics` is `true`. What is neither a boolean nor a refusal is "
        "an `invalid_field`."
    )
    yield ""
    yield (
        "**Addresses** are not kept: `context.ip` is removed whatever it holds. From it and the "
        "user agent comes `visitor_hash`, under a salt that is destroyed within 48 h after its "
        "day, and from it alone a country, where a country database is installed. The first "
        "address of a list counts, with or without port, however it is spelled; what is no "
        "address is none. All else is kept as it came, the user agent too: an address under "
        "another name, or within a text, is the producer's own doing. Refused lines are kept byte "
        "for byte, for 30 days, and the owner of the warehouse alone can read them."
    )
    yield ""


def _written(values: frozenset[Any]) -> str:
    texts = sorted({value for value in values if isinstance(value, str)})
    return ", ".join(f"`{text}`" for text in texts)


def _fates() -> Iterator[str]:
    yield "## What becomes of a line"
    yield ""
    yield "Each line is one of these, and counted; lines of white space only are none."
    yield ""
    yield "- **accepted**: it lands, once."
    yield (
        "- **duplicate**: `actor.client_id`, `event_id` and `timestamp` have landed before. The "
        "first stays. Without an `event_id` one is derived from the whole event less "
        "`context.ip`: the same line sent again is a duplicate."
    )
    yield (
        "- **suppressed**: consent is missing, or it is of somebody who was erased. Its event and "
        "day are counted, its content is not kept."
    )
    yield (
        "- **rejected**: it waits in the quarantine with a reason and what to mend; `warehouse "
        "rejected` lists, shows and, once the plan is mended, replays it. Its payload is destroyed "
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
        "What a thing looks like now: NDJSON, or CSV with a header, in which an empty cell is "
        "absent and nothing else is (`NULL` is a text). A number is written as JSON writes "
        "numbers, in a cell too, and kept to its last digit; NDJSON refuses one in quotes. "
        "Of the rows with one key (the first column) that with the newest `updated_at` "
        "stands, whatever order they come in. Times are as in events, from "
        f"{FIRST_TIMESTAMP:%Y-%m-%d} on. A client has churned once "
        "`churned_at` is given; status `churned` needs it."
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
    words = [names.get(member.type, member.type)]
    if member.minimum is not None and member.maximum is not None:
        words.append(f"{member.minimum} to {member.maximum}")
    elif member.minimum is not None:
        words.append(f"≥ {member.minimum}")
    if member.max_length is not None:
        fewest = "1 to" if member.empty_is_absent else "at most"
        words.append(f"{fewest} {member.max_length} characters")
    if member.one_of:
        words.append("one of " + ", ".join(f"`{value}`" for value in member.one_of))
    return ", ".join(words)
