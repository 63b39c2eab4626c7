"""A CRM for the sample: its tables, and the events that `warehouse pull crm` makes of them.

Its clients are others than those of the sample's files: so it can be pulled into the demo's
warehouse, and no lead counts twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count, groupby
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from ingestion.sample.business import api_costs, subscriptions
from ingestion.sample.events import Event, Json, present, stamp
from ingestion.sample.leads import lead_stories
from ingestion.sample.timeline import DAY, SAMPLE_AS_OF, SAMPLE_START
from ingestion.sample.world import PLATFORM_ID, Client, World
from ingestion.sources.postgres.declared import SHIPPED
from warehouse import database, embedded
from warehouse.errors import WarehouseError

DATABASE, UNFINISHED = "crm", "crm_unfinished"
# May read the tables, and sees how old open transactions are.
READER = "crm_reader"
# By name: the plan, and how large the client is.
CLIENTS = {
    "Summit Dental": ("growth", 1.2),
    "Riverside Auto": ("starter", 0.8),
    "Oakwood Veterinary": ("growth", 1.0),
    "Bayview Fitness": ("scale", 2.0),
    "Hillcrest Optical": ("starter", 0.5),
    "Granite Legal": ("scale", 1.5),
}
CHURNED, PAUSED = "Hillcrest Optical", "Riverside Auto"
FIRST_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hal")
LAST_NAMES = ("Archer", "Baker", "Cooper", "Dyer", "Fletcher", "Mason", "Potter", "Weaver")
# These have no table in the CRM, or need no row of their own there.
_LEFT_OUT = {"escalation_opened"}

Rows = dict[str, list[Json]]


class CrmError(WarehouseError):
    """The CRM of the sample can't be created."""


@dataclass(frozen=True, slots=True)
class Crm:
    """The rows by table, in the order in which they can be inserted, and the same as events."""

    tables: Rows
    clients: list[Json]
    events: list[Event]


def draw_crm(seed: int = 7) -> Crm:
    """Generate the rows of a CRM, and the clients and events that they are pulled as."""
    clients = tuple(_client(number, name) for number, name in enumerate(CLIENTS))
    world = World(clients, (), (), (), Client(PLATFORM_ID, "", "", SAMPLE_START, 0.0, 0.0, 0.0))
    tables: Rows = defaultdict(list)
    tables["clients"] = [_client_row(client) for client in clients]
    events = [
        *_leads(lead_stories(world, Random(f"{seed}:crm leads")), tables, seed),
        *_subscriptions(subscriptions(world, Random(f"{seed}:crm subscriptions")), tables),
        *_api_usage(api_costs(world, Random(f"{seed}:crm costs")), tables),
    ]
    for event in events:
        event.context = {"source": "crm"}
    entities = [present(**row) for row in tables["clients"]]
    for row in entities:
        row["client_id"] = row.pop("id")
        del row["contact_email"]
    return Crm(dict(tables), entities, events)


def _client(number: int, name: str) -> Client:
    plan, scale = CLIENTS[name]
    churned_at = SAMPLE_AS_OF - 40 * DAY if name == CHURNED else None
    return Client(
        client_id=name.lower().replace(" ", "-"),
        name=name,
        plan=plan,
        created_at=SAMPLE_START - (20 - number) * DAY,
        scale=scale,
        growth=0.3,
        ai_share=0.6,
        churned_at=churned_at,
        paused_at=SAMPLE_AS_OF - 20 * DAY if name == PAUSED else None,
        last_event_at=churned_at or SAMPLE_AS_OF,
    )


def _client_row(client: Client) -> Json:
    changed_at = client.churned_at or client.paused_at
    status = "churned" if client.churned_at else "paused" if client.paused_at else "active"
    return {
        "id": client.client_id,
        "name": client.name,
        "contact_email": f"owner@{client.host}",
        "status": status,
        "plan": client.plan,
        "created_at": stamp(client.created_at),
        "churned_at": client.churned_at and stamp(client.churned_at),
        "updated_at": stamp(changed_at or client.created_at),
    }


