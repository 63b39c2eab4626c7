"""Two tenants with something in every mart, and people who sign in to read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ingestion.load.entities import EntityKind
from tests.conftest import Server
from tests.support.building import land, land_entities, warm_warehouse
from tests.support.lines import event
from warehouse.schema.access import roles

JANUARY = datetime(2026, 1, 5, 12, tzinfo=UTC)
AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
CLIENTS = ("acme", "rival")

# By role: the group that it is in, and whose rows it sees. Tenants do not sign in: the API does.
PEOPLE: dict[str, tuple[str, tuple[str, str | None] | None]] = {
    "ann_analyst": ("warehouse_analyst", None),
    "acme_app": ("warehouse_tenant", ("acme", None)),
    "acme_user": ("warehouse_tenant", ("acme", "u1 of acme")),
    "rival_app": ("warehouse_tenant", ("rival", None)),
    "stranger": ("warehouse_tenant", None),
    "lou_loader": ("warehouse_loader", None),
    "tim_transformer": ("warehouse_transformer", None),
    "site": ("warehouse_marketing", None),
    "api": ("warehouse_api", None),
}
TENANTS = {name for name, (group, _) in PEOPLE.items() if group == "warehouse_tenant"}
# May take only the role of acme_app: what it tries in that role is distinguished from its own.
API_OF_ACME = "api_of_acme"


# How the API takes a tenant's role, and does not have its rights otherwise.
TAKEN = sql.SQL("grant {} to {} with inherit false, set true")
# What somebody may be called all the same.
HOSTILE = [
    "o'neil \"quoted\" ''", "x'; drop table staging.raw_events; --", "NULL", " spaces ",
    "$$ $1 $body$ $make_view$ %(a)s %s", "back\\slash \\' \\n \\u0041 \\.", "*?[a]~|&<>()^",
    "{{ 1 / 0 }} {% raw %} {# no #} {0} {x!r}", "new\nline\ttab\r\x1b[31m\x7f",
    "\u202ertl\u202c \u200f", "zero\u200bwidth\u200d\ufeff", "e\u0301", "\u00e9",
    "\U0001f469\u200d\U0001f467", "x" * 128, "\U0001f600" * 128, "'" * 128,
]  # fmt: skip


def land_both_tenants(directory: Path) -> None:
    """Land the same story of two clients; every text of it ends in its client's name."""
    for client in CLIENTS:
        for kind, entities in entities_of(client).items():
            land_entities(directory, kind, entities)
        land(directory, story_of(client))


def entities_of(client: str) -> dict[EntityKind, list[dict[str, Any]]]:
    """A client, two users of it with limits that they reach, a unit and a document."""
    document = {"document_id": f"d of {client}", "city": f"city of {client}"}
    return {
        EntityKind.CLIENTS: [_entity("client_id", client, client, name=f"name of {client}")],
        EntityKind.USERS: [
            _entity("user_id", f"u{n} of {client}", client, monthly_message_limit=1) for n in (1, 2)
        ],
        EntityKind.UNITS: [
            {
                "unit_id": f"unit of {client}",
                "client_id": client,
                "development_id": client,
                "updated_at": JANUARY.isoformat(),
            }
        ],
        EntityKind.DOCUMENTS: [document | {"updated_at": JANUARY.isoformat()}],
    }


def _entity(key: str, id: str, client: str, **more: Any) -> dict[str, Any]:
    at = JANUARY.isoformat()
    return {key: id, "client_id": client, "created_at": at, "updated_at": at} | more


