"""Erases a subject, and leaves a receipt that holds a keyed hash of who it was.

Five steps, each committed, so that an interrupted erasure continues from the last one: from now on
nothing of the subject lands; it is taken out of what landed and of the facts; the marts are built
without it; files that hold it are deleted; the whole database is searched for it.
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

from ingestion.load import ledger
from ingestion.load.chunks import Offset
from ingestion.load.intake import MAX_ATTEMPTS
from ingestion.load.ledger import Batch, Counts
from ingestion.privacy.name_forms import ERASED, normalized_identifier
from ingestion.privacy.suppression import Subject, SubjectKind, subject_hash, wait_for_loaders
from orchestration.operations.build import (
    BuildError,
    BuildOptions,
    build_alone,
    one_build_at_a_time,
)
from orchestration.operations.erased_files import files_of
from orchestration.operations.reserved_ids import is_reserved, names_kept
from warehouse import database, locks
from warehouse.errors import WarehouseError
from warehouse.locks import Lock

# Longer ones are in no actor: the plan allows a key of 512 characters at most.
LONGEST_IDENTIFIER = 512


# How long a receipt waits for transactions that still see what was removed.
PATIENCE_SECONDS = 10.0
# What no search of an erasure looks at or can see. Each receipt says so.
NOT_SEARCHED = (
    "sentences and longer names that contain the identifier, hashes of it, and other identifiers "
    "of the same subject",
    "letters beyond ASCII in another case, and other white space around it than ASCII's",
    "numbers in columns of their own, and members that the tracking plan declares as numbers",
    "addresses that write one of / ? # & ; = of the identifier plainly, spell a host's name in "
    "another way, or are encoded more than twice",
    "who an id belongs to that is itself an address: ids are compared whole",
    "files outside the home and drop folders, files that are dropped later, names of files that "
    "are loaded later, and formats that are neither text nor compressed text",
    "backups, replicas, the exported row's other copies, and the server's own files: its log, "
    "write-ahead log and pages not yet overwritten",
)


class EraseError(WarehouseError):
    """The subject can't be erased, or something of it is still there."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of an erasure: what was removed or changed, and what a search found afterwards.

    ``removed`` counts rows by table, of marts those that named the subject; ``changed`` rows of
    others out of whose addresses it was cut; ``files_removed`` and ``files_left`` files by folder.
    ``batch_seq`` is None where there was nothing of it; ``erasure_id`` and ``state`` are None for a
    dry run, which changed nothing. ``not_searched`` names tables of others that the owner may not
    read. ``older_snapshots`` are transactions that still see the old rows; None before it is
    verified. ``export_is_due`` says that the exported row, which names nobody, still counts the
    subject.
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

    Raises EraseError where the identifier is a word of the warehouse's own, where something of the
    subject is still there, or where anything failed: the message says how far it came. BuildError
    where marts could not be built without it. The same call continues from there.
    """
    _refuse_malformed(subject.identifier)
    if dry_run:
        with _connected() as connection:
            _refuse_words(connection, subject.identifier)
            return _would_remove(connection, subject)
    try:
        return _erase(subject, by)
    except _RefusedError as error:
        raise EraseError(str(error)) from None
    except BuildError as error:
        raise BuildError(f"{error} {_how_far(subject)}") from error
    except WarehouseError as error:
        raise EraseError(f"{error} {_how_far(subject)}") from error
    except psycopg.Error as error:
        if error.sqlstate in database.NOT_SET_UP:
            raise
        why = f"The erasure stopped, as the database refused: {database.reason(error)}."
        raise EraseError(f"{why} {_how_far(subject)}") from error
    except KeyboardInterrupt as error:
        raise EraseError(f"The erasure was interrupted. {_how_far(subject)}") from error
    except OSError as error:
        # Without the file's name, which may be the identifier.
        why = f"The erasure stopped: {error.strerror or type(error).__name__}."
        raise EraseError(f"{why} {_how_far(subject)}") from error


class _RefusedError(WarehouseError):
    """Nothing was begun."""


# Views run what their makers wrote. Servers before 16.4 do not know the setting; there, as
# everywhere, `warehouse.is_safe_to_touch` sees to it table by table.
_READS_NO_VIEWS = """
    select set_config(name, 'view, foreign-table', false) from pg_settings
    where name = 'restrict_nonsystem_relation_kind'
