"""`warehouse query`: lists the ready queries, or runs one."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit, print_csv


def query(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The query to run. Without it: list all queries."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="The value of a parameter; may be repeated."),
    ] = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV on standard output, nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """List the ready queries, or run one on the marts.

    They are read-only and see what analysts see. Without --param a parameter
    takes its default.
    """
    from orchestration.operations.queries import ready_queries, run_query

    queries = ready_queries()
    if csv and json:
        raise typer.BadParameter("--csv and --json can't be used together")
    if name is None:
        if csv or param:
            raise typer.BadParameter("name the query to run")
        rows = [
            (one.name, one.description, " ".join(map(str, one.parameters)))
            for one in queries.values()
        ]
        emit(
            {"queries": list(queries.values())},
            Table(("query", "what it shows", "parameters"), rows),
            json=json,
        )
        return
    if name not in queries:
        raise typer.BadParameter(f"there is no query {name!r}: `warehouse query` lists them")
    try:
        result = run_query(queries[name], _given(param or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if csv:
        print_csv(result.columns, result.rows)
        return
    emit(
        {
            "query": name,
            "rows": [dict(zip(result.columns, row, strict=True)) for row in result.rows],
        },
        Table(result.columns, result.rows, if_empty="The query found nothing."),
        json=json,
    )


def _given(pairs: list[str] | tuple[str, ...]) -> dict[str, str]:
    given = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        given[name] = value
    return given
