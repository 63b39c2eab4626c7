"""Erases a subject, and leaves a receipt that holds a keyed hash of who it was.

Four steps, each committed, so that an erasure which was broken off goes on where it stood: from now
on nothing of the subject lands; it is taken out of what landed and of the facts; the marts are
built without it; the whole database is searched for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ingestion import database, ledger, locks
from ingestion.chunks import Place
from ingestion.erased import Subject, SubjectKind, subject_hash, wait_for_loaders
from ingestion.errors import WarehouseError
from ingestion.intake import MOST_TRIES
from ingestion.ledger import Batch, Counts
from ingestion.locks import Lock
from orchestration.build import BuildError, BuildOptions, build_alone, one_build_at_a_time
from orchestration.words import names_kept, own_words

# Longer ones are in no actor: the plan allows a key of 512 characters at most.
LONGEST_IDENTIFIER = 512


class EraseError(WarehouseError):
    """The subject can't be erased, or something of it is still there."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of an erasure: the rows that went, by table, and what a search found afterwards.

    ``removed`` counts, of marts, the rows that named the subject. ``batch_seq`` is None where there
    was nothing of it; ``erasure_id`` and ``state`` are None for a dry run, which changed nothing.
    ``not_searched`` names tables of others that the owner may not read.
    ``export_is_due`` says that the exported row, which tells of nobody, still counts the subject.
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
    export_is_due: bool = False


def erase(subject: Subject, by: str, dry_run: bool = False) -> Receipt:
    """Erase a subject, or tell what that would remove.

    Raises EraseError where the identifier is a word of the warehouse's own, or where something of
    the subject is still there; BuildError where marts could not be built without it. The same call
    then goes on from there.
    """
    with (
        locks.held(Lock.ERASURE),
        database.connect(autocommit=True, application_name="warehouse erase") as connection,
    ):
        connection.execute(_READS_NO_VIEWS)
        _refuse_words(connection, subject.identifier)
        if dry_run:
            return _would_remove(connection, subject)
        erasure_id = _begin(connection, subject, by)
        is_new = _receipt(connection, erasure_id).state == "begun"
        failed = _take_out(connection, subject, erasure_id, remove=is_new)
        searched = _search(connection, subject)
        if any(rows for _, rows in searched):
            # Come since the removal, of which an erasure that was broken off knows nothing.
            failed = _take_out(connection, subject, erasure_id, remove=True) or failed
            searched = _search(connection, subject)
        _note_search(connection, erasure_id, searched)
        if failed:
            raise failed
        return _receipt(connection, erasure_id)


# Views run what their makers wrote. Servers before 16.4 do not know the setting; there, as
# everywhere, `warehouse.is_safe_to_touch` sees to it table by table.
_READS_NO_VIEWS = """
    select set_config(name, 'view, foreign-table', false) from pg_settings
    where name = 'restrict_nonsystem_relation_kind'
"""


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
    _forget_statistics(connection, receipt.removed)
    return failed


_RECEIPTS = (
    "select kind, erasure_id, state, batch_seq, removed, found, begun_at, verified_at, "
    "not_searched, coalesce((select e.batch_seq < erasures.batch_seq from warehouse.exports as e "
    "where e.state = 'done' order by e.export_id desc limit 1), false) as export_is_due "
    "from warehouse.erasures"
)


def _receipt(connection: psycopg.Connection, erasure_id: int) -> Receipt:
    cursor = connection.cursor(row_factory=class_row(Receipt))
    found = cursor.execute(f"{_RECEIPTS} where erasure_id = %s", (erasure_id,)).fetchone()
    if found is None:
        raise EraseError(f"The receipt {erasure_id} is gone.")
    return found


