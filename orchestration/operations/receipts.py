"""A copy of the receipts of erasures in the home, outside the database.

A backup that is older than an erasure holds what was erased since: this copy tells which erasures
those are when it is restored.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import psycopg
from psycopg.rows import class_row

from warehouse import private_files
from warehouse.errors import WarehouseError
from warehouse.settings import settings

_RECEIPTS = (
    "select k.key, e.kind, e.is_of_one_client, e.subject_hash, e.identifier_hash, "
    "e.identifier_length, e.requested_by, e.begun_at::text "
    "from warehouse.erasures as e cross join warehouse.erasure_key as k order by e.erasure_id"
)


class ReceiptError(WarehouseError):
    """The copy can't be read."""


class KeptReceipt(msgspec.Struct, frozen=True):
    """What suppresses a subject, and who asked for its erasure: hashes, and no identifier."""

    key: bytes
    kind: str
    is_of_one_client: bool
    subject_hash: bytes
    identifier_hash: bytes | None
    identifier_length: int | None
    requested_by: str
    begun_at: str


def copy_of_receipts() -> Path:
    """Return the path of the copy."""
    return settings().home / "erasures.json"


def suppress(connection: psycopg.Connection, receipt: KeptReceipt) -> bool:
    """Write a receipt back, so that new data of its subject is suppressed.

    Returns False if the database has receipts with another key, which it can't stand beside.
    """
    with connection.transaction():
        connection.execute(
            "insert into warehouse.erasure_key (key) values (%s) on conflict do nothing",
            (receipt.key,),
        )
        written = connection.execute(
            "insert into warehouse.erasures (kind, is_of_one_client, subject_hash, "
            "identifier_hash, identifier_length, requested_by) "
            "select %s, %s, %s, %s, %s, %s from warehouse.erasure_key where key = %s",
            (
                receipt.kind, receipt.is_of_one_client, receipt.subject_hash,
                receipt.identifier_hash, receipt.identifier_length, receipt.requested_by,
                receipt.key,
            ),
        ).rowcount  # fmt: skip
    return written == 1


def keep_receipts(connection: psycopg.Connection) -> None:
    """Write all receipts into the copy; those that it has and the database lacks stay in it."""
    with connection.cursor(row_factory=class_row(KeptReceipt)) as cursor:
        found = cursor.execute(_RECEIPTS).fetchall()
    ours = {(one.key, one.kind, one.subject_hash) for one in found}
    others = [one for one in kept_receipts() if (one.key, one.kind, one.subject_hash) not in ours]
    if found or others:
        private_files.replace(copy_of_receipts(), msgspec.json.encode([*others, *found]))


def kept_receipts() -> list[KeptReceipt]:
    """Return the receipts in the copy, the oldest first. Raises ReceiptError."""
    try:
        return msgspec.json.decode(copy_of_receipts().read_bytes(), type=list[KeptReceipt])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise ReceiptError(f"{copy_of_receipts()} can't be read: {error}") from None


def missing_receipts(connection: psycopg.Connection) -> list[KeptReceipt]:
    """Return the receipts of the copy that the database does not have."""
    with connection.cursor(row_factory=class_row(KeptReceipt)) as cursor:
        found = cursor.execute(_RECEIPTS).fetchall()
    ours = {(one.kind, one.subject_hash) for one in found}
    return [one for one in kept_receipts() if (one.kind, one.subject_hash) not in ours]
