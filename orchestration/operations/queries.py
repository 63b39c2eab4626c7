"""Ready queries: the SQL in dbt's `analyses`, run read-only and with the grants of an analyst.

dbt compiles them once for each state of its project. Values of parameters never become part of the
SQL: the server binds them.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg.conninfo import conninfo_to_dict

from orchestration.operations.build import (
    DBT_PROJECT,
    code_digest,
    dbt_environment,
    environment,
)
from orchestration.operations.status import NothingBuiltError
from warehouse import database, private_files
from warehouse.errors import WarehouseError
from warehouse.settings import settings

DECLARED = DBT_PROJECT / "analyses" / "_analyses.yml"

Value = str | int | date | None

# How a value that somebody typed is read, by the type that the query declares.
READ: dict[str, Callable[[str], Value]] = {
    "text": str,
    "integer": int,
    "date": date.fromisoformat,
}


class QueryError(WarehouseError):
    """The query could not run; the message says why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that a query takes, and the one that it takes by default."""

    name: str
    type: str
    description: str
    default: Value = None

    def __str__(self) -> str:
        """Return the name, with the default if there is one."""
        return self.name if self.default is None else f"{self.name}={self.default}"


@dataclass(frozen=True, slots=True)
class Query:
    """A ready query; ``parameters`` are in the order of the placeholders $1, $2 and so on."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]

    def values(self, given: Mapping[str, str]) -> list[Value]:
        """Return the value of each parameter. Raises ValueError where a given one does not fit."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, text in given.items():
            if name not in known:
                takes = ", ".join(known) or "no parameters"
                raise ValueError(f"{self.name} does not know {name!r}: it takes {takes}")
            try:
                READ[known[name].type](text)
            except ValueError:
                raise ValueError(f"{name} must be of type {known[name].type}: {text!r}") from None
        return [
            READ[parameter.type](given[name]) if name in given else parameter.default
            for name, parameter in known.items()
        ]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def ready_queries() -> dict[str, Query]:
    """Return all queries by name, as the YAML beside them declares them."""
    declared = yaml.safe_load(DECLARED.read_text("utf-8"))["analyses"]
    return {
        one["name"]: Query(
            one["name"],
            one["description"],
            tuple(
                Parameter(name, **about)
                for name, about in one.get("config", {})
                .get("meta", {})
                .get("parameters", {})
                .items()
            ),
        )
        for one in declared
    }


def run_query(query: Query, given: Mapping[str, str]) -> Result:
    """Run a query in a read-only transaction, as an analyst.

    Raises ValueError where a given value does not fit, NothingBuiltError or QueryError where a mart
    is not built yet, and DatabaseError like ``database.connect_as_analyst``.
    """
    values = query.values(given)
    statement = _compiled()[query.name]
    with database.connect_as_analyst(application_name="warehouse query") as connection:
        connection.read_only = True
        # The first build grants it.
        ((is_built,),) = connection.execute("select has_schema_privilege('marts', 'usage')")
        if not is_built:
            raise NothingBuiltError("Nothing is built yet. Run `warehouse build`.")
        try:
            # A raw cursor sends the placeholders $1, $2 to the server as they are.
            found = psycopg.RawCursor(connection).execute(statement, values)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise QueryError(
                f"The marts that {query.name} reads are not built, or not by this version "
                f"({database.reason(error)}). Run `warehouse build`."
            ) from None
        return Result([column.name for column in found.description or ()], found.fetchall())


def _compiled() -> dict[str, str]:
    """Return the SQL of every query. dbt compiles it where its project has changed since."""
    kept_in = settings().dbt_target / "queries.json"
    # dbt writes the database's name into the SQL.
    of = [code_digest(), conninfo_to_dict(database.builder_url())["dbname"]]
    with contextlib.suppress(FileNotFoundError, ValueError):
        kept = json.loads(kept_in.read_bytes())
        if kept["of"] == of:
            return kept["queries"]
    queries = _compile()
    private_files.make_folder(kept_in.parent)
    new = Path(f"{kept_in}.{os.getpid()}")
    new.write_text(json.dumps({"of": of, "queries": queries}), "utf-8")
    new.replace(kept_in)
    return queries


def _compile() -> dict[str, str]:
    from dbt.cli.main import dbtRunner

    arguments = [
        # Artifacts and the log would hold this process's arguments, among them parameters' values.
        "--quiet", "--no-write-json", "--log-level-file", "none",
        # Nothing here asks the database.
        "--no-populate-cache", "compile", "--no-introspect",
        "--select", "resource_type:analysis",
    ]  # fmt: skip
    with environment(dbt_environment()), contextlib.redirect_stdout(sys.stderr):
        compiled = dbtRunner().invoke(arguments)
    if not compiled.success:
        raise QueryError(f"dbt could not compile the queries: {compiled.exception}")
    return {result.node.name: result.node.compiled_code for result in compiled.result}  # type: ignore[union-attr]
