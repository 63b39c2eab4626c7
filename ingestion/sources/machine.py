"""How busy this machine is: processor, memory, disk, load.

psutil reads the host, also in a container. So where a control group (cgroup v2) of this process has
a limit, its own files count: a container at its limit is full, whatever the host has left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# Of cgroup v2; those of version 1 have a number and names of controllers.
_UNIFIED = "0::"


@dataclass(frozen=True, slots=True)
class Limit:
    """The tightest limit of a resource that holds for this process, and the group that has it.

    ``amount`` is in bytes of memory or in processors.
    """

    group: Path
    amount: float


def groups_of(membership: str, root: Path) -> list[Path]:
    """Return the folders of a process's control group and of those around it, innermost first.

    ``membership`` is the content of `/proc/PID/cgroup`. Without cgroup v2 there are none.
    """
    for line in membership.splitlines():
        if line.startswith(_UNIFIED):
            inner = root / line.removeprefix(_UNIFIED).lstrip("/")
            # In a container the path may be one that only the host has.
            inner = inner if inner.is_dir() else root
            return [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return []


def memory_limit(groups: Sequence[Path], available: float) -> Limit | None:
    """Return the limit of memory in bytes, None where it is no less than what is ``available``."""
    return _tightest(groups, "memory.max", _bytes, available)


def cpu_limit(groups: Sequence[Path], available: float) -> Limit | None:
    """Return the limit in processors, None where it is no less than what is ``available``."""
    return _tightest(groups, "cpu.max", _processors, available)


def _tightest(
    groups: Sequence[Path],
    name: str,
    amount_of: Callable[[Sequence[str]], float | None],
    available: float,
) -> Limit | None:
    limits = []
    for group in groups:
        try:
            amount = amount_of((group / name).read_text("ascii").split())
        except FileNotFoundError:
            # The outermost group has no limits, nor has one without this controller.
            continue
        if amount is not None and amount < available:
            limits.append(Limit(group, amount))
    return min(limits, key=lambda limit: limit.amount, default=None)


def _bytes(content: Sequence[str]) -> float | None:
    return None if content[0] == "max" else float(content[0])


def _processors(content: Sequence[str]) -> float | None:
    quota, period = content
    return None if quota == "max" else float(quota) / float(period)


def _numbers(path: Path) -> dict[str, float]:
    """Return the lines `name number` of a file."""
    lines = (line.split() for line in path.read_text("ascii").splitlines())
    return {name: float(number) for name, number in lines}


class Machine:
    """Reads the metrics of this machine, or of its container where that has limits."""

    def __init__(self, disk: Path, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> None:
        """``disk`` is a folder on the disk of which the free space counts."""
        self._disk = disk
        self._cgroups = cgroups
        self._membership = membership
        # When the group's processor time was last read, and how much it was, in seconds.
        self._last: tuple[Limit, float, float] | None = None
        # The first reading is of the time from here on.
        self._cpu_percent(self._groups())

    def read(self) -> dict[str, float]:
        """Return the metrics; processor time is that since the last reading.

        Raises OSError or ValueError where a file can't be read or understood.
        """
        groups = self._groups()
        return {
            "cpu_usage": round(self._cpu_percent(groups), 2),
            "memory_usage": round(_memory_percent(groups), 2),
            "disk_free_bytes": float(psutil.disk_usage(str(self._disk)).free),
            "load_average": round(psutil.getloadavg()[0], 2),
        }

    def _groups(self) -> list[Path]:
        try:
            return groups_of(self._membership.read_text("utf-8"), self._cgroups)
        except FileNotFoundError:
            # Not Linux.
            return []

    def _cpu_percent(self, groups: Sequence[Path]) -> float:
        of_host = psutil.cpu_percent()
        limit = cpu_limit(groups, psutil.cpu_count() or 1)
        if limit is None:
            self._last = None
            return of_host
        now = time.monotonic()
        used = _numbers(limit.group / "cpu.stat")["usage_usec"] / 1e6
        last, self._last = self._last, (limit, now, used)
        if last is None or last[0] != limit or now <= last[1]:
            return 0.0
        # A quota may be exceeded for a moment.
        return min(100 * (used - last[2]) / ((now - last[1]) * limit.amount), 100.0)


def _memory_percent(groups: Sequence[Path]) -> float:
    """Return the share of memory that can't be freed: without cached files that nobody uses."""
    host = psutil.virtual_memory()
    limit = memory_limit(groups, host.total)
    if limit is None:
        return host.percent
    used = float((limit.group / "memory.current").read_text("ascii"))
    cached = _numbers(limit.group / "memory.stat").get("inactive_file", 0.0)
    return 100 * max(used - cached, 0.0) / limit.amount