def _leads(stories: Iterable[Event], tables: Rows, seed: int) -> Iterator[Event]:
    """Write each lead's story into the tables; yield its events, with the lead's key as its id."""
    rng = Random(f"{seed}:crm people")
    keys = count(1)
    for _, story in groupby(
        stories, lambda event: (event.actor["client_id"], event.actor["lead_id"])
    ):
        events = [
            event for event in story if event.at < SAMPLE_AS_OF and event.name not in _LEFT_OUT
        ]
        created = [event for event in events if event.name == "lead_created"]
        # A form that was sent twice is one row.
        events = [event for event in events if event not in created[1:]]
        if not events:
            continue
        key = next(keys)
        for event in events:
            event.actor = event.actor | {"lead_id": str(key)}
        _write_lead(key, events, tables, rng)
        yield from events


def _write_lead(key: int, events: list[Event], tables: Rows, rng: Random) -> None:
    by_name: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_name[event.name].append(event)
    created, first, qualified = (
        next(iter(by_name[name]), None) for name in ("lead_created", "first_response", "qualified")
    )
    created_at = created.at if created else min(event.at for event in events)
    if first:
        first.properties["response_time_seconds"] = _seconds_between(created_at, first.at)
    person = f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
    tables["leads"].append(
        {
            "id": key,
            "client_id": events[0].actor["client_id"],
            "name": person,
            "email": f"{person.lower().replace(' ', '.')}.{key}@mail.example",
            "phone": f"+1 555 01{key % 100:02d} {key:04d}",
            "source": created and created.properties.get("source"),
            "campaign": created and created.properties.get("campaign"),
            "is_imported": created is None,
            "created_at": stamp(created_at),
            "first_response_at": first and stamp(first.at),
            "qualified_at": qualified and stamp(qualified.at),
            "updated_at": _updated_at([created_at, first and first.at, qualified and qualified.at]),
        }
    )

    for event in by_name["message"]:
        _add(
            tables["messages"],
            event,
            lead_id=key,
            conversation_id=event.properties.get("conversation_id"),
            direction=event.properties["direction"],
            sender=event.properties["sender_type"],
            body=f"{person.split()[0]} and the office talk about a visit.",
            sent_at=event.at,
        )
    for event in by_name["lead_stage_changed"]:
        stage = event.properties["stage"]
        _add(tables["lead_stage_history"], event, lead_id=key, stage=stage, changed_at=event.at)
    for event in by_name["appointment_booked"]:
        # As PostgreSQL writes a time in JSON.
        starts_at = event.properties["appointment_at"].replace(".000Z", "+00:00")
        event.properties["appointment_at"] = starts_at
        _add(tables["appointments"], event, lead_id=key, starts_at=starts_at, booked_at=event.at)
    _add_steps(
        tables["quotes"],
        key,
        requested_at=by_name["quote_requested"],
        sent_at=by_name["quote_sent"],
        accepted_at=by_name["quote_accepted"],
    )
    for event in by_name["job_won"]:
        value = event.properties["value_cents"]
        _add(tables["jobs"], event, lead_id=key, value_cents=value, won_at=event.at)
    for event in by_name["job_lost"]:
        reason = event.properties.get("reason")
        _add(tables["jobs"], event, lead_id=key, lost_at=event.at, lost_reason=reason)
    for event in by_name["invoice_sent"]:
        _add(
            tables["invoices"],
            event,
            lead_id=key,
            number=event.properties["invoice_id"],
            value_cents=event.properties["value_cents"],
            sent_at=event.at,
        )
    for event in by_name["payment_received"]:
        invoice, value = tables["invoices"][-1]["id"], event.properties["value_cents"]
        _add(tables["payments"], event, invoice_id=invoice, value_cents=value, received_at=event.at)
    _add_steps(
        tables["reviews"],
        key,
        requested_at=by_name["review_requested"],
        received_at=by_name["review_received"],
    )


def _add(rows: list[Json], event: Event, **columns: Any) -> None:
    """Add the row of an event."""
    written = {
        name: stamp(value) if isinstance(value, datetime) else value
        for name, value in columns.items()
    }
    rows.append({"id": len(rows) + 1} | written | {"updated_at": stamp(event.at)})


