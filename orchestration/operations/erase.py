"""Erases a subject, and leaves a receipt that identifies it by a keyed hash alone.

Each of the five steps is committed, so that an interrupted erasure resumes after the last one:

1. Suppress: no new data of the subject is loaded.
2. Remove the subject from staging and from the typed facts.
3. Build the marts without the subject.
4. Delete the files that hold the subject.
5. Search the whole database for the subject, and record the result.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ingestion.contract.tracking_plan import LONGEST_KEY
from ingestion.load import ledger
from ingestion.load.chunks import Offset
from ingestion.load.intake import MAX_ATTEMPTS
from ingestion.load.ledger import Batch, Counts
from ingestion.privacy.erasures import wait_for_loaders
from ingestion.privacy.name_forms import ERASED, normalized_identifier
from ingestion.privacy.suppression import Subject, SubjectKind, subject_hash
from orchestration.operations.build import (
    BuildError,
    BuildOptions,
    build_under_lock,
    one_build_at_a_time,
)
from orchestration.operations.erased_files import files_holding
from orchestration.operations.receipts import keep_receipts
from orchestration.operations.reserved_ids import is_reserved, names_in_rows
from warehouse import database, key_store, locks
from warehouse.errors import WarehouseError
from warehouse.locks import Lock
from warehouse.settings import settings

# How long an erasure waits for transactions that still see the removed rows.
PATIENCE_SECONDS = 10.0
# What the search of an erasure does not cover. Each receipt lists it.
NOT_SEARCHED = (
    "sentences and longer names that contain the identifier, hashes of the identifier, and other "
    "identifiers of the same subject",
    "spellings with non-ASCII letters in another case, or with non-ASCII white space around the "
    "identifier",
    "numeric columns, and members of events that the tracking plan declares as numbers",
    "URLs in which a / ? # & ; or = of the identifier is not encoded, in which a host name is "
    "spelled in another way, or which are encoded more than twice",
    "ids that are URLs and contain the identifier: ids are compared as a whole",
    "files outside the home and drop folders, files that are dropped later, names of files that "
    "are loaded later, and formats that are neither text nor compressed text",
    "backups, replicas, other copies of the exported row, and the server's own files: its log, its "
    "write-ahead log and pages that are not overwritten yet",
)


class EraseError(WarehouseError):
    """The subject can't be erased, or the search still found it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of an erasure: what was removed or changed, and what the search found afterwards.

    - ``erasure_id`` and ``state`` are None for a dry run, which changes nothing.
    - ``batch_seq`` is the batch of the erasure, None where no row held the subject.
    - ``removed`` counts rows by table; of marts, those that named the subject.
    - ``changed`` counts rows of other subjects from whose URLs the identifier was cut.
    - ``files_removed`` and ``files_left`` count files by folder.
    - ``not_searched`` names tables of other owners that the warehouse's owner may not read.
    - ``older_snapshots`` counts transactions that still see the old rows; None before the search.
    - ``export_is_due`` says that the exported row, which names nobody, still counts the subject.
    """

    kind: str
    erasure_id: int | None
    state: str | None
    batch_seq: int | None
    removed: dict[str, int]
    found: dict[str, int] | None
    begun_at: datetime | None
    verified_at: datetime | None
    not_searched: list[str]
    changed: dict[str, int]
    files_removed: dict[str, int]
    files_left: dict[str, int]
    older_snapshots: int | None = None
    export_is_due: bool = False


def erase(subject: Subject, by: str, dry_run: bool = False) -> Receipt:
    """Erase a subject, or report what that would remove.

    Raises EraseError where the identifier is a reserved word, where the search still finds the
    subject, or where a step failed, and BuildError where the marts could not be built. The message
    says which steps are done. The same call resumes after them.
    """
    _refuse_malformed(subject.identifier)
    if dry_run:
        with _connect() as connection:
            _refuse_reserved(connection, subject.identifier)
            return _preview(connection, subject)
    try:
        return _erase(subject, by)
    except _RefusedError as error:
        raise EraseError(str(error)) from None
    except BuildError as error:
        raise BuildError(f"{error} {_progress(subject)}") from error
    except WarehouseError as error:
        raise EraseError(f"{error} {_progress(subject)}") from error
    except psycopg.Error as error:
        if error.sqlstate in database.NOT_SET_UP:
            raise
        why = f"The erasure stopped at an error of the database: {database.reason(error)}."
        raise EraseError(f"{why} {_progress(subject)}") from error
    except KeyboardInterrupt as error:
        raise EraseError(f"The erasure was interrupted. {_progress(subject)}") from error
    except OSError as error:
        # The file's name is left out: it may be the identifier.
        why = f"The erasure stopped: {error.strerror or type(error).__name__}."
        raise EraseError(f"{why} {_progress(subject)}") from error


class _RefusedError(WarehouseError):
    """The erasure was refused before its first step."""


# Reading a view runs code of its owner. Servers before 16.4 do not know the setting. On every
# server `warehouse.is_safe_to_touch` also checks each table.
_READS_NO_VIEWS = """
    select set_config(name, 'view, foreign-table', false) from pg_settings
    where name = 'restrict_nonsystem_relation_kind'
