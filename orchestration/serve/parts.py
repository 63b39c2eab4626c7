"""The parts of `warehouse serve`: each runs by itself, and one that ends is started again.

A part that can't start, or crashes, takes no other one down: the collector takes events while the
API fails. How the parts do is written for others to read (serve_state.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psutil

from orchestration.operations.serve_state import PartState, Serving, forget, write

# How long a part waits until it starts again: twice as long after each time that it ended.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
# A part that has run for so long works again: the next time that it ends is the first one.
STEADY_SECONDS = 60.0
# How long runs may take to end after SIGTERM. They cancel the statements that they wait for.
STOP_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass
class Part:
    """A process that leads a process group of its own.

    ``start`` begins it; ``may_start`` says whether what it needs is there.
    """

    start: Callable[[], subprocess.Popen[bytes]]
    may_start: Callable[[], bool] = lambda: True
    process: subprocess.Popen[bytes] | None = None
    # What it left behind when it ended, and when that is killed.
    remains: subprocess.Popen[bytes] | None = None
    killed_at: float = 0.0
    began_at: float = 0.0
    starts_at: float = 0.0
    ended: int = 0
    how: str | None = None
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))


class Parts:
    """Starts parts, in their order, and starts again what has ended."""

    def __init__(
        self, parts: Mapping[str, Part], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._parts = parts
        self._clock = clock

    def look(self) -> None:
        """Start what is due, and say what has ended. Call this again and again."""
        is_changed = False
        for name, part in self._parts.items():
            if part.process is None:
                is_changed |= self._start(name, part)
            elif part.process.poll() is not None:
                part.remains, part.killed_at = part.process, self._clock() + STOP_SECONDS
                signal_group(part.process, signal.SIGTERM)
                self._note_end(name, part, _how(part.process.returncode))
                is_changed = True
            elif part.ended and self._clock() - part.began_at >= STEADY_SECONDS:
                print(f"The {name} works again.", file=sys.stderr)
                part.ended = 0
                is_changed = True
        if is_changed:
            write(Serving(os.getpid(), [self._state(*one) for one in self._parts.items()]))

    def stop(self, others: Iterable[subprocess.Popen[bytes]] = ()) -> None:
        """End all parts, and other processes that lead groups."""
        found = [
            process
            for part in self._parts.values()
            for process in (part.process, part.remains)
            if process is not None
        ]
        end_groups([*found, *others])
        forget()

    def _start(self, name: str, part: Part) -> bool:
        now = self._clock()
        if part.remains is not None:
            # Two of the same would be in each other's way.
            if group_lives(part.remains):
                if now >= part.killed_at:
                    signal_group(part.remains, signal.SIGKILL)
                return False
            part.remains = None
        if now < part.starts_at or not part.may_start():
            return False
        part.began_at = now
        try:
            part.process = part.start()
        except Exception as error:  # Whatever it is, the others go on.
            self._note_end(name, part, f"{type(error).__name__}: {error}")
        part.changed = datetime.now(UTC)
        return True

    def _note_end(self, name: str, part: Part, how: str) -> None:
        now = self._clock()
        part.ended = part.ended + 1 if now - part.began_at < STEADY_SECONDS else 1
        wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (part.ended - 1))
        part.process, part.how, part.starts_at = None, how, now + wait
        part.changed = datetime.now(UTC)
        print(
            f"The {name} has ended by itself ({how}): see its output above. The others go on; it "
            f"starts again in {wait:.0f} s.",
            file=sys.stderr,
        )

    def _state(self, name: str, part: Part) -> PartState:
        if part.process is not None:
            return PartState(name, part.process.pid, part.changed, part.ended, part.how)
        wait = max(0.0, part.starts_at - self._clock())
        starts_at = datetime.now(UTC) + timedelta(seconds=wait)
        return PartState(name, None, part.changed, part.ended, part.how, starts_at)


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def end_groups(processes: list[subprocess.Popen[bytes]]) -> None:
    """End processes and their groups, which include runs."""
    for process in processes:
        signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(group_lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for process in processes:
        signal_group(process, signal.SIGKILL)
        process.wait()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to all processes of a group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def group_lives(process: subprocess.Popen[bytes]) -> bool:
    """Return whether any process of a group is left."""
    # A process that has ended stays in its group until `poll` reaps it. What it left behind is
    # reaped by process 1, which does so late or, in some containers, never.
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return any(
        _group_of(one.pid) == process.pid and one.info["status"] != psutil.STATUS_ZOMBIE
        for one in psutil.process_iter(["status"])
    )


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None
