"""What a request asks of a mart, and the SQL for it.

Names of marts and columns come from the catalogue; values are bound, never part of the text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import msgspec
from psycopg import sql

from serving.catalogue import Column, Mart, Type
from serving.errors import bad_request

PAGE_ROWS, MOST_ROWS = 1_000, 10_000
# Where COPY takes the values of its conditions from: it has no parameters.
_SETTING = "serving.{}"


@dataclass(frozen=True, slots=True)
class Order:
    """A column by which rows are sorted."""

    column: str
    descending: bool = False

    def __str__(self) -> str:
        """Return it as in a request."""
        return f"-{self.column}" if self.descending else self.column


@dataclass(frozen=True, slots=True)
class MartQuery:
    """Which rows and columns of a mart, in which order.

    ``start`` and ``end`` are the half-open range of its periods, both or neither. ``filters`` give
    the values of which a column must have one. ``after`` is where the last page ended: a value for
    each column of ``full_order``, as text.
    """

    mart: Mart
    columns: tuple[str, ...]
    start: datetime | None = None
    end: datetime | None = None
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    order: tuple[Order, ...] = ()
    limit: int = PAGE_ROWS
    after: tuple[str | None, ...] | None = None

    @property
    def full_order(self) -> tuple[Order, ...]:
        """The order, made unique by the key, in the direction of what was asked for last."""
        descending = bool(self.order) and self.order[-1].descending
        given = {one.column for one in self.order}
        return (
            *self.order,
            *(Order(name, descending) for name in self.mart.key if name not in given),
        )

    @property
    def identity(self) -> str:
        """What tells this query from others, whichever page of it."""
        parts = (
            self.mart.name,
            self.start,
            self.end,
            {name: list(values) for name, values in sorted(self.filters.items())},
            [str(one) for one in self.full_order],
        )
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]

    def cursor(self, values: Sequence[Any]) -> str:
        """Return the cursor of the page after a row with these values in ``full_order``."""
        content = msgspec.json.encode((self.identity, [as_text(value) for value in values]))
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    def read_cursor(self, cursor: str) -> tuple[str | None, ...]:
        """Return where a page ended. Raises ApiError for a cursor of another query."""
        try:
            content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            identity, values = _decode_cursor(content)
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            raise _wrong_cursor() from None
        if identity != self.identity or len(values) != len(self.full_order):
            raise _wrong_cursor()
        return tuple(values)


_decode_cursor = msgspec.json.Decoder(tuple[str, list[str | None]]).decode


def _wrong_cursor() -> Exception:
    return bad_request(
        "The cursor is not one of this query.",
        "Take `meta.next_cursor` of the page before, and repeat its other parameters.",
    )


def as_text(value: Any) -> str | None:
    """Return a value of a row or a parameter as PostgreSQL reads it."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case msgspec.Raw():
            return bytes(value).decode()
        case _:
            return str(value)


# Returns the expression of a value, or of an array of values, of a type.
Place = Callable[[str | Sequence[str], str], sql.Composable]


