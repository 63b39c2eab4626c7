"""Events that the contract accepts and that are made to break what reads them."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.properties.strategies import valid_events
from tests.reference.intake import (
    CAMPAIGN_STRINGS,
    KEY_LENGTHS,
    MAX_CLIENT_ID_LENGTH,
    MAX_ID_LENGTH,
    OPTIONAL_ACTOR_STRINGS,
    PAGE_STRINGS,
    PLAN,
)

Event = dict[str, Any]

# Four bytes a character, and nothing that compresses: what an index can hold is counted in bytes.
_SPARSE = "".join(map(chr, Random("sparse").choices(range(0x10000, 0x110000), k=12_000)))
_LETTERS = "".join(map(chr, Random("letters").choices(range(0x21, 0x7F), k=100_000)))
# What is no key has no length of its own; with this one a line is not too large.
LONGEST = 12_000
ODD_TEXTS = (
    "\\", "\\x00", "\\000", "%", "_", "''", '"', "{", "[", "{}", "null", "none", "other", "unknown",
    "infinity", "-infinity", "NaN", "epoch", "\x01", "\x7f", "\u202e", "\U0010ffff", "\ufffe",
    "a\u0301" * 50, "İ", "ß", "$$", "$make_view$", ";", "--", "/*", "{{ this }}", "{% raw %}",
)  # fmt: skip
URLS = (
    "http://", "https://[::1", "https://[::1]:99999999/", "http://a@b:c@d/", "//", "https://..",
    "HTTPS://WWW.EXAMPLE.COM.", "http://%00%ff/", "https://www.", "android-app://x", "http:\\\\x",
    "https://例え.テスト/?q=#", "https://" + "a." * 4_000, "https://" + "a" * 70_000,
    "https://user:" + "@" * 3_000 + "x",
)  # fmt: skip
# The ends of what the contract takes, and numbers that no double holds.
WHOLES = (0, 1, 10**15, 10**15 - 1)
NUMBERS = (*WHOLES, 1e-300, 5e-324, 0.1, 999_999_999_999_999.9)


@st.composite
def hostile_events(draw: st.DrawFn) -> Event:
    """One event of the plan; what it says is as long, odd or large as the contract takes."""
    event = draw(valid_events())
    context = {**(event.get("context") or {}), "consent": {"analytics": True}, "dnt": False}
    event["context"] = context
    for part, name, length in draw(
        st.lists(st.sampled_from(_places(event)), max_size=3, unique_by=lambda place: place[:2])
    ):
        text = draw(_texts(length))
        if part in PAGE_AND_CAMPAIGN:
            context[part] = {**(context.get(part) or {}), name: text}
        elif part == "sections":
            event["properties"][name] = [text] * draw(st.integers(0, 3))
        else:
            event[part][name] = text
    for name, rule in _planned(event).items():
        if rule["type"] in {"whole", "number"} and draw(st.booleans()):
            low = 0 if rule["minimum"] is None else rule["minimum"]
            high = 10**15 if rule["maximum"] is None else rule["maximum"]
            numbers = WHOLES if rule["type"] == "whole" else NUMBERS
            event["properties"][name] = min(max(draw(st.sampled_from(numbers)), low), high)
    return event


PAGE_AND_CAMPAIGN = {"page": PAGE_STRINGS, "campaign": CAMPAIGN_STRINGS}


def _planned(event: Event) -> Any:
    rule = PLAN[event["event"]]
    event["properties"] = event.get("properties") or {}
    return {**rule["required"], **rule["optional"]}


def _places(event: Event) -> list[tuple[str, str, int]]:
    """Where a text may stand, and how long it may be."""
    keys = KEY_LENGTHS.get(event["event"], {})
    return [
        ("actor", "client_id", MAX_CLIENT_ID_LENGTH),
        *(("actor", name, MAX_ID_LENGTH) for name in OPTIONAL_ACTOR_STRINGS),
        *(("context", name, MAX_ID_LENGTH) for name in ("session_id", "producer")),
        ("context", "user_agent", LONGEST),
        *((part, name, LONGEST) for part, names in PAGE_AND_CAMPAIGN.items() for name in names),
        *(
            (
                "sections" if rule["type"] == "strings" else "properties",
                name,
                keys.get(name, LONGEST),
            )
            for name, rule in _planned(event).items()
            if rule["type"] == "strings" or (rule["type"] == "string" and rule["enum"] is None)
        ),
    ]


@st.composite
def _texts(draw: st.DrawFn, length: int) -> str:
    """A text that is not empty: a sparse one, as long as it may be, where it may be anything."""
    start = draw(st.integers(0, 3)) * 64
    choices = [_SPARSE[start:][:length], _LETTERS[start:][: 8 * length], *ODD_TEXTS, *URLS]
    return draw(st.sampled_from([text for text in choices if len(text) <= length] or ["x"]))