"""


def _connected() -> psycopg.Connection:
    connection = database.connect(autocommit=True, application_name="warehouse erase")
    connection.execute(_READS_NO_VIEWS)
    return connection


def _erase(subject: Subject, by: str) -> Receipt:
    with locks.held(Lock.ERASURE), _connected() as connection:
        _refuse_words(connection, subject.identifier)
        erasure_id = _begin(connection, subject, by)
        is_new = _receipt(connection, erasure_id).state == "begun"
        failed = _take_out(connection, subject, erasure_id, remove=is_new)
        _erase_files(connection, subject, erasure_id)
        searched = _search(connection, subject)
        if any(rows for _, rows in searched):
            # Come since the removal, of which an interrupted erasure knows nothing.
            failed = _take_out(connection, subject, erasure_id, remove=True) or failed
            searched = _search(connection, subject)
        older = _wait_for_older_snapshots(connection)
        _note_search(connection, erasure_id, searched, older)
        if failed:
            raise failed
        return _receipt(connection, erasure_id)


_STATES = {
    "begun": "Receipt {} is at `begun`: nothing of the subject lands any more, but what had "
    "landed, and the marts, still hold it.",
    "removed": "Receipt {} is at `removed`: nothing of the subject lands any more, and it is out "
    "of what had landed and of the facts; marts and files may still hold it, {}.",
    "verified": "Receipt {} is verified all the same: the marts are built without the subject, and "
    "the search found nothing.",
}


def _how_far(subject: Subject) -> str:
    """Say in a sentence what an erasure that failed has done, as its receipt has it."""
    again = "Run the same command again: it continues from there."
    try:
        with _connected() as connection:
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
        return f"How far it came can't be read now, as the database does not answer. {again}"
    if not found:
        return "No receipt was begun: nothing has changed. Run the same command again."
    erasure_id, state, places = found
    search = (
        f"and the last search found it in {', '.join(places)}"
        if places
        else "and the search that verifies the receipt is still to come"
    )
    said = _STATES[state].format(erasure_id, search)
    return said if state == "verified" else f"{said} {again}"


def _take_out(
    connection: psycopg.Connection, subject: Subject, erasure_id: int, remove: bool
) -> BuildError | None:
    """Remove the subject, if that is still to be done, and build the marts without it.

    Returns and raises as ``_build_past`` does.
    """
    with one_build_at_a_time():
        if remove:
            _remove(connection, subject, erasure_id)
        receipt = _receipt(connection, erasure_id)
        failed = _build_past(connection, receipt.batch_seq)
        if receipt.batch_seq is not None:
            _forget_rows(connection)
    _forget_statistics(connection, sorted(receipt.removed.keys() | receipt.changed.keys()))
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
        raise EraseError(f"The receipt {erasure_id} is gone.")
    return found


def _refuse_malformed(identifier: str) -> None:
    if (
        not normalized_identifier(identifier)
        or "\0" in identifier
        or len(identifier) > LONGEST_IDENTIFIER
    ):
        raise EraseError(
            f"An identifier has 1 to {LONGEST_IDENTIFIER} characters, not all of them white space "
            "and none of them NUL. Nothing was erased."
        )


def _refuse_words(connection: psycopg.Connection, identifier: str) -> None:
    """Refuse an identifier that everybody's rows hold: erasing it would empty the warehouse."""
    name = identifier.strip()
    if is_reserved(name) or name in names_kept(connection):
        raise _RefusedError(
            f"{identifier!r} is a word of the warehouse's own, which rows of everybody hold. "
            "Nothing was erased."
        )


def _hash(connection: psycopg.Connection, identifier: str, of_client: str | None = None) -> bytes:
    """Return a subject's hash; the key is drawn with the first erasure."""
    connection.execute(
        # Two random UUIDs carry 244 random bits from the server's strong source.
        "insert into warehouse.erasure_key (key) "
        "values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) "
        "on conflict do nothing"
    )
    row = connection.execute("select key from warehouse.erasure_key").fetchone()
    if row is None:
        raise EraseError("The key of the receipts is gone.")
    return subject_hash(row[0], identifier, of_client)


def _begin(connection: psycopg.Connection, subject: Subject, by: str) -> int:
    """Make sure that nothing of the subject lands any more; return the erasure's id."""
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
        raise EraseError("The erasure could not be noted.")
    return row[0]


def _remove(connection: psycopg.Connection, subject: Subject, erasure_id: int) -> None:
    """Take the subject out of what landed and of the facts, in one transaction."""
    before = _receipt(connection, erasure_id)
    for _ in range(MAX_ATTEMPTS):
        # A replay may wait for this in a circle.
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
    raise EraseError(f"The erasure met loads {MAX_ATTEMPTS} times in a row; run it again.")


def _remove_now(
    connection: psycopg.Connection, subject: Subject
) -> tuple[dict[str, int], dict[str, int]]:
    """Remove the subject; return how many rows of it were removed and changed, by table."""
    of_models = {
        table: rows
        for table, rows in _search(connection, subject)
        if rows and table.startswith(("intermediate.", "marts."))
    }
    entities = _as_models_read_them(connection, subject)
    ((of_subject, beside),) = connection.execute(
        "select warehouse.remove_subject(%(id)s, %(client)s), "
        "warehouse.remove_mentions(%(id)s, %(client)s)",
        {"id": subject.identifier, "client": subject.of_client},
    )
    connection.cursor().executemany(
        "insert into pg_temp.erased_rows (model, content) values (%s, %s::jsonb)", entities
    )
    removed, changed = {}, {}
    for table, rows in (of_models | of_subject | beside).items():
        name, is_changed, _ = table.partition(", changed")
        if rows:
            (changed if is_changed else removed)[name] = rows
    return removed, changed