class Bound:
    """Places values as parameters of the statement."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __call__(self, value: str | Sequence[str], type: str) -> sql.Composable:
        """Return a placeholder."""
        name = f"p{len(self.values)}"
        is_list = not isinstance(value, str)
        self.values[name] = list(value) if is_list else value
        cast = sql.SQL(f"::text[]::{type}[]" if is_list else f"::text::{type}")  # type: ignore[arg-type]
        return sql.Placeholder(name) + cast


class InSettings:
    """Places values in settings of the transaction, for statements without parameters."""

    def __init__(self) -> None:
        self.values: dict[str, str | list[str]] = {}

    def __call__(self, value: str | Sequence[str], type: str) -> sql.Composable:
        """Return an expression that reads the setting."""
        name = _SETTING.format(f"p{len(self.values)}")
        is_list = not isinstance(value, str)
        self.values[name] = list(value) if is_list else value
        return sql.SQL("pg_catalog.current_setting({})::{}").format(
            sql.Literal(name),
            sql.SQL(f"{type}[]" if is_list else type),  # type: ignore[arg-type]
        )

    @property
    def statement(self) -> tuple[sql.Composed, list[Any]]:
        """The statement that makes the settings, and its parameters."""
        calls, parameters = [sql.SQL("select null")], []
        for name, value in self.values.items():
            given = "%s::text[]::text" if isinstance(value, list) else "%s::text"
            calls.append(sql.SQL(f"pg_catalog.set_config(%s, {given}, true)"))  # type: ignore[arg-type]
            parameters += [name, value]
        return sql.SQL(", ").join(calls), parameters


def page_statement(query: MartQuery, place: Place) -> sql.Composed:
    """Return the statement of a page: its columns, then those of the order that it lacks.

    Rows that are equal in all of the order stay on one page, which may be longer for it.
    """
    more = [one.column for one in query.full_order if one.column not in query.columns]
    return sql.SQL("{} order by {} fetch first {} rows with ties").format(
        _selection(query, (*query.columns, *more), place),
        _order(query),
        sql.Literal(query.limit),
    )


def copy_statement(query: MartQuery, place: Place) -> sql.Composed:
    """Return the statement that streams all rows as CSV, with a header."""
    return sql.SQL("copy ({} order by {}) to stdout with (format csv, header)").format(
        _selection(query, query.columns, place), _order(query)
    )


def _selection(query: MartQuery, columns: Sequence[str], place: Place) -> sql.Composed:
    conditions = [*_in_range(query, place), *_filters(query, place)]
    if query.after is not None:
        conditions.append(_after(query, query.after, place))
    selection = sql.SQL("select {} from {}").format(
        _names(tuple(columns)), sql.Identifier("marts", query.mart.name)
    )
    if not conditions:
        return selection
    return selection + sql.SQL(" where ") + sql.SQL(" and ").join(conditions)


@lru_cache(maxsize=1_000)
def _names(names: tuple[str, ...]) -> sql.SQL:
    """Return the quoted names of columns; quoting them took long for each request."""
    return sql.SQL(sql.SQL(", ").join(map(sql.Identifier, names)).as_string())  # type: ignore[arg-type]


def _order(query: MartQuery) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.Identifier(one.column) + sql.SQL(" desc" if one.descending else " asc")
        for one in query.full_order
    )


def _in_range(query: MartQuery, place: Place) -> list[sql.Composable]:
    period = query.mart.period
    if period is None or query.start is None or query.end is None:
        return []
    bounds = [
        (">=", period.first_from(query.start) if period.is_calendar_month else query.start),
        ("<", period.first_from(query.end) if period.is_calendar_month else query.end),
    ]
    names = _names(period.columns)
    conditions = []
    for operator, bound in bounds:
        if len(period.columns) > 1:
            values = [place(str(bound.year), "integer"), place(str(bound.month), "integer")]
        elif period.is_text:
            values = [place(period.name(bound), "text")]
        else:
            type = query.mart.columns[period.columns[0]].type
            at = bound.date() if type is Type.DATE else bound
            values = [place(at.isoformat(), type)]
        conditions.append(
            sql.SQL("({}) {} ({})").format(
                names,
                sql.SQL(operator),  # type: ignore[arg-type]
                sql.SQL(", ").join(values),
            )
        )
    return conditions


def _filters(query: MartQuery, place: Place) -> list[sql.Composable]:
    return [
        sql.SQL("{} = any({})").format(
            sql.Identifier(name), place(list(values), query.mart.columns[name].type)
        )
        for name, values in query.filters.items()
    ]


def _after(query: MartQuery, values: Sequence[str | None], place: Place) -> sql.Composable:
    """Return the condition of rows after the last one, as the order sorts them.

    Ascending columns have NULL last, descending ones first.
    """
    order = [(query.mart.columns[one.column], one.descending) for one in query.full_order]
    directions = {descending for _, descending in order}
    if len(directions) == 1 and not any(column.nullable for column, _ in order):
        # One comparison of rows, for which an index is read from there on.
        return sql.SQL("({}) {} ({})").format(
            _names(tuple(column.name for column, _ in order)),
            sql.SQL("<" if directions == {True} else ">"),
            sql.SQL(", ").join(
                place(value or "", column.type)
                for (column, _), value in zip(order, values, strict=True)
            ),
        )
    condition: sql.Composable = sql.SQL("false")
    for (column, descending), value in reversed(list(zip(order, values, strict=True))):
        condition = sql.SQL("({} or ({} and {}))").format(
            _beyond(column, descending, value, place), _same(column, value, place), condition
        )
    return condition


def _beyond(column: Column, descending: bool, value: str | None, place: Place) -> sql.Composable:
    name = sql.Identifier(column.name)
    if value is None:
        return name + sql.SQL(" is not null" if descending else " is null and false")
    comparison = sql.SQL("{} < {}" if descending else "{} > {}").format(
        name, place(value, column.type)
    )
    return comparison if descending else sql.SQL("({} or {} is null)").format(comparison, name)


def _same(column: Column, value: str | None, place: Place) -> sql.Composable:
    name = sql.Identifier(column.name)
    if value is None:
        return name + sql.SQL(" is null")
    return sql.SQL("{} = {}").format(name, place(value, column.type))
