"""The reference of the dimensions, against examples worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.reference.dimensions import all_marts, client_rows, document_rows, user_rows

AS_OF = datetime(2026, 2, 1, tzinfo=UTC)
JANUARY = datetime(2026, 1, 5, tzinfo=UTC)


def event(name: str, at: str, **members: Any) -> dict[str, Any]:
    actor = {"client_id": members.pop("client_id", "acme"), "user_id": members.pop("user_id", None)}
    return {
        "event_id": "00000000-0000-4000-8000-000000000001",
        "event": name,
        "timestamp": at,
        "actor": actor,
        "properties": members,
    }


def entity(created_at: str = "2026-01-05T00:00:00Z", **columns: Any) -> dict[str, Any]:
    return {"created_at": created_at, "updated_at": "2026-01-06T00:00:00Z"} | columns


def test_an_entity_is_shown_as_it_is_and_who_is_only_mentioned_is_inferred() -> None:
    seen = event("signup", "2026-01-09T00:00:00Z", client_id="seen")
    known = entity(client_id="known", name="Known Ltd", churned_at="2026-03-01T00:00:00Z")
    assert client_rows([seen], [known], AS_OF) == [
        {
            "client_id": "known", "name": "Known Ltd", "status": None, "plan": None,
            "created_at": JANUARY, "churned_at": None, "is_inferred": False,
            "entity_updated_at": datetime(2026, 1, 6, tzinfo=UTC),
        },
        {
            "client_id": "seen", "name": None, "status": None, "plan": None,
            "created_at": datetime(2026, 1, 9, tzinfo=UTC), "churned_at": None,
            "is_inferred": True, "entity_updated_at": None,
        },
    ]  # fmt: skip


def test_an_entity_that_is_created_at_as_of_says_nothing_yet() -> None:
    to_come = entity("2026-02-01T00:00:00Z", user_id="ann", plan="pro", monthly_message_limit=3)
    assert user_rows([], [to_come], AS_OF) == []
    (ann,) = user_rows([event("signup", "2026-01-09T00:00:00Z", user_id="ann")], [to_come], AS_OF)
    assert (ann["plan"], ann["monthly_message_limit"], ann["is_inferred"]) == (None, None, True)


def test_a_document_that_a_chat_or_a_download_mentions_is_inferred() -> None:
    events = [
        event("chat", "2026-01-10T00:00:00Z", document_id="d1"),
        event("pdf_download", "2026-01-09T00:00:00Z", document_id="d1"),
        event("chat", "2026-01-10T00:00:00Z", document_id="d2"),
        event("chat", "2026-02-01T00:00:00Z", document_id="to come"),
        event("session", "2026-01-09T00:00:00Z", document_id="no use"),
    ]
    known = {"document_id": "d2", "title": "Plan", "updated_at": "2026-01-06T00:00:00Z"}
    rows = {row["document_id"]: row for row in document_rows(events, [known], AS_OF)}
    assert rows.keys() == {"d1", "d2"}
    assert rows["d1"]["created_at"] == datetime(2026, 1, 9, tzinfo=UTC)
    assert (rows["d1"]["is_inferred"], rows["d2"]["is_inferred"]) == (True, False)
    assert (rows["d2"]["title"], rows["d2"]["created_at"]) == ("Plan", None)


def test_nothing_has_no_rows() -> None:
    assert all_marts([], [], [], [], AS_OF) == {"clients": [], "users": [], "documents": []}