"""


def _connect() -> psycopg.Connection:
    connection = database.connect(autocommit=True, application_name="warehouse erase")
    connection.execute(_READS_NO_VIEWS)
    return connection


def _erase(subject: Subject, by: str) -> Receipt:
    with locks.held(Lock.ERASURE), _connect() as connection:
        _refuse_reserved(connection, subject.identifier)
        erasure_id = _begin(connection, subject, by)
        keep_receipts(connection)
        is_new = _receipt(connection, erasure_id).state == "begun"
        failed = _remove_and_build(connection, subject, erasure_id, remove=is_new)
        _erase_files(connection, subject, erasure_id)
        searched = _search(connection, subject)
        if any(rows for _, rows in searched):
            # These rows came after the removal of an erasure that was interrupted.
            failed = _remove_and_build(connection, subject, erasure_id, remove=True) or failed
            searched = _search(connection, subject)
        older = _wait_for_older_snapshots(connection)
        _note_search(connection, erasure_id, searched, older)
        key_store.write_copy(connection, settings().home)
        if failed:
            raise failed
        return _receipt(connection, erasure_id)


_STATES = {
    "begun": "Receipt {} is at `begun`: no new data of the subject is loaded, but staging, facts "
    "and marts still hold the subject.",
    "removed": "Receipt {} is at `removed`: no new data of the subject is loaded, and its earlier "
    "data is removed from staging and facts. Marts and files may still hold it, {}.",
    "verified": "Receipt {} is verified nevertheless: the marts were built without the subject, "
    "and the search found nothing.",
}


def _progress(subject: Subject) -> str:
    """Return a sentence on which steps of a failed erasure are done, according to its receipt."""
    again = "Run the same command again: it resumes from there."
    try:
        with _connect() as connection:
            key = connection.execute("select key from warehouse.erasure_key").fetchone()
            found = (
                key
                and connection.execute(
                    "select erasure_id, state, found from warehouse.erasures "
                    "where subject_hash = %s and kind = %s order by erasure_id desc limit 1",
                    (
                        subject_hash(key[0], subject.identifier, subject.of_client),
                        subject.kind.value,
                    ),
                ).fetchone()
            )
    except (psycopg.Error, WarehouseError):
        return f"The receipt can't be read now, because the database does not answer. {again}"
    if not found:
        return "No receipt was written: nothing has changed. Run the same command again."
    erasure_id, state, places = found
    search = (
        f"and the last search found it in {', '.join(places)}"
        if places
        else "and the search that verifies the erasure has not run yet"
    )
    sentence = _STATES[state].format(erasure_id, search)
    return sentence if state == "verified" else f"{sentence} {again}"


def _remove_and_build(
    connection: psycopg.Connection, subject: Subject, erasure_id: int, remove: bool
) -> BuildError | None:
    """Remove the subject where ``remove`` says so, and build the marts without it.

    Returns and raises the same as ``_build_without_subject``.
    """
    with one_build_at_a_time() as building:
        if remove:
            _remove(connection, subject, erasure_id)
        receipt = _receipt(connection, erasure_id)
        failed = _build_without_subject(connection, receipt.batch_seq, building)
        if receipt.batch_seq is not None:
            _clear_erased_rows(connection)
    _vacuum_and_analyze(connection, sorted(receipt.removed.keys() | receipt.changed.keys()))
    return failed


_RECEIPTS = (
    "select kind, erasure_id, state, batch_seq, removed, found, begun_at, verified_at, "
    "not_searched, changed, files_removed, files_left, older_snapshots, "
    "coalesce((select e.batch_seq < erasures.batch_seq from warehouse.exports as e "
    "where e.state = 'done' order by e.export_id desc limit 1), false) as export_is_due "
    "from warehouse.erasures"
)


def _receipt(connection: psycopg.Connection, erasure_id: int) -> Receipt:
    cursor = connection.cursor(row_factory=class_row(Receipt))
    found = cursor.execute(f"{_RECEIPTS} where erasure_id = %s", (erasure_id,)).fetchone()
    if found is None:
        raise EraseError(f"Receipt {erasure_id} does not exist any more.")
    return found


def _refuse_malformed(identifier: str) -> None:
    if not normalized_identifier(identifier) or "\0" in identifier or len(identifier) > LONGEST_KEY:
        raise EraseError(
            f"An identifier must have 1 to {LONGEST_KEY} characters, not only white space, "
            "and no NUL. Nothing was erased."
        )


def _refuse_reserved(connection: psycopg.Connection, identifier: str) -> None:
    """Refuse an identifier that everybody's rows hold: erasing it would empty the warehouse."""
    name = identifier.strip()
    if is_reserved(name) or name in names_in_rows(connection):
        raise _RefusedError(
            f"{identifier!r} is a reserved word: the warehouse itself writes it into rows of "
            "everybody. Nothing was erased."
        )