def _as_models_read_them(connection: psycopg.Connection, subject: Subject) -> list[tuple[str, str]]:
    """Return the subject's entities, by model, as the views of builders show them: JSON."""
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
        raise EraseError("The database does not know the time.")
    return ledger.commit_batch(
        connection,
        Batch(
            batch_id, -batch_id, ledger.ERASURE, "erase", Offset(), Offset(), b"", row[0], Counts()
        ),
    )


def _would_remove(connection: psycopg.Connection, subject: Subject) -> Receipt:
    """Remove the subject and take that back: so the counts are those that an erasure would have."""
    with connection.transaction(force_rollback=True):
        removed, changed = _remove_now(connection, subject)
        not_searched = [table for table, rows in _search(connection, subject) if rows is None]
    files = files_of(subject)
    return Receipt(
        subject.kind.value, None, None, None, removed, None, None, None, not_searched, changed,
        files.removed, files.left,
    )  # fmt: skip


def _erase_files(connection: psycopg.Connection, subject: Subject, erasure_id: int) -> None:
    """Delete the files that hold the subject, and note them on the receipt."""
    before = _receipt(connection, erasure_id).files_removed
    files = files_of(subject)
    removed = dict(Counter(before) + Counter(files.removed))
    # None is deleted that could not be noted.
    with connection.transaction():
        connection.execute(
            "update warehouse.erasures set files_removed = %s, files_left = %s "
            "where erasure_id = %s",
            (Jsonb(removed), Jsonb(files.left), erasure_id),
        )
        files.delete()


def _wait_for_older_snapshots(connection: psycopg.Connection) -> int:
    """Wait a while for transactions that still see old rows; return how many are left then.

    Those of other roles are seen by members of pg_read_all_stats alone.
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


def _forget_statistics(connection: psycopg.Connection, tables: Sequence[str]) -> None:
    """Take dead rows off the pages, and the subject out of what the planner remembers."""
    for table in tables:
        connection.execute(
            sql.SQL("vacuum (analyze) {}").format(sql.Identifier(*table.split(".", 1)))
        )


def _build_past(connection: psycopg.Connection, batch_seq: int | None) -> BuildError | None:
    """Build the marts without the subject, as of where they stand.

    Returns why the build failed although all models are past the erasure: of a check, that is.
    Raises BuildError where some are not.
    """
    if batch_seq is None or not _models_before(connection, batch_seq):
        return None
    row = connection.execute("select warehouse.last_as_of()").fetchone()
    try:
        with database.connect_as_builder(
            autocommit=True, application_name="warehouse build"
        ) as builder:
            build_alone(builder, BuildOptions(as_of=row[0] if row else None))
    except BuildError as error:
        if _models_before(connection, batch_seq):
            raise
        return error
    return None


def _forget_rows(connection: psycopg.Connection) -> None:
    """Empty the table by which models found what to recompute, now that all of them have."""
    with connection.transaction():
        connection.execute("delete from warehouse.erased_rows")
        connection.execute(
            "update warehouse.erasures set rows_forgotten_at = clock_timestamp() "
            "where rows_forgotten_at is null and state <> 'begun'"
        )
    connection.execute("vacuum (analyze) warehouse.erased_rows")


def _models_before(connection: psycopg.Connection, batch_seq: int) -> bool:
    row = connection.execute(
        "select exists (select from warehouse.model_offsets where batch_seq < %s)", (batch_seq,)
    ).fetchone()
    return bool(row and row[0])


def _note_search(
    connection: psycopg.Connection,
    erasure_id: int,
    searched: Sequence[tuple[str, int | None]],
    older: int,
) -> None:
    """Note on the receipt what the search found. Raises EraseError where that is anything."""
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
        raise EraseError(f"Something of the subject is still there: {places}. {todo}")


def _what_to_do(table: str) -> str:
    """Say what takes rows that hold a subject out of a table that this command doesn't."""
    schema, _, name = table.partition(".")
    if table == "warehouse.erased_rows":
        return "Finish the other erasure that is under way, by its own command."
    if schema in ("intermediate", "marts"):
        return (
            f"Build {name} anew (`warehouse build --full-refresh --select {name}`), "
            "or drop it if no model makes it any more."
        )
    if schema in ("staging", "warehouse", "export"):
        return f"It came into {table} since the removal, which a further run takes out."
    return f"Remove it from {table}: what others keep there this command does not touch."


def _search(connection: psycopg.Connection, subject: Subject) -> list[tuple[str, int | None]]:
    """Return how many rows of which tables hold the identifier; None of one not to be read."""
    return connection.execute(
        'select "table", "rows" from warehouse.search(%s, %s)',
        (subject.identifier, subject.of_client),
    ).fetchall()


__all__ = ["NOT_SEARCHED", "EraseError", "Receipt", "Subject", "SubjectKind", "erase"]
