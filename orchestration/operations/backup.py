"""Backs a warehouse up into one file, and restores it into an empty one.

`pg_dump` and `pg_restore` do it, in one transaction each. The backup holds the whole database:
events, the ledger, facts, marts with their offsets, keys, receipts. A restored warehouse goes on
where the backup was made; what landed since is loaded again from its files.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ingestion.privacy.suppression import Subject, SubjectKind, subject_hash
from orchestration.operations.erase import erase
from orchestration.operations.receipts import (
    KeptReceipt,
    keep_receipts,
    missing_receipts,
    suppress,
)
from warehouse import database, embedded, key_store
from warehouse.errors import WarehouseError
from warehouse.schema.migrate import migrate
from warehouse.settings import PostgresVersion, settings
from warehouse.sql_files import read_sql

IDENTIFIERS = read_sql(__file__, "identifiers")
SCHEMAS = ("staging", "intermediate", "marts", "export", "dagster", "warehouse")


class BackupError(WarehouseError):
    """The backup could not be made or restored; the message says why, and what is left."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup: its size, and the last batch that is in it."""

    file: str
    bytes: int
    batch_seq: int


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored warehouse: its last batch, and erasures that are younger than the backup.

    ``erased_again`` counts those that were applied again; ``suppressed`` those whose identifier is
    nowhere an id in the backup, so that only new data is kept out; ``not_applied`` those that were
    made with another key.
    """

    batch_seq: int
    erased_again: int
    suppressed: int
    not_applied: int


def back_up(file: Path) -> Backup:
    """Write the warehouse into a file that only its owner may read. Raises BackupError."""
    if file.exists():
        raise BackupError(f"{file} is there already: name another file, or move it away.")
    with database.connect(autocommit=True, application_name="warehouse backup") as connection:
        batch_seq = _last_batch(connection)
        keep_receipts(connection)
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        # Made beforehand, so that it is never open to others.
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _run("pg_dump", "--format=custom", f"--file={unfinished}")
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.rename(file)
    except OSError as error:
        raise BackupError(f"{file} can't be written: {error.strerror}.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return Backup(str(file), file.stat().st_size, batch_seq)


def restore(file: Path) -> Restored:
    """Restore a backup into an empty warehouse, and erase again what was erased since.

    Raises BackupError: then the warehouse is as empty as before. Raises WarehouseError where an
    erasure fails, which the same erasure resumes.
    """
    if not file.is_file():
        raise BackupError(f"There is no file {file}.")
    # Roles are the server's, and not in the backup.
    migrate()
    with database.connect(autocommit=True, application_name="warehouse restore") as connection:
        if _last_batch(connection):
            raise BackupError(
                f"The warehouse at {database.where()} holds data, which a restored backup would "
                "replace. Restore into a new one: set WAREHOUSE_HOME to a new folder, or "
                "WAREHOUSE_DATABASE_URL to an empty database."
            )
        for schema in SCHEMAS:
            connection.execute(f"drop schema if exists {schema} cascade")
    try:
        _run("pg_restore", "--single-transaction", "--exit-on-error", *_to_database(), str(file))
    finally:
        # Brings an older backup up to date, or what is empty back to what it was.
        migrate()
    with database.connect(autocommit=True, application_name="warehouse restore") as connection:
        key_store.write_copy(connection, settings().home)
        return Restored(_last_batch(connection), *_apply_receipts(connection))


def _apply_receipts(connection: psycopg.Connection) -> tuple[int, int, int]:
    missing = missing_receipts(connection)
    found = {kind: _named_by(connection, kind, missing) for kind in {one.kind for one in missing}}
    erased_again = suppressed = not_applied = 0
    for receipt in missing:
        if not suppress(connection, receipt):
            not_applied += 1
        elif subject := found[receipt.kind].get(receipt.subject_hash):
            # It resumes the receipt that was just written.
            erase(subject, receipt.requested_by)
            erased_again += 1
        else:
            suppressed += 1
    return erased_again, suppressed, not_applied


def _named_by(
    connection: psycopg.Connection, kind: str, receipts: list[KeptReceipt]
) -> dict[bytes, Subject]:
    """Return the subjects that receipts of a kind are of, as far as they are in the warehouse."""
    sought = {one.subject_hash for one in receipts if one.kind == kind}
    keys = {one.key for one in receipts}
    found = {}
    with connection.transaction(), connection.cursor("identifiers") as cursor:
        cursor.execute(IDENTIFIERS, {"kind": kind})
        for identifier, client_id in cursor:
            for key in keys if identifier else ():
                for of_client in (None, client_id):
                    digest = subject_hash(key, identifier, of_client)
                    if digest in sought:
                        found[digest] = Subject(SubjectKind(kind), identifier, of_client)
    return found


def _last_batch(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "select coalesce(max(batch_seq), 0) from staging.event_batches"
    ).fetchone()
    return row[0] if row else 0


def _to_database() -> list[str]:
    # Unlike pg_dump, pg_restore takes the database from nowhere else.
    return ["--dbname", database.libpq_environment()["PGDATABASE"]]


def _run(name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on the warehouse. Raises BackupError."""
    # pg_dump refuses a newer server than itself, and an older server refuses what it writes.
    with database.connect(application_name="warehouse backup") as connection:
        is_newer = connection.info.server_version // 10_000 > PostgresVersion.OLDEST
    version = PostgresVersion.NEWEST if is_newer else PostgresVersion.OLDEST
    command = [str(embedded.program(name, version)), *arguments]
    done = subprocess.run(
        command,
        env=os.environ | database.libpq_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        # Its messages name objects, and no rows but those of COPY.
        lines = [line for line in done.stderr.splitlines() if "CONTEXT:" not in line]
        raise BackupError(f"{name} failed: {' '.join(lines[:3]) or 'without a message'}")
