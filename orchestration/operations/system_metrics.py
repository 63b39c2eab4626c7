"""What `warehouse serve` measures once a minute: this machine, this database, the spool.

Metrics stop nothing: what can't be read is logged and left out, and the next minute goes on.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from functools import partial

from ingestion.collector.own_events import OwnEvents, OwnSegments
from ingestion.collector.segments import waiting
from ingestion.sources.database_metrics import DatabaseMetrics
from ingestion.sources.machine import Machine
from warehouse import database
from warehouse.settings import settings

INTERVAL_SECONDS = 60.0
# The first reading is soon, so that the first build has something to show.
FIRST_SECONDS = 5.0
_MACHINE = "metrics of the machine can't be read"


class SystemMetrics:
    """Reads the metrics, and writes them to the collector's spool, from which they land."""

    def __init__(self) -> None:
        self._machine: Machine | None = None
        self._database = DatabaseMetrics()
        self._events = OwnEvents("warehouse.metrics")
        self._segments = OwnSegments(settings().spool_folder, settings().spool_limit_bytes)
        # Why the last attempt failed, by what it was.
        self._problems: dict[str, str] = {}
        self._attempt(_MACHINE, self._start)

    def read(self) -> dict[str, float]:
        """Return what can be read, by the name of the metric; the rest is logged."""
        metrics: dict[str, float] = {}
        for what, source in {
            _MACHINE: self._of_machine,
            "metrics of the database can't be read": self._of_database,
            "metrics of the spool can't be read": self._of_spool,
        }.items():
            self._attempt(what, partial(_add, metrics, source))
        return metrics

    def record(self) -> None:
        """Read the metrics and write them to the spool; where that fails, they wait."""
        self._events.add_metrics(socket.gethostname(), self.read())
        lines = self._events.take()
        if lines and not self._attempt(
            "metrics can't be kept", lambda: self._segments.write(lines)
        ):
            self._events.put_back(lines)

    def run(self, stopping: threading.Event) -> None:
        """Record the metrics once a minute until it is stopped."""
        pause = FIRST_SECONDS
        while not stopping.wait(pause):
            self.record()
            pause = INTERVAL_SECONDS

    def _attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Do something; log why it fails, once until it works again. Return whether it worked."""
        try:
            act()
        except Exception as error:
            # Whatever it is: nothing may end because of a metric.
            why = " ".join(str(error).split()) or type(error).__name__
            if self._problems.get(what) != why:
                print(f"System {what}: {why}", file=sys.stderr, flush=True)
            self._problems[what] = why
            return False
        self._problems.pop(what, None)
        return True

    def _start(self) -> Machine:
        self._machine = Machine(settings().home)
        return self._machine

    def _of_machine(self) -> dict[str, float]:
        if self._machine is None:
            return self._start().read()
        return self._machine.read()

    def _of_database(self) -> dict[str, float]:
        with database.connect(application_name="warehouse metrics") as connection:
            return self._database.read(connection)

    def _of_spool(self) -> dict[str, float]:
        return {"spool_bytes": float(waiting(settings().spool_folder).bytes)}


def _add(metrics: dict[str, float], source: Callable[[], dict[str, float]]) -> None:
    metrics.update(source())
