"""`warehouse alerts`: shows alerts and records what people do about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.options import By, Json, read_names
from orchestration.cli.output import Table, emit

if TYPE_CHECKING:
    from orchestration.operations.alerts import Alert

alerts = typer.Typer(no_args_is_help=True, help="See alerts, acknowledge and resolve them.")

AlertId = Annotated[
    str, typer.Argument(metavar="ID", help="As in the first column of `alerts list`.")
]


@alerts.command("list")
def alerts_list(
    all: Annotated[bool, typer.Option("--all", help="Include resolved alerts.")] = False,
    json: Json = False,
) -> None:
    """List open alerts, the newest first."""
    from orchestration.operations.alerts import alerts
    from warehouse import database

    with database.connect_as_builder() as connection:
        found = alerts(connection, include_resolved=all)
    _emit_alerts(found, json)


@alerts.command("ack")
def alerts_ack(alert_id: AlertId, by: By, json: Json = False) -> None:
    """Acknowledge an alert: somebody is working on it."""
    _act(alert_id, "acknowledged", by, json)


@alerts.command("resolve")
def alerts_resolve(alert_id: AlertId, by: By, json: Json = False) -> None:
    """Resolve an alert: it is over, or was a false alarm."""
    _act(alert_id, "resolved", by, json)


def _act(alert_id: str, action: str, by: str, json: bool) -> None:
    from orchestration.operations.alerts import Action, act
    from warehouse import database

    name = read_names(by=by)["by"] or ""
    with database.connect() as connection, database.connect_as_builder() as reader:
        alert = act(connection, reader, alert_id, Action(action), name)
    _emit_alerts([alert], json)


def _emit_alerts(found: Sequence[Alert], json: bool) -> None:
    emit(
        {"alerts": found},
        Table(
            ("alert", "severity", "since", "state", "what"),
            [
                (
                    alert.alert_id,
                    alert.severity,
                    alert.created_at,
                    _state(alert),
                    alert.message,
                )
                for alert in found
            ],
            if_empty="No open alerts.",
        ),
        json=json,
    )


def _state(alert: Alert) -> str:
    if alert.resolved:
        at = f" {alert.resolved_at:%Y-%m-%d %H:%M}" if alert.resolved_at else ""
        return f"resolved{at}" + (f" by {alert.resolved_by}" if alert.resolved_by else "")
    return f"acknowledged by {alert.acknowledged_by}" if alert.acknowledged_by else "open"