def _hash(connection: psycopg.Connection, identifier: str, of_client: str | None = None) -> bytes:
    """Return a subject's hash; the first erasure creates the key."""
    connection.execute(
        # Two random UUIDs hold 244 bits from the server's cryptographic random source.
        "insert into warehouse.erasure_key (key) "
        "values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) "
        "on conflict do nothing"
    )
    row = connection.execute("select key from warehouse.erasure_key").fetchone()
    if row is None:
        raise EraseError("The key of the receipts does not exist.")
    return subject_hash(row[0], identifier, of_client)


def _begin(connection: psycopg.Connection, subject: Subject, by: str) -> int:
    """Suppress new data of the subject, and write the receipt; return the erasure's id."""
    digest = _hash(connection, subject.identifier, subject.of_client)
    if (
        normalized_identifier(by) == normalized_identifier(subject.identifier)
        or by == subject.of_client
    ):
        by = ERASED.decode()
    with connection.transaction():
        unfinished = connection.execute(
            "select erasure_id from warehouse.erasures "
            "where subject_hash = %s and kind = %s and state <> 'verified'",
            (digest, subject.kind.value),
        ).fetchone()
        if unfinished:
            return unfinished[0]
        wait_for_loaders(connection)
        row = connection.execute(
            "insert into warehouse.erasures (kind, is_of_one_client, subject_hash, requested_by, "
            "identifier_hash, identifier_length) values (%s, %s, %s, %s, %s, %s) "
            "returning erasure_id",
            (
                subject.kind.value, subject.of_client is not None, digest, by,
                None if subject.of_client is None else _hash(connection, subject.identifier),
                len(normalized_identifier(subject.identifier)),
            ),
        ).fetchone()  # fmt: skip
    if row is None:
        raise EraseError("The receipt could not be written.")
    return row[0]


def _remove(connection: psycopg.Connection, subject: Subject, erasure_id: int) -> None:
    """Remove the subject from staging and from the facts, in one transaction."""
    before = _receipt(connection, erasure_id)
    for _ in range(MAX_ATTEMPTS):
        # This transaction and a replay may wait for each other.
        with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
            removed, changed = _remove_now(connection, subject)
            batch_seq = None
            if removed or changed:
                batch_seq = _commit_batch(connection)
                connection.execute(
                    "select warehouse.note_erasure(%s, %s)", (batch_seq, subject.identifier)
                )
            connection.execute(
                "update warehouse.erasures set state = 'removed', removed_at = clock_timestamp(), "
                "removed = %(removed)s, changed = %(changed)s, "
                "batch_seq = coalesce(%(batch_seq)s, batch_seq), "
                "rows_forgotten_at = case when %(batch_seq)s is null then rows_forgotten_at end "
                "where erasure_id = %(erasure_id)s",
                {
                    "removed": Jsonb(dict(Counter(before.removed) + Counter(removed))),
                    "changed": Jsonb(dict(Counter(before.changed) + Counter(changed))),
                    "batch_seq": batch_seq,
                    "erasure_id": erasure_id,
                },
            )
            return
    raise EraseError(f"The erasure ran into a deadlock with loads {MAX_ATTEMPTS} times in a row.")


