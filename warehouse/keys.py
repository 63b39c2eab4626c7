"""The keys of the HTTP servers, as these know them.

A key is shown once and stored as a hash. The servers read a copy of the hashes in the home, so that
they work while the database is away. It is written by ``key_store.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from warehouse.key_kinds import KeyKind

LONGEST_KEY = 128
_is_key = re.compile(r"[a-z]+_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}").fullmatch
_is_host = re.compile(r"[a-z0-9._-]+(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?").fullmatch


class Key(msgspec.Struct, frozen=True):
    """A key that is not revoked, as servers know it.

    ``client_id`` is set for browser and server keys, ``role_name`` for keys that read. A quota is
    ``per_minute``: events of a key that sends, requests of a key that reads.
    """

    key_id: str
    kind: KeyKind
    digest: bytes
    client_id: str | None
    origins: frozenset[str]
    role_name: str | None
    per_minute: int
    expires_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Return whether the key has not expired."""
        return self.expires_at is None or now < self.expires_at


# Stands for a key that is not known: no text has its hash, and it has expired.
_NO_KEY = Key(
    "", KeyKind.READ, bytes(32), None, frozenset(), None, 0, datetime.fromtimestamp(0, UTC)
)


class KnownKeys:
    """The keys as a server knows them, from the home's copy of their hashes."""

    def __init__(self, home: Path) -> None:
        self._path = copy_of_keys(home)
        self._version: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}

    @property
    def is_known(self) -> bool:
        """Whether there is a copy at all. Without one nobody can be told from anybody else."""
        return self._version is not None

    def refresh(self) -> None:
        """Read the copy again if it was replaced; call this every second or so."""
        try:
            status = self._path.stat()
            version = (status.st_ino, status.st_mtime_ns)
            if version != self._version:
                self._keys = {key.key_id: key for key in _decode(self._path.read_bytes())}
                self._version = version
        except (OSError, msgspec.MsgspecError):
            # What was known is still right; the file is replaced as a whole and soon again.
            return

    def find(self, key: str) -> Key | None:
        """Return a key that is neither revoked nor expired, None for any other text.

        All of them take the same steps, and the hash is compared in constant time: how long it
        took says nothing about the keys that there are.
        """
        match = _is_key(key) if len(key) <= LONGEST_KEY else None
        known = self._keys.get(match["id"], _NO_KEY) if match else _NO_KEY
        is_right = hmac.compare_digest(known.digest, digest_of(match[0] if match else ""))
        return known if known.is_valid(datetime.now(UTC)) and is_right else None

    def has_origin(self, origin: str) -> bool:
        """Return whether any browser key may be used from an origin."""
        now = datetime.now(UTC)
        return any(
            origin in key.origins and key.kind is KeyKind.BROWSER and key.is_valid(now)
            for key in self._keys.values()
        )


def origin_of(url: str) -> str | None:
    """Return the origin that a URL names, as browsers write it; None if it is not one."""
    try:
        parts = urlsplit(url.strip().lower())
        port = parts.port
    except ValueError:
        return None
    is_origin = (
        parts.scheme in ("http", "https")
        and _is_host(parts.netloc)
        and parts.path in ("", "/")
        and not parts.query
        and not parts.fragment
    )
    if not is_origin:
        return None
    # Browsers leave out a scheme's own port.
    host = parts.netloc
    if port == {"http": 80, "https": 443}[parts.scheme]:
        host = host.rpartition(":")[0]
    return f"{parts.scheme}://{host}"


def copy_of_keys(home: Path) -> Path:
    """Return the path of the copy of the hashes in a home."""
    return home / "keys.json"


encode_keys = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(list[Key]).decode


def digest_of(key: str) -> bytes:
    """Return the hash of a key. It need not be slow: nobody can guess 256 random bits."""
    return hashlib.sha256(key.encode()).digest()
