"""Verifies marts: computes random cells again from what they are made of, and compares.

It measures on the data that is there what tests prove on random data: an incremental build leaves
what one full rebuild would. Each model is compared with what it reads, so all of them together
reach down to the typed facts.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import class_row

from warehouse import database
from warehouse.errors import WarehouseError
from warehouse.sql_files import read_sql

# Of each model.
CELLS = 20
# Of one model. Listing what a cell is made of may read much of a long history.
SECONDS_AT_MOST = 60
VERIFY = read_sql(__file__, "verify")
NOTE_VERIFICATION = read_sql(__file__, "note_verification")


@dataclass(frozen=True, slots=True)
class Verification:
    """The verification of one model.

    ``skipped`` says why nothing was compared. ``differences`` shows the first differing rows: their
    key, and each differing column as it is stored and as it was recomputed.
    """

    model: str
    skipped: str | None
    verified_cells: int | None
    differing_rows: int | None
    differing_columns: list[str] | None
    differences: list[dict[str, Any]] | None


def verifiable_models(connection: psycopg.Connection) -> list[str]:
    """Return the models with rows that follow from others: all incremental ones but typed facts."""
    found = connection.execute(
        "select model from warehouse.stored_models where not is_fact order by model"
    )
    return [model for (model,) in found]


def drawn_seed() -> int:
    """Return a seed that was drawn at random."""
    return secrets.randbelow(2**31)


def verify(models: Iterable[str], cells: int, seed: int) -> Iterator[Verification]:
    """Verify some models, or all if none is given, each in a transaction that is rolled back.

    The same seed draws the same cells from the same data. Raises WarehouseError for an unknown
    model, and database.DatabaseError.
    """
    models = list(models)
    with database.connect_as_builder(
        autocommit=True, application_name="warehouse verify"
    ) as connection:
        known = verifiable_models(connection)
        for model in models or known:
            if model not in known:
                raise WarehouseError(
                    f"There is no model {model} to verify. Views have no rows of their own, and "
                    f"typed facts only what was loaded. There are: {', '.join(known)}."
                )
        for model in models or known:
            # Another one for each: else marts with the same periods would be drawn on the same day.
            draw = random.Random(f"{seed} {model}").random()  # noqa: S311 - no secret
            found = _verify(connection, model, cells, draw)
            if found.skipped is None:
                connection.execute(
                    NOTE_VERIFICATION,
                    {
                        "model": model,
                        "cells": found.verified_cells,
                        "rows": found.differing_rows,
                        "columns": found.differing_columns,
                    },
                )
            yield found


def _verify(connection: psycopg.Connection, model: str, cells: int, seed: float) -> Verification:
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with suppress(psycopg.Rollback), connection.transaction():
            connection.execute(
                "select set_config('statement_timeout', %s, true)", (f"{SECONDS_AT_MOST}s",)
            )
            with connection.cursor(row_factory=class_row(Verification)) as cursor:
                (found,) = cursor.execute(VERIFY, {"model": model, "cells": cells, "seed": seed})
            raise psycopg.Rollback
    except psycopg.errors.QueryCanceled:
        return Verification(model, f"it took longer than {SECONDS_AT_MOST} s", *[None] * 4)
    finally:
        connection.isolation_level = None
    return found