def _remove_now(
    connection: psycopg.Connection, subject: Subject
) -> tuple[dict[str, int], dict[str, int]]:
    """Remove the subject; return how many rows were removed and changed, by table."""
    of_models = {
        table: rows
        for table, rows in _search(connection, subject)
        if rows and table.startswith(("intermediate.", "marts."))
    }
    entities = _entities_of_models(connection, subject)
    ((of_subject, mentions),) = connection.execute(
        "select warehouse.remove_subject(%(id)s, %(client)s), "
        "warehouse.remove_mentions(%(id)s, %(client)s)",
        {"id": subject.identifier, "client": subject.of_client},
    )
    connection.cursor().executemany(
        "insert into pg_temp.erased_rows (model, content) values (%s, %s::jsonb)", entities
    )
    removed, changed = {}, {}
    for table, rows in (of_models | of_subject | mentions).items():
        name, is_changed, _ = table.partition(", changed")
        if rows:
            (changed if is_changed else removed)[name] = rows
    return removed, changed


def _entities_of_models(connection: psycopg.Connection, subject: Subject) -> list[tuple[str, str]]:
    """Return the subject's entities as pairs of a model and one of its rows in JSON.

    The models are views of the builder, so its role reads them.
    """
    held = connection.execute(
        "select model, key_column, keys from warehouse.entities_holding(%s, %s)",
        (subject.identifier, subject.of_client),
    ).fetchall()
    if not held:
        return []
    with database.connect_as_builder(application_name="warehouse erase") as builder:
        return [
            (model, content)
            for model, key_column, keys in held
            if builder.execute("select to_regclass(%s)", (f"intermediate.{model}",)).fetchone()
            != (None,)
            for (content,) in builder.execute(
                sql.SQL("select to_jsonb(v)::text from {} as v where {} = any(%s)").format(
                    sql.Identifier("intermediate", model), sql.Identifier(key_column)
                ),
                (keys,),
            )
        ]


def _commit_batch(connection: psycopg.Connection) -> int:
    batch_id = ledger.next_batch_id(connection)
    row = connection.execute("select now()").fetchone()
    if row is None:
        raise EraseError("The database did not return the time.")
    return ledger.commit_batch(
        connection,
        Batch(
            batch_id, -batch_id, ledger.ERASURE, "erase", Offset(), Offset(), b"", row[0], Counts()
        ),
    )


def _preview(connection: psycopg.Connection, subject: Subject) -> Receipt:
    """Remove the subject and roll back, so that the counts are those of a real erasure."""
    with connection.transaction(force_rollback=True):
        removed, changed = _remove_now(connection, subject)
        not_searched = [table for table, rows in _search(connection, subject) if rows is None]
    files = files_holding(subject)
    return Receipt(
        subject.kind.value, None, None, None, removed, None, None, None, not_searched, changed,
        files.removed, files.left,
    )  # fmt: skip


def _erase_files(connection: psycopg.Connection, subject: Subject, erasure_id: int) -> None:
    """Delete the files that hold the subject, and count them on the receipt."""
    before = _receipt(connection, erasure_id).files_removed
    files = files_holding(subject)
    removed = dict(Counter(before) + Counter(files.removed))
    # Files are deleted only where the receipt could be updated.
    with connection.transaction():
        connection.execute(
            "update warehouse.erasures set files_removed = %s, files_left = %s "
            "where erasure_id = %s",
            (Jsonb(removed), Jsonb(files.left), erasure_id),
        )
        files.delete()


