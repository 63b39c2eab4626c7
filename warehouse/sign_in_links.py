"""Links that sign an analyst in to the dashboard once, on the machine of the warehouse."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from warehouse import key_store, private_files
from warehouse.database import ANALYST
from warehouse.keys import KeyKind

LINK_DAYS = 1


def new_link(connection: psycopg.Connection, home: Path, address: str) -> str:
    """Return a link to the API at an address; it works once, and who follows it stays for a day.

    Until then its key is in a private file of the home, under the hash of what the link says.
    """
    key = key_store.create(
        connection,
        home,
        KeyKind.READ,
        role=ANALYST,
        name=f"Link of {datetime.now(UTC):%Y-%m-%d %H:%M}",
        expires_in_days=LINK_DAYS,
    )
    token = secrets.token_urlsafe(24)
    file = _file(home, token)
    private_files.make_folder(file.parent)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
        new.write(key.key)
    return f"{address}/sign-in/{token}"


def take_key(home: Path, token: str) -> str | None:
    """Return the key of a link, and forget the link; None if there is none, or it was used."""
    file = _file(home, token)
    # Of two who follow it at once, one gets it.
    taken = file.with_suffix(f".{secrets.token_hex(4)}")
    try:
        file.rename(taken)
        return taken.read_text("utf-8")
    except OSError:
        return None
    finally:
        with suppress(OSError):
            taken.unlink()


def _file(home: Path, token: str) -> Path:
    return home / "sign-in" / hashlib.sha256(token.encode()).hexdigest()
