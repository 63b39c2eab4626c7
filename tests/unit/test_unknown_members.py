"""Which members the plan does not know, how they are counted, and what they may stand for."""

from __future__ import annotations

import pytest

from ingestion.contract.unknown_members import UnknownNames, nearest_known
from ingestion.load import unknown_members
from ingestion.load.unknown_members import (
    LONGEST_NAME,
    MEMBERS_BY_NAME,
    UnknownMember,
    count_by_member,
)


@pytest.mark.parametrize(
    ("event", "path", "name", "nearest"),
    [
        ("chat", "properties", "token_prompt", "properties.tokens_prompt"),
        ("chat", "properties", "tokensPrompt", "properties.tokens_prompt"),
        ("chat", "properties", "MODEL_NAME", "properties.model_name"),
        ("chat", "context.page", "pth", "context.page.path"),
        ("chat", "actor", "userid", "actor.user_id"),
        # The right name in the wrong place.
        ("chat", "properties", "anonymous_id", "actor.anonymous_id"),
        ("page_view", "context", "path", "context.page.path"),
        ("chat", "properties", "colour", None),
        ("chat", "properties", "", None),
        ("qualified", "properties", "x", None),
    ],
)
def test_the_nearest_known_member_is_of_the_same_object_if_one_is_similar(
    event: str, path: str, name: str, nearest: str | None
) -> None:
    assert nearest_known(event, path, name) == nearest


def test_members_are_counted_by_event_and_the_most_frequent_come_first() -> None:
    chat = UnknownNames("chat", (("properties", "a"), ("properties", "token_prompt")))
    other = UnknownNames("message", (("properties", "a"),))
    counts = count_by_member([chat, other, chat, UnknownNames("chat", (("context", "a"),))])
    assert unknown_members.unknown_members(counts) == [
        UnknownMember("chat", "properties.a", 2, None),
        UnknownMember("chat", "properties.token_prompt", 2, "properties.tokens_prompt"),
        UnknownMember("chat", "context.a", 1, None),
        UnknownMember("message", "properties.a", 1, None),
    ]


def test_invented_and_long_names_are_counted_together() -> None:
    often = [UnknownNames("chat", (("properties", "often"), ("properties", f"id-{n:04}")))
             for n in range(MEMBERS_BY_NAME + 50)]  # fmt: skip
    long = UnknownNames("message", (("properties", "x" * (LONGEST_NAME + 1)),))
    counts = count_by_member([*often, long])
    assert counts["chat", "properties", "often"] == MEMBERS_BY_NAME + 50
    # Those by name are the first of equals; an event with a member by name and another counts too.
    by_name = [name for event, _, name in counts if name.startswith("id-")]
    assert by_name == [f"id-{n:04}" for n in range(MEMBERS_BY_NAME - 1)]
    assert counts["chat", "other", ""] == 51
    assert counts["message", "other", ""] == 1
    members = unknown_members.unknown_members(counts)
    assert members[1] == UnknownMember("chat", "other", 51, None)