def _refuse_words(connection: psycopg.Connection, identifier: str) -> None:
    """Refuse an identifier that everybody's rows hold: erasing it would empty the warehouse."""
    if not identifier or "\0" in identifier or len(identifier) > LONGEST_IDENTIFIER:
        raise EraseError(
            f"An identifier has 1 to {LONGEST_IDENTIFIER} characters, none of them NUL."
        )
    if identifier in own_words() or identifier in names_kept(connection):
        raise EraseError(
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
    if by in (subject.identifier, subject.of_client):
        by = "(erased)"
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
                len(subject.identifier.encode()),
            ),
        ).fetchone()  # fmt: skip
    if row is None:
        raise EraseError("The erasure could not be noted.")
    return row[0]


def _remove(connection: psycopg.Connection, subject: Subject, erasure_id: int) -> None:
    """Take the subject out of what landed and of the facts, in one transaction."""
    before = _receipt(connection, erasure_id).removed
    for _ in range(MOST_TRIES):
        # A replay may wait for this in a circle.
        with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
            removed = _remove_now(connection, subject)
            batch_seq = None
            if removed:
                batch_seq = _commit_batch(connection)
                connection.execute(
                    "select warehouse.note_erasure(%s, %s)", (batch_seq, subject.identifier)
                )
            connection.execute(
                "update warehouse.erasures set state = 'removed', removed_at = clock_timestamp(), "
                "removed = %(removed)s, batch_seq = coalesce(%(batch_seq)s, batch_seq), "
                "rows_forgotten_at = case when %(batch_seq)s is null then rows_forgotten_at end "
                "where erasure_id = %(erasure_id)s",
                {
                    "removed": Jsonb(dict(Counter(before) + Counter(removed))),
                    "batch_seq": batch_seq,
                    "erasure_id": erasure_id,
                },
            )
            return
    raise EraseError(f"The erasure met loads {MOST_TRIES} times in a row; run it again.")


def _remove_now(connection: psycopg.Connection, subject: Subject) -> dict[str, int]:
    """Remove the subject; return how many rows of it there were, by table."""
    named = {
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
    return named | of_subject | beside


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
            batch_id, -batch_id, ledger.ERASURE, "erase", Place(), Place(), b"", row[0], Counts()
        ),
    )


def _would_remove(connection: psycopg.Connection, subject: Subject) -> Receipt:
    """Remove the subject and take that back: so the counts are those that an erasure would have."""
    with connection.transaction(force_rollback=True):
        removed = _remove_now(connection, subject)
        not_searched = [table for table, rows in _search(connection, subject) if rows is None]
    return Receipt(subject.kind.value, None, None, None, removed, None, None, None, not_searched)


def _forget_statistics(connection: psycopg.Connection, removed: dict[str, int]) -> None:
    """Take dead rows off the pages, and the subject out of what the planner remembers."""
    for table in removed:
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
    connection: psycopg.Connection, erasure_id: int, searched: Sequence[tuple[str, int | None]]
) -> None:
    """Note on the receipt what the search found. Raises EraseError where that is anything."""
    found = {table: rows for table, rows in searched if rows}
    connection.execute(
        "update warehouse.erasures set found = %s, not_searched = %s, "
        "state = case when %s then 'verified' else state end, "
        "verified_at = case when %s then clock_timestamp() end where erasure_id = %s",
        (
            Jsonb(found), [table for table, rows in searched if rows is None],
            not found, not found, erasure_id,
        ),
    )  # fmt: skip
    if found:
        places = ", ".join(f"{table} ({rows})" for table, rows in found.items())
        raise EraseError(
            f"Something of the subject is still there: {places}. Remove it there, and run the same "
            "command again."
        )


def _search(connection: psycopg.Connection, subject: Subject) -> list[tuple[str, int | None]]:
    """Return how many rows of which tables hold the identifier; None of one not to be read."""
    return connection.execute(
        'select "table", "rows" from warehouse.search(%s, %s)',
        (subject.identifier, subject.of_client),
    ).fetchall()


__all__ = ["EraseError", "Receipt", "Subject", "SubjectKind", "erase"]