def _add_steps(rows: list[Json], lead: int, **steps: list[Event]) -> None:
    """Add the row of what happens in steps, a column for the time of each, if any happened."""
    happened = {column: events[0] for column, events in steps.items() if events}
    if not happened:
        return
    last = max(happened.values(), key=lambda event: event.at)
    properties = {
        name: value for event in happened.values() for name, value in event.properties.items()
    }
    _add(rows, last, lead_id=lead, **{c: e.at for c, e in happened.items()}, **properties)


def _subscriptions(events: Iterable[Event], tables: Rows) -> Iterator[Event]:
    phases: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for event in events:
        client, properties = event.actor["client_id"], event.properties
        if client == PLATFORM_ID or event.at >= SAMPLE_AS_OF:
            continue
        of_one = phases[client, properties["subscription_id"]]
        if event.name == "subscription_cancelled":
            of_one[-1] |= {"cancelled_at": stamp(event.at), "updated_at": stamp(event.at)}
        else:
            _add(
                tables["subscriptions"],
                event,
                client_id=client,
                number=properties["subscription_id"],
                phase=len(of_one) + 1,
                plan=properties["plan"],
                mrr_cents=properties["mrr_cents"],
                starts_at=event.at,
            )
            of_one.append(tables["subscriptions"][-1])
        yield event


def _api_usage(events: Iterable[Event], tables: Rows) -> Iterator[Event]:
    for event in events:
        client = event.actor["client_id"]
        if client != PLATFORM_ID and event.at < SAMPLE_AS_OF:
            _add(
                tables["api_usage"], event, client_id=client, billed_at=event.at, **event.properties
            )
            yield event


def create_crm() -> str:
    """Create the CRM's database beside the embedded warehouse, if it is missing; return its URL.

    The URL is that of a login that may only read. Raises CrmError if the warehouse is on another
    server.
    """
    if not database.is_embedded():
        raise CrmError("The sample's CRM is only created in the embedded server.")
    with database.connect(autocommit=True) as connection:
        if not _exists(connection, "pg_database where datname", DATABASE):
            connection.execute(f"drop database if exists {UNFINISHED}")
            connection.execute(f"create database {UNFINISHED} encoding 'UTF8' template template0")
            if not _exists(connection, "pg_roles where rolname", READER):
                connection.execute(f"create role {READER} login")
                connection.execute(f"grant pg_read_all_stats to {READER}")
            with psycopg.connect(embedded.url(of_database=UNFINISHED)) as crm:
                fill_crm(crm, draw_crm())
                crm.execute(f"grant select on all tables in schema public to {READER}")
            # Renamed when it is complete, as an interrupted demo is run again.
            connection.execute(f"alter database {UNFINISHED} rename to {DATABASE}")
    return embedded.url(user=READER, of_database=DATABASE)


def fill_crm(connection: psycopg.Connection, crm: Crm) -> None:
    """Create the tables in an empty database, and insert the rows."""
    connection.execute((SHIPPED / "crm" / "database" / "schema.sql").read_text("utf-8"))
    for table, rows in crm.tables.items():
        columns = list({column: None for row in rows for column in row})
        copy = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor().copy(copy) as copied:
            for row in rows:
                copied.write_row([row.get(column) for column in columns])
        if table != "clients":
            # What applications insert gets the next keys.
            connection.execute(
                sql.SQL(
                    "select setval(pg_get_serial_sequence({}, 'id'), (select max(id) from {}))"
                ).format(sql.Literal(table), sql.Identifier(table))
            )


def _exists(connection: psycopg.Connection, what: str, name: str) -> bool:
    query = f"select from {what} = %s"
    return connection.execute(query, (name,)).fetchone() is not None


def _updated_at(times: list[datetime | None]) -> str:
    return stamp(max(filter(None, times)))


def _seconds_between(start: datetime, end: datetime) -> int:
    """Return whole seconds, halves rounded up as PostgreSQL does."""
    return int((end - start).total_seconds() + 0.5)
