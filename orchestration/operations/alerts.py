"""Alerts of `marts.alert_history`, and how people acknowledge and resolve them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import LiteralString

import psycopg
from psycopg.rows import class_row

from orchestration.operations.status import require_built
from warehouse.errors import WarehouseError


class AlertError(WarehouseError):
    """There is no such alert, or the action was already taken."""


class UnknownAlertError(AlertError):
    """There is no such alert."""


class Action(StrEnum):
    """What a person can do about an alert."""

    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of `marts.alert_history`."""

    alert_id: str
    alert_type: str
    severity: str
    category: str
    title: str
    message: str
    created_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    resolved: bool
    resolved_by: str | None
    resolved_at: datetime | None


OF_ALERTS = """
    select
        alert_id, alert_type, severity, category, title, message, created_at,
        acknowledged_by, acknowledged_at, resolved, resolved_by, resolved_at
    from marts.alert_history
"""


def alerts(connection: psycopg.Connection, include_resolved: bool) -> list[Alert]:
    """Return unresolved alerts, or all of them, newest first. Raises NothingBuiltError."""
    return _alerts(
        connection, "where %s or not resolved order by created_at desc, alert_id", include_resolved
    )


def act(
    connection: psycopg.Connection,
    reader: psycopg.Connection,
    alert_id: str,
    action: Action,
    by: str,
) -> Alert:
    """Acknowledge or resolve an alert; return its new state.

    ``reader`` reads the alerts, which the builder owns; ``connection`` records the action. Raises
    AlertError, and NothingBuiltError before the first build.
    """
    alert = _alert(reader, alert_id)
    if action is Action.RESOLVED and alert.resolved:
        by_whom = f" by {alert.resolved_by}" if alert.resolved_by else ""
        raise AlertError(f"{alert_id} was already resolved{by_whom} at {alert.resolved_at}.")
    if action is Action.ACKNOWLEDGED and alert.acknowledged_by:
        raise AlertError(
            f"{alert_id} was already acknowledged by {alert.acknowledged_by} at "
            f"{alert.acknowledged_at}."
        )
    connection.execute(
        "insert into warehouse.alert_actions (alert_id, action, taken_by) values (%s, %s, %s) "
        # If two people act at once, the first one counts.
        "on conflict do nothing",
        (alert_id, action, by),
    )
    connection.commit()
    return _alert(reader, alert_id)


def _alert(connection: psycopg.Connection, alert_id: str) -> Alert:
    found = _alerts(connection, "where alert_id = %s", alert_id)
    if not found:
        raise UnknownAlertError(
            f"There is no alert {alert_id!r}; see `warehouse alerts list --all`."
        )
    return found[0]


def _alerts(connection: psycopg.Connection, which: LiteralString, value: object) -> list[Alert]:
    require_built(connection, "marts.alert_history")
    cursor = connection.cursor(row_factory=class_row(Alert))
    return cursor.execute(OF_ALERTS + which, (value,)).fetchall()
