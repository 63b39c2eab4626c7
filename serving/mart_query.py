"""What a request asks of a mart, and the SQL for it.

The text of a statement follows from the shape of a query alone: from names of the catalogue, and
from which values there are. The values themselves are bound.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any

import msgspec
from psycopg import sql

from serving.catalogue import Column, Mart, Period, Type
from serving.errors import bad_request

PAGE_ROWS, MOST_ROWS = 1_000, 10_000
# COPY has no parameters: it takes its values from settings of the transaction with this prefix.
SETTINGS = "serving"


@dataclass(frozen=True, slots=True)
class Order:
    """A column by which rows are sorted."""

    column: str
    descending: bool = False

    def __str__(self) -> str:
        """Return it as in a request."""
        return f"-{self.column}" if self.descending else self.column


@dataclass(frozen=True, slots=True)
class Shape:
    """A query without its values: ``after`` says which values of the last row are NULL."""

    mart: Mart
    columns: tuple[str, ...]
    order: tuple[Order, ...]
    has_range: bool
    filters: tuple[str, ...]
    limit: int
    after: tuple[bool, ...] | None

    @property
    def found(self) -> tuple[str, ...]:
        """The columns of a page: those that were asked for, then those of the order it lacks."""
        more = (one.column for one in self.order if one.column not in self.columns)
        return (*self.columns, *more)


@dataclass(frozen=True)
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

    @cached_property
    def full_order(self) -> tuple[Order, ...]:
        """The order, made unique by the key, in the direction of what was asked for last."""
        descending = bool(self.order) and self.order[-1].descending
        given = {one.column for one in self.order}
        return (
            *self.order,
            *(Order(name, descending) for name in self.mart.key if name not in given),
        )

    @cached_property
    def shape(self) -> Shape:
        """The query without its values."""
        return Shape(
            self.mart,
            self.columns,
            self.full_order,
            self.start is not None and self.end is not None and self.mart.period is not None,
            tuple(self.filters),
            self.limit,
            None if self.after is None else tuple(value is None for value in self.after),
        )

    @cached_property
    def values(self) -> dict[str, str | list[str]]:
        """The values by name, as text."""
        found: dict[str, str | list[str]] = {}
        if self.shape.has_range and self.mart.period and self.start and self.end:
            for name, bound in (("from", self.start), ("to", self.end)):
                for number, value in enumerate(_bound(self.mart, self.mart.period, bound)):
                    found[f"{name}_{number}"] = value
        for number, values in enumerate(self.filters.values()):
            found[f"among_{number}"] = list(values)
        for number, value in enumerate(self.after or ()):
            if value is not None:
                found[f"after_{number}"] = value
        return found

    @cached_property
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


def _bound(mart: Mart, period: Period, at: datetime) -> list[str]:
    """Return where a range of periods begins or ends, as the period's columns write it."""
    if not period.is_calendar_month:
        is_day = mart.columns[period.columns[0]].type is Type.DATE
        return [(at.date() if is_day else at).isoformat()]
    month = period.first_from(at)
    return [period.name(month)] if period.is_text else [str(month.year), str(month.month)]


# Returns the expression of a value by its name and type, or of an array of such values.
Place = Callable[[str, str], sql.Composable]


def _parameter(name: str, type: str) -> sql.Composable:
    text = "::text[]::" if type.endswith("[]") else "::text::"
    return sql.Placeholder(name) + sql.SQL(text + type)  # type: ignore[arg-type]


def _setting(name: str, type: str) -> sql.Composable:
    return sql.SQL("pg_catalog.current_setting({})::{}").format(
        sql.Literal(f"{SETTINGS}.{name}"),
        sql.SQL(type),  # type: ignore[arg-type]
    )


@lru_cache(maxsize=1_000)
def page_statement(shape: Shape) -> bytes:
    """Return the statement of a page, whose parameters are the query's values.

    Rows that are equal in all of the order stay on one page, which may be longer for it.
    """
    return (
        sql.SQL("{} order by {} fetch first {} rows with ties")
        .format(_selection(shape, shape.found, _parameter), _order(shape), sql.Literal(shape.limit))
        .as_bytes()
    )


