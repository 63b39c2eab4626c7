"""`warehouse status`: how fresh the marts are, what is not landed, and which parts run."""

from __future__ import annotations

from datetime import timedelta

from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit


def status(json: Json = False) -> None:
    """Show each mart: its rows, batches it has not read yet, age and last checks.

    The last lines say what waits in the collector's spool on this machine, and how
    the parts of `warehouse serve` do. Also lists clients that only events mention.
    Times are in UTC. --json also shows the last batch and the time as of which each
    mart is built.
    """
    from orchestration.operations import serve_state
    from orchestration.operations.collecting import described, spooled
    from orchestration.operations.status import MOST_INFERRED, inferred_clients, mart_statuses
    from warehouse import database

    with database.connect_as_builder() as connection:
        marts = mart_statuses(connection)
        inferred = inferred_clients(connection)
    notes = []
    if inferred.count:
        names = ", ".join(inferred.client_ids)
        more = ", …" if inferred.count > MOST_INFERRED else ""
        notes.append(
            f"Clients known from events alone ({inferred.count:,}): {names}{more}. Is a client_id "
            "misspelt, or `warehouse load-entities clients` due?"
        )
    found, serving = spooled(), serve_state.serving()
    emit(
        {
            "marts": marts,
            "inferred_clients": inferred,
            "collector": found,
            "serving": serving,
        },
        Table(
            ("mart", "rows", "unread", "age", "checks", "checked at"),
            [
                (
                    mart.mart,
                    mart.rows,
                    mart.batches_behind,
                    None
                    if mart.freshness_seconds is None
                    else timedelta(seconds=mart.freshness_seconds),
                    mart.last_check_status,
                    mart.last_check_at,
                )
                for mart in marts
            ],
        ),
        described(found),
        *serve_state.described(serving).splitlines(),
        json=json,
        notes=notes,
    )
