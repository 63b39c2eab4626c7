"""Whom and what the figures are about: clients, users and documents, computed plainly.

Written to be checked against the contract by reading; it imports nothing from the product. Events
and entities are as in `clients.py` and `ai_usage.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.reference.ai_usage import as_decimal, exact, happened_at, visible_in_order
from tests.reference.clients import Member, client_members, user_members
from tests.reference.intake import instant

Event = dict[str, Any]
Entity = dict[str, Any]
Row = dict[str, Any]

OF_CLIENT = ("name", "status", "plan")
OF_USER = ("client_id", "role", "plan")
LIMITS = ("monthly_message_limit", "monthly_token_limit", "monthly_cost_limit")
OF_DOCUMENT = ("title", "city", "zoning", "zone")
USES_OF_DOCUMENTS = ("chat", "pdf_download")


def all_marts(
    events: list[Event],
    clients: list[Entity],
    users: list[Entity],
    documents: list[Entity],
    as_of: datetime,
) -> dict[str, list[Row]]:
    """Return the rows of every dimension, by its name."""
    return {
        "clients": client_rows(events, clients, as_of),
        "users": user_rows(events, users, as_of),
        "documents": document_rows(events, documents, as_of),
    }


def client_rows(events: list[Event], clients: list[Entity], as_of: datetime) -> list[Row]:
    """One row per client: an entity that was created before, or only events mention it."""
    return [
        {"client_id": member.id, "churned_at": member.churned_at}
        | _as_it_is(member, clients, "client_id", OF_CLIENT, as_of)
        for member in client_members(events, clients, as_of)
    ]


def user_rows(events: list[Event], users: list[Entity], as_of: datetime) -> list[Row]:
    """One row per user, likewise."""
    rows = []
    for member in user_members(events, users, as_of):
        row = {"user_id": member.id}
        row |= _as_it_is(member, users, "user_id", (*OF_USER, *LIMITS), as_of)
        for limit in LIMITS:
            row[limit] = None if row[limit] is None else as_decimal(exact(row[limit]))
        rows.append(row)
    return rows


def _as_it_is(
    member: Member, entities: list[Entity], key: str, names: tuple[str, ...], as_of: datetime
) -> Row:
    """What the entity says; one that is created later says nothing yet."""
    entity = next(
        (
            entity
            for entity in entities
            if entity[key] == member.id and instant(entity["created_at"]) < as_of
        ),
        None,
    )
    return {
        **{name: entity and entity.get(name) for name in names},
        "created_at": member.created_at,
        "is_inferred": entity is None,
        "entity_updated_at": entity and instant(entity["updated_at"]),
    }


def document_rows(events: list[Event], documents: list[Entity], as_of: datetime) -> list[Row]:
    """One row per document with an entity, or that a chat or a PDF download mentions."""
    first_uses: dict[str, datetime] = {}
    for event in visible_in_order(events, as_of):
        document_id = (event.get("properties") or {}).get("document_id")
        if event["event"] in USES_OF_DOCUMENTS and document_id is not None:
            first_uses.setdefault(document_id, happened_at(event))
    entities = {document["document_id"]: document for document in documents}
    rows = []
    for document_id in {*entities, *first_uses}:
        entity = entities.get(document_id)
        rows.append(
            {
                "document_id": document_id,
                **{name: entity and entity.get(name) for name in OF_DOCUMENT},
                # Entities of documents do not say when they were created.
                "created_at": None if entity else first_uses[document_id],
                "is_inferred": entity is None,
                "entity_updated_at": entity and instant(entity["updated_at"]),
            }
        )
    return rows