@lru_cache(maxsize=1_000)
def copy_statement(shape: Shape) -> bytes:
    """Return the statement that streams all rows as CSV, with values from settings."""
    return (
        sql.SQL("copy ({} order by {}) to stdout with (format csv, header)")
        .format(_selection(shape, shape.columns, _setting), _order(shape))
        .as_bytes()
    )


def settings_of(values: Mapping[str, str | list[str]]) -> tuple[str, list[str | list[str]]]:
    """Return the statement that makes the settings of a transaction, and its parameters."""
    calls, parameters = ["null"], []
    for name, value in values.items():
        given = "%s::text[]::text" if isinstance(value, list) else "%s::text"
        calls.append(f"pg_catalog.set_config(%s, {given}, true)")
        parameters += [f"{SETTINGS}.{name}", value]
    return f"select {', '.join(calls)}", parameters


def _selection(shape: Shape, columns: Sequence[str], place: Place) -> sql.Composed:
    conditions = [*_in_range(shape, place), *_filters(shape, place)]
    if shape.after is not None:
        conditions.append(_after(shape, shape.after, place))
    selection = sql.SQL("select {} from {}").format(
        _names(columns), sql.Identifier("marts", shape.mart.name)
    )
    if not conditions:
        return selection
    return selection + sql.SQL(" where ") + sql.SQL(" and ").join(conditions)


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _order(shape: Shape) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.Identifier(one.column) + sql.SQL(" desc" if one.descending else " asc")
        for one in shape.order
    )


def _in_range(shape: Shape, place: Place) -> list[sql.Composable]:
    period = shape.mart.period
    if period is None or not shape.has_range:
        return []
    types = [shape.mart.columns[name].type for name in period.columns]
    return [
        sql.SQL("({}) {} ({})").format(
            _names(period.columns),
            sql.SQL(operator),
            sql.SQL(", ").join(
                place(f"{bound}_{number}", type) for number, type in enumerate(types)
            ),
        )
        for bound, operator in (("from", ">="), ("to", "<"))
    ]


def _filters(shape: Shape, place: Place) -> list[sql.Composable]:
    return [
        sql.SQL("{} = any({})").format(
            sql.Identifier(name), place(f"among_{number}", f"{shape.mart.columns[name].type}[]")
        )
        for number, name in enumerate(shape.filters)
    ]


def _after(shape: Shape, nulls: Sequence[bool], place: Place) -> sql.Composable:
    """Return the condition of rows after the last one, as the order sorts them.

    Ascending columns have NULL last, descending ones first.
    """
    columns = [shape.mart.columns[one.column] for one in shape.order]
    directions = {one.descending for one in shape.order}
    places = [
        None if is_null else place(f"after_{number}", column.type)
        for number, (column, is_null) in enumerate(zip(columns, nulls, strict=True))
    ]
    if len(directions) == 1 and not any(column.nullable for column in columns):
        # One comparison of rows, for which an index is read from there on.
        return sql.SQL("({}) {} ({})").format(
            _names([column.name for column in columns]),
            sql.SQL("<" if directions == {True} else ">"),
            sql.SQL(", ").join(one or sql.NULL for one in places),
        )
    condition: sql.Composable = sql.SQL("false")
    for column, one, value in reversed(list(zip(columns, shape.order, places, strict=True))):
        condition = sql.SQL("({} or ({} and {}))").format(
            _beyond(column, one.descending, value), _same(column, value), condition
        )
    return condition


def _beyond(column: Column, descending: bool, value: sql.Composable | None) -> sql.Composable:
    name = sql.Identifier(column.name)
    if value is None:
        return sql.SQL("{} is not null").format(name) if descending else sql.SQL("false")
    if descending:
        return sql.SQL("{} < {}").format(name, value)
    return sql.SQL("({} > {} or {} is null)").format(name, value, name)


def _same(column: Column, value: sql.Composable | None) -> sql.Composable:
    name = sql.Identifier(column.name)
    return sql.SQL("{} is null").format(name) if value is None else name + sql.SQL(" = ") + value
