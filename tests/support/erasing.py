"""What tests of erasure share: a warehouse with people in it, and what is of whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from ingestion.load.entities import EntityKind
from ingestion.load.loader import load
from ingestion.privacy.suppression import Subject, SubjectKind
from ingestion.sources.files import open_source
from tests.conftest import Server
from tests.support.building import build_at, land_entities, warm_warehouse
from tests.support.lines import value

AS_OF = datetime(2025, 6, 10, 12, tzinfo=UTC)
FIRST = datetime(2025, 3, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def _event(number: int, name: str, actor: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "event_id": f"00000000-0000-4000-8000-{number:012}",
        "event": name,
        "timestamp": (FIRST + number * 7 * 60 * MINUTE).isoformat(),
        "actor": actor,
        "context": {"producer": f"edge-{number % 2}", "sequence": number // 2} | members,
    }


# What a user, a lead or a visitor may do.
USERS_DO = {
    "chat": {"message_id": "m1", "conversation_id": "c1", "document_id": "d1", "cost_prompt": 0.5},
    "chat_feedback": {"message_id": "m1", "rating": 4, "text": "good"},
    "revenue": {"type": "subscription", "amount_usd": 12.5, "plan_type": "pro"},
    "credit_used": {"feature_name": "maps", "credits_used": 2},
    "api_request": {"endpoint": "/x", "method": "GET", "response_time_ms": 9, "status_code": 500},
    "builder_action": {"action": "move"},
    "analytics.export": {"view": "sales"},
    "signup": {},
    "subscription_started": {"subscription_id": "s1", "plan": "pro", "mrr_cents": 900},
}
LEADS_DO = {
    "lead_created": {"source": "web_form", "campaign": "spring"},
    "lead_stage_changed": {"stage": "hot"},
    "message": {"direction": "inbound", "sender_type": "lead"},
    "first_response": {"response_time_seconds": 4},
    "qualified": {},
    "invoice_sent": {"value_cents": 700},
    "job_won": {"value_cents": 900},
    "review_received": {"rating": 5},
}
VISITORS_DO = {
    "page_view": {},
    "session": {},
    "pdf_download": {"document_id": "d1"},
    "contact_submitted": {"form": "f"},
}


def stream() -> list[dict[str, Any]]:
    """Events of every kind, of two clients with users, leads and visitors of their own."""
    events = []
    for client in ("acme", "beta"):
        for name in ("ann", "bob"):
            for kind, does in (("user", USERS_DO), ("lead", LEADS_DO), ("anonymous", VISITORS_DO)):
                actor = {"client_id": client, f"{kind}_id": f"{kind}-{name}"}
                for event, properties in does.items():
                    page = {"page": {"path": f"/{name}"}} if event == "page_view" else {}
                    one = _event(len(events), event, actor, **page)
                    events.append(one | {"properties": properties})
    # Somebody else who speaks of one of them, and later that day does not.
    sent = _event(len(events), "chat", {"client_id": "acme", "user_id": "user-cid"})
    later = datetime.fromisoformat(sent["timestamp"]) + MINUTE
    again = _event(len(events) + 1, "chat", sent["actor"]) | {"timestamp": later.isoformat()}
    return [*events, sent | {"properties": {"invited": {"by": ["user-ann"]}}}, again]


BROKEN = (
    {"event": "no such event", "actor": {"client_id": "acme", "user_id": "user-ann"}},
    {"event": "no such event", "actor": {"client_id": "acme", "user_id": "user-bob"}},
)
UNPARSABLE = (
    b'{"event": "chat", "actor": {"client_id": "acme", "user_id": "user-ann"\n',
    b"{'event': 'chat', 'actor': {'client_id': 'acme', 'user_id': 'user-ann'}}\n",
    b"event=chat&client_id=acme&user_id=user-ann\n",
    b'{"event": "chat", "actor": {"lead_id": "lead-ann"\n',
)
# An object that names its client where no event does.
FLAT = {"event": "chat", "client_id": "acme", "lead_id": "lead-ann"}
USER_ROWS = [
    {
        "user_id": f"user-{name}",
        "client_id": "acme",
        "created_at": FIRST.isoformat(),
        "updated_at": FIRST.isoformat(),
        "monthly_message_limit": 1,
    }
    for name in ("ann", "bob")
]
CLIENT_ROWS = [
    {"client_id": client, "created_at": FIRST.isoformat(), "updated_at": FIRST.isoformat()}
    for client in ("acme", "beta")
]


def whole_file(directory: Path) -> Path:
    path = directory / "events.ndjson"
    lines = [json.dumps(one).encode() + b"\n" for one in (*stream(), *BROKEN, FLAT)]
    path.write_bytes(b"".join((*lines, *UNPARSABLE)))
    return path


ENTITIES = {EntityKind.USERS: USER_ROWS, EntityKind.CLIENTS: CLIENT_ROWS}


def built(directory: Path) -> None:
    """Everything, in one file of events and one of each kind of entity."""
    load(open_source(str(whole_file(directory))))
    for kind, entity_rows in ENTITIES.items():
        land_entities(directory, kind, entity_rows)
    build_at(AS_OF)


def a_template(
    server: Server, directory: Path, only: Sequence[str] = ()
) -> Iterator[Callable[[], AbstractContextManager[psycopg.Connection]]]:
    """Give copies of a warehouse with everything in it built.

    Whole databases, and not rows beside rows: a search looks everywhere. They bear one name after
    the other, for dbt knows its project by it.
    """
    with warm_warehouse(server, only) as connection:
        built(directory)
        name = connection.info.dbname
        connection.close()
        server.rename_database(name, f"{name}_built")

        @contextmanager
        def copied() -> Iterator[psycopg.Connection]:
            url = server.new_database(f"{name}_built", name)
            with psycopg.connect(url, autocommit=True) as copy:
                yield copy
            server.drop_database(url)

        yield copied
    server.drop_database(server.url(f"{name}_built"))


SUBJECTS = {
    "user": Subject(SubjectKind.USER, "user-ann"),
    "lead of a client": Subject(SubjectKind.LEAD, "lead-ann", "acme"),
    "lead": Subject(SubjectKind.LEAD, "lead-ann"),
    "visitor": Subject(SubjectKind.ANONYMOUS, "anonymous-ann"),
    "client": Subject(SubjectKind.CLIENT, "acme"),
}


def is_of(line: dict[str, Any], subject: Subject) -> bool:
    """Tell whether a line or row is the subject's: its own reading of the rule."""
    client = line.get("actor", line).get("client_id")
    if subject.of_client and subject.of_client != client:
        return False
    return json.dumps(subject.identifier) in json.dumps(line)


def unexplained(connection: psycopg.Connection) -> int:
    return value(connection, "select sum(abs(unexplained)) from marts.ingest_reconciliation_daily")
