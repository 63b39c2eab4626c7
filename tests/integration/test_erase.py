"""An erased subject is nowhere any more, and nothing else has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestion.entities import EntityKind
from ingestion.erased import Subject, SubjectKind
from ingestion.loader import load
from ingestion.source import open_source
from orchestration.erase import erase
from tests.building import build_at, land_entities, rows_of_models, warm_warehouse
from tests.conftest import Server
from tests.lines import value

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
    # One who is only spoken of, and one who has no events under the first client but as a guest.
    told = _event(len(events), "chat", {"client_id": "acme", "user_id": "user-cid"})
    events.append(told | {"properties": {"invited": {"by": ["user-ann"]}}})
    return events


BROKEN = (
    {"event": "no such event", "actor": {"client_id": "acme", "user_id": "user-ann"}},
    {"event": "no such event", "actor": {"client_id": "acme", "user_id": "user-bob"}},
)
UNPARSABLE = b'{"event": "chat", "actor": {"client_id": "acme", "user_id": "user-ann"\n'
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
    lines = [json.dumps(one).encode() + b"\n" for one in (*stream(), *BROKEN)]
    path.write_bytes(b"".join(lines) + UNPARSABLE)
    return path


def landed(directory: Path) -> None:
    """Everything, in one file of events and one of each kind of entity."""
    load(open_source(str(whole_file(directory))))
    land_entities(directory, EntityKind.USERS, USER_ROWS)
    land_entities(directory, EntityKind.CLIENTS, CLIENT_ROWS)


def built(directory: Path) -> None:
    landed(directory)
    build_at(AS_OF)


@pytest.fixture(scope="module")
def template(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Give the name of a database that is kept, by another name, with everything built.

    Tests copy it, and not its rows alone: a search looks everywhere, among copies of rows as well.
    """
    server = servers(18)
    with warm_warehouse(server) as connection:
        built(tmp_path_factory.mktemp("landed"))
        name = connection.info.dbname
        connection.close()
        server.rename_database(name, f"{name}_built")
        yield name
    server.drop_database(server.url(f"{name}_built"))


@pytest.fixture
def warm(servers: Callable[[int], Server], template: str) -> Iterator[psycopg.Connection]:
    server = servers(18)
    url = server.new_database(f"{template}_built", template)
    with server.environment(url), psycopg.connect(url, autocommit=True) as connection:
        yield connection
    server.drop_database(url)


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
    return f'"{subject.identifier}"' in json.dumps(line)


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_left_is_what_would_be_there_had_the_subject_never_come(
    warm: psycopg.Connection, name: str
) -> None:
    subject = SUBJECTS[name]
    receipt = erase(subject, "dpo")
    assert (receipt.state, receipt.found) == ("verified", {})
    assert receipt.removed["staging.raw_events"] == sum(is_of(one, subject) for one in stream())
    assert unexplained(warm) == 0
    after = rows_of_models(warm)
    build_at(AS_OF, full_refresh=True)
    assert rows_of_models(warm) == after


def unexplained(connection: psycopg.Connection) -> int:
    return value(connection, "select sum(abs(unexplained)) from marts.ingest_reconciliation_daily")