def _wait_for_older_snapshots(connection: psycopg.Connection) -> int:
    """Wait up to PATIENCE_SECONDS for transactions that still see old rows; return how many remain.

    Only members of pg_read_all_stats see the transactions of other roles.
    """
    row = connection.execute("select pg_current_xact_id()::xid::text").fetchone()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = connection.execute(
            "select (select count(*) from pg_stat_activity where datname = current_database() "
            "and pid <> pg_backend_pid() and backend_type = 'client backend' "
            "and age(backend_xmin) >= age(%(now)s::xid)) + (select count(*) from pg_prepared_xacts "
            "where database = current_database() and age(transaction) >= age(%(now)s::xid))",
            {"now": row and row[0]},
        ).fetchone()
        older = found[0] if found else 0
        if not older or time.monotonic() > deadline:
            return older
        time.sleep(0.1)


def _vacuum_and_analyze(connection: psycopg.Connection, tables: Sequence[str]) -> None:
    """Remove the subject from dead rows and from the planner's statistics."""
    for table in tables:
        connection.execute(
            sql.SQL("vacuum (analyze) {}").format(sql.Identifier(*table.split(".", 1)))
        )


def _build_without_subject(
    connection: psycopg.Connection, batch_seq: int | None, building: int
) -> BuildError | None:
    """Build the marts without the subject, with the ``as_of`` of the last build.

    Returns the error of a build that failed after all models had read the erasure: a check failed.
    Raises BuildError where some models have not read it.
    """
    if batch_seq is None or not _models_before(connection, batch_seq):
        return None
    row = connection.execute("select warehouse.last_as_of()").fetchone()
    try:
        with database.connect_as_builder(
            autocommit=True, application_name="warehouse build"
        ) as builder:
            build_under_lock(builder, BuildOptions(as_of=row[0] if row else None), building)
    except BuildError as error:
        if _models_before(connection, batch_seq):
            raise
        return error
    return None


def _clear_erased_rows(connection: psycopg.Connection) -> None:
    """Empty the table that tells models what to recompute; all of them have read it."""
    with connection.transaction():
        connection.execute("delete from warehouse.erased_rows")
        connection.execute(
            "update warehouse.erasures set rows_forgotten_at = clock_timestamp() "
            "where rows_forgotten_at is null and state <> 'begun'"
        )
    connection.execute("vacuum (analyze) warehouse.erased_rows")


def _models_before(connection: psycopg.Connection, batch_seq: int) -> bool:
    row = connection.execute(
        "select exists (select 1 from warehouse.model_offsets where batch_seq < %s)", (batch_seq,)
    ).fetchone()
    return bool(row and row[0])


def _note_search(
    connection: psycopg.Connection,
    erasure_id: int,
    searched: Sequence[tuple[str, int | None]],
    older: int,
) -> None:
    """Record on the receipt what the search found. Raises EraseError where it found anything."""
    found = {table: rows for table, rows in searched if rows}
    connection.execute(
        "update warehouse.erasures set found = %s, not_searched = %s, older_snapshots = %s, "
        "state = case when %s then 'verified' else state end, "
        "verified_at = case when %s then clock_timestamp() end where erasure_id = %s",
        (
            Jsonb(found), [table for table, rows in searched if rows is None], older,
            not found, not found, erasure_id,
        ),
    )  # fmt: skip
    if found:
        places = ", ".join(f"{table} ({rows})" for table, rows in found.items())
        todo = " ".join(dict.fromkeys(map(_what_to_do, found)))
        raise EraseError(f"The search still found the subject in: {places}. {todo}")


def _what_to_do(table: str) -> str:
    """Return how to remove rows from a table in which the search still found the subject."""
    schema, _, name = table.partition(".")
    if table == "warehouse.erased_rows":
        return "Another erasure is unfinished: run its command again."
    if schema in ("intermediate", "marts"):
        return (
            f"Rebuild {name} (`warehouse build --full-refresh --select {name}`), or drop it if no "
            "model builds it any more."
        )
    if schema in ("staging", "warehouse", "export"):
        return f"It reached {table} after the removal: a further run removes it."
    return f"Remove it from {table} by hand: this command changes only the warehouse's own data."


def _search(connection: psycopg.Connection, subject: Subject) -> list[tuple[str, int | None]]:
    """Return by table how many rows hold the identifier, None where the table can't be read."""
    return connection.execute(
        'select "table", "rows" from warehouse.search(%s, %s)',
        (subject.identifier, subject.of_client),
    ).fetchall()


__all__ = ["NOT_SEARCHED", "EraseError", "Receipt", "Subject", "SubjectKind", "erase"]