def story_of(client: str) -> list[dict[str, Any]]:
    """Events that put rows of the client into every mart that has rows of clients or of users.

    What names a kind has at most 128 characters: there the client's name stands alone.
    """
    money = {"value_cents": 900}
    lead = [
        ("lead_created", {"source": f"source of {client}"}),
        ("lead_stage_changed", {"stage": "hot"}),
        ("message", {"direction": "inbound", "sender_type": "lead"}),
        ("message", {"direction": "outbound", "sender_type": "ai"}),
        ("first_response", {}), ("qualified", {}), ("quote_sent", money), ("job_won", money),
        ("invoice_sent", money), ("payment_received", money), ("review_received", {"rating": 5}),
    ]  # fmt: skip
    user = [
        ("chat", {"document_id": f"d of {client}", "conversation_id": f"c of {client}",
                  "message_id": f"m of {client}", "model_name": f"model of {client}"}),
        ("revenue", {"type": "purchase", "amount_usd": 5, "payment_id": f"p of {client}"}),
        ("credit_used", {"feature_name": client, "credits_used": 1}),
        ("api_request", {"endpoint": f"/api of {client}", "method": "GET", "response_time_ms": 1,
                         "status_code": 500, "error_message": f"error of {client}"}),
        ("builder_action", {"action": client}),
        ("page_view", {}), ("contact_submitted", {}), ("session", {}),
    ]  # fmt: skip
    whole = [
        ("subscription_started", {"subscription_id": f"s of {client}", "plan": client,
                                  "mrr_cents": 500}),
        ("api_cost", {"cost_cents": 5, "service": client}),
    ]  # fmt: skip
    actors = [
        ({"lead_id": f"lead of {client}"}, lead), ({"user_id": f"u1 of {client}"}, user),
        ({"user_id": f"u2 of {client}"}, user), ({}, whole),
        ({"unit_id": f"unit of {client}"}, [("session", {})]),
    ]  # fmt: skip
    stories = [(who, *happened) for who, story in actors for happened in story]
    return [
        event(
            0,
            event_id=None,
            event=name,
            # The story of the last days of January, so that views of recent days show it.
            timestamp=(AS_OF - timedelta(days=5) + timedelta(minutes=minute)).isoformat(),
            actor={"client_id": client} | who,
            context={"source": "api", "page": {"path": f"/page of {client}"}},
            properties=properties,
        )
        for minute, (who, name, properties) in enumerate(stories)
    ]


@contextmanager
def people(owner: psycopg.Connection) -> Iterator[None]:
    """Let PEOPLE sign in, each a member of its group, or as tenants be mapped and taken."""
    for name, (group, rows) in PEOPLE.items():
        may_sign_in = sql.SQL("nologin" if name in TENANTS else "login")
        owner.execute(
            sql.SQL("create role {} {} in role {}").format(
                sql.Identifier(name), may_sign_in, sql.Identifier(group)
            )
        )
        if name in TENANTS:
            owner.execute(TAKEN.format(sql.Identifier(name), sql.Identifier("warehouse_api")))
        if rows:
            owner.execute("insert into warehouse.tenants values (%s, %s, %s)", (name, *rows))
    acme = sql.Identifier(API_OF_ACME)
    owner.execute(sql.SQL("create role {} login").format(acme))
    owner.execute(TAKEN.format(sql.Identifier("acme_app"), acme))
    database = sql.Identifier(owner.info.dbname)
    owner.execute(sql.SQL("grant connect on database {} to {}").format(database, acme))
    try:
        yield
    finally:
        for name in (*PEOPLE, API_OF_ACME):
            owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


@contextmanager
def warehouse_with_people(server: Server, only: Sequence[str] = ()) -> Iterator[psycopg.Connection]:
    """Give the owner of a warm warehouse in which PEOPLE are; tim_transformer builds.

    Builds are of the models ``only``, as of `warm_warehouse`. The API may read as ann_analyst.
    """
    with (
        warm_warehouse(server, only) as connection,
        people(connection),
        server.environment(url_of(connection, "postgres"), url_of(connection, "tim_transformer")),
    ):
        assert roles.set_up() == []
        # As whom an analyst's key reads.
        connection.execute(
            TAKEN.format(sql.Identifier("ann_analyst"), sql.Identifier("warehouse_api"))
        )
        yield connection


def url_of(owner: psycopg.Connection, name: str) -> str:
    """The database's URL for one of PEOPLE."""
    return f"postgresql://{name}@/{owner.info.dbname}?host={owner.info.host}"


def sign_in(owner: psycopg.Connection, name: str, through: str | None = None) -> psycopg.Connection:
    """Connect as one of PEOPLE: a real login, of tenants the API's, which takes their role."""
    if name not in TENANTS:
        return psycopg.connect(url_of(owner, name), autocommit=True)
    connection = psycopg.connect(url_of(owner, through or "api"), autocommit=True)
    connection.execute(sql.SQL("set role {}").format(sql.Identifier(name)))
    return connection
