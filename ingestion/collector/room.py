"""The room in a spool and the quotas of keys, shared by all processes that use the spool.

Both are small files that are changed under a lock, so that their limits hold whatever is killed,
and for several collectors on one spool too.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestion.collector.segments import waiting

_number = struct.Struct("!Q")


def _shared(path: Path, size: int) -> tuple[int, mmap.mmap]:
    """Open a file that processes share as memory; its descriptor is for locks."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.fstat(file).st_size < size:
        os.truncate(file, size)
    return file, mmap.mmap(file, size)


class Room:
    """How many bytes wait in a spool, and whether more may be written."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self.limit_bytes = limit_bytes
        self._file, self._count = _shared(folder / ".room", _number.size)

    def used(self) -> int:
        """Return how many bytes wait, as last counted."""
        return _number.unpack_from(self._count)[0]

    @contextmanager
    def counted(self) -> Iterator[list[int]]:
        """Keep others from writing; yields the bytes that wait, to be changed in place."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            count = [self.used()]
            try:
                yield count
            finally:
                _number.pack_into(self._count, 0, max(count[0], 0))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def recount(self) -> None:
        """Count the bytes that wait: a killed process may have left a wrong number."""
        with self.counted() as count:
            count[0] = waiting(self._folder).bytes


class Quotas:
    """How many events each key has sent in the current minute."""

    _slot = struct.Struct("!8sII")
    SLOTS = 4_096
    # A process takes this share of a quota at once, not to need the lock for each request.
    LEASES = 128

    def __init__(self, folder: Path) -> None:
        self._file, self._counts = _shared(folder / ".quotas", self.SLOTS * self._slot.size)
        # By key: the minute, and what this process has taken and not used.
        self._leases: dict[str, tuple[int, int]] = {}

    def take(self, key_id: str, events: int, per_minute: int) -> int:
        """Count events of a key; return 0, or after how many seconds they would fit.

        What does not fit is not counted.
        """
        now = time.time()
        minute = int(now // 60) & 0xFFFF_FFFF
        of_minute, left = self._leases.get(key_id, (minute, 0))
        left = left if of_minute == minute else 0
        if left < events:
            left += self._lease(key_id, minute, events - left, per_minute)
        if left < events:
            self._leases[key_id] = (minute, left)
            return 60 - int(now % 60)
        self._leases[key_id] = (minute, left - events)
        return 0

    def _lease(self, key_id: str, minute: int, needed: int, per_minute: int) -> int:
        """Take at least what is needed of a quota, or 0 if there is less."""
        name = bytes.fromhex(key_id).ljust(8, b"\0")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            offset, used = self._find(name, minute)
            taken = min(max(needed, per_minute // self.LEASES), per_minute - used)
            if taken < needed:
                return 0
            self._slot.pack_into(self._counts, offset, name, minute, used + taken)
            return taken
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _find(self, name: bytes, minute: int) -> tuple[int, int]:
        """Return the slot of a key, or one that no key uses in this minute, and its count."""
        first = int.from_bytes(name[:6], "big") % self.SLOTS
        free = None
        for step in range(self.SLOTS):
            offset = (first + step) % self.SLOTS * self._slot.size
            owner, of_minute, used = self._slot.unpack_from(self._counts, offset)
            if of_minute != minute:
                free = offset if free is None else free
                if owner in (name, b"\0" * 8):
                    break
            elif owner == name:
                return offset, used
        return (first * self._slot.size if free is None else free), 0
