"""The parameters of each mart's endpoint, with the types that its contract gives the columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError
from starlette.datastructures import QueryParams

from serving.catalogue import Column, Mart, Period, Type, instant_of
from serving.mart_query import MOST_ROWS, PAGE_ROWS, MartQuery, Order, as_text

# Days that every calendar and database knows, and no mart goes beyond.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2999, 12, 31)
# The values that one filter may name: more is a request for all rows.
MOST_VALUES = 200
LONGEST_TEXT = 4_096

_is_day = re.compile(r"\d{4}-\d{2}-\d{2}").fullmatch
_is_month = re.compile(r"\d{4}-\d{2}").fullmatch
_is_instant = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})"
).fullmatch
_is_whole = re.compile(r"-?\d{1,19}").fullmatch
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


def read_day(text: Any) -> date:
    """Return a day, written like 2026-01-31. Raises PydanticCustomError."""
    try:
        day = date.fromisoformat(text) if isinstance(text, str) and _is_day(text) else None
    except ValueError:
        day = None
    if day is None or not FIRST_DAY <= day <= LAST_DAY:
        raise PydanticCustomError("day", "it is not a day: write it like 2026-01-31")
    return day


def read_month(text: Any) -> date:
    """Return the first day of a month, written like 2026-01, or a day."""
    if isinstance(text, str) and _is_month(text):
        text = f"{text}-01"
    try:
        return read_day(text)
    except PydanticCustomError:
        raise PydanticCustomError("month", "it is not a month: write it like 2026-01") from None


def read_instant(text: Any) -> datetime:
    """Return an instant, written with its offset, or the start of a UTC day."""
    if isinstance(text, str) and _is_instant(text):
        try:
            instant = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            instant = None
        if instant and FIRST_DAY <= instant.date() <= LAST_DAY:
            return instant
    try:
        return instant_of(read_day(text))
    except PydanticCustomError:
        raise PydanticCustomError(
            "instant", "it is not an instant: write it like 2026-01-31T09:30:00Z or 2026-01-31"
        ) from None


def _read_whole(text: Any, bits: int) -> int:
    number = int(text) if isinstance(text, str) and _is_whole(text) else None
    if number is None or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise PydanticCustomError("whole", "it is not a whole number of its column's range")
    return number


def _read_boolean(text: Any) -> bool:
    if text not in ("true", "false"):
        raise PydanticCustomError("boolean", "it must be true or false")
    return text == "true"


def _read_uuid(text: Any) -> UUID:
    if not isinstance(text, str) or not _is_uuid(text):
        raise PydanticCustomError("uuid", "it is not a UUID")
    return UUID(text)


def _read_text(text: Any) -> str:
    if not isinstance(text, str) or "\0" in text or len(text) > LONGEST_TEXT:
        raise PydanticCustomError(
            "text", f"it must be text of at most {LONGEST_TEXT:,} characters, without NUL"
        )
    return text


_DAY = {"type": "string", "format": "date", "examples": ["2026-01-31"]}
_MONTH = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$",
    "examples": ["2026-01"],
}
_INSTANT = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}],
    "examples": ["2026-01-31T09:30:00Z"],
}
_WHOLE = {"type": "integer"}


def _typed(read: Callable[[Any], Any], schema: dict[str, Any]) -> Any:
    return Annotated[Any, BeforeValidator(read), WithJsonSchema(schema)]


# How a value of a column is read from a request.
VALUES: Mapping[Type, Any] = {
    Type.TEXT: _typed(_read_text, {"type": "string", "maxLength": LONGEST_TEXT}),
    Type.UUID: _typed(_read_uuid, {"type": "string", "format": "uuid"}),
    Type.BOOLEAN: _typed(_read_boolean, {"type": "boolean"}),
    Type.INTEGER: _typed(
        lambda text: _read_whole(text, 32),
        _WHOLE | {"minimum": -(2**31), "maximum": 2**31 - 1},
    ),
    Type.BIGINT: _typed(
        lambda text: _read_whole(text, 64),
        _WHOLE | {"minimum": -(2**63), "maximum": 2**63 - 1},
    ),
    Type.DATE: _typed(read_day, _DAY),
    Type.TIMESTAMP: _typed(read_instant, _INSTANT),
}
_ROW_TYPES: Mapping[Type, dict[str, Any]] = {
    Type.TEXT: {"type": "string"},
    Type.UUID: {"type": "string", "format": "uuid"},
    Type.BOOLEAN: {"type": "boolean"},
    Type.INTEGER: {"type": "integer"},
    Type.BIGINT: {"type": "integer"},
    Type.NUMERIC: {"type": "number"},
    Type.DATE: {"type": "string", "format": "date"},
    Type.TIMESTAMP: {"type": "string", "format": "date-time"},
    Type.JSON: {},
}


_LISTS, _RANGE = frozenset({"columns", "order"}), frozenset({"start", "end"})


class Parameters(BaseModel):
    """What every mart's endpoint takes."""

    model_config = ConfigDict(extra="forbid")

    columns: list[str] | None = None
    order: list[str] | None = None
    limit: int = PAGE_ROWS
    cursor: str | None = None
    format: Literal["json", "csv"] | None = None

    @model_validator(mode="after")
    def _has_whole_range(self) -> Self:
        start, end = getattr(self, "start", None), getattr(self, "end", None)
        if (start is None) != (end is None):
            given, missing = ("from", "to") if end is None else ("to", "from")
            raise PydanticCustomError(
                "range", "`{given}` needs `{missing}`: a range has both ends",
                {"given": given, "missing": missing},
            )  # fmt: skip
        if start is not None and end is not None and start >= end:
            raise PydanticCustomError("range", "`from` must be before `to`, which is not included")
        return self


def parameters_of(mart: Mart) -> type[Parameters]:
    """Return the model of a mart's parameters; keys of the mart are filters."""
    names = tuple(mart.columns)
    sortable = [name for name, column in mart.columns.items() if column.type is not Type.JSON]
    fields: dict[str, Any] = {
        "columns": (
            Annotated[
                list[Literal[names]] | None,  # type: ignore[valid-type]
                BeforeValidator(_split),
                Field(description="The columns of the answer, all by default; repeatable, or "
                      "separated by commas."),
            ],
            None,
        ),
        "order": (
            Annotated[
                list[Literal[(*sortable, *(f"-{name}" for name in sortable))]] | None,  # type: ignore[valid-type]
                BeforeValidator(_split),
                AfterValidator(_once),
                Field(
                    max_length=8,
                    description="By what rows are sorted, `-` before a column for descending; by "
                    f"default by its key: {', '.join(mart.key)}.",
                ),
            ],
            None,
        ),
        "limit": (
            Annotated[
                Annotated[int, Field(ge=1, le=MOST_ROWS), BeforeValidator(_read_limit)],
                Field(description="Rows of a page. CSV has all rows, whatever it says."),
            ],
            PAGE_ROWS,
        ),
        "cursor": (
            Annotated[
                str | None,
                Field(description="`meta.next_cursor` of the page before.", max_length=20_000),
            ],
            None,
        ),
        "format": (
            Annotated[
                Literal["json", "csv"] | None,
                Field(description="As the header `Accept`: `csv` streams all rows."),
            ],
            None,
        ),
    }  # fmt: skip
    if mart.period:
        value, unit = _of_period(mart, mart.period)
        about = f"period ({' and '.join(mart.period.columns)})"
        fields["start"] = (
            Annotated[
                value | None, Field(alias="from", description=f"The first {unit} of the {about}.")
            ],
            None,
        )
        fields["end"] = (
            Annotated[
                value | None,
                Field(alias="to", description=f"The first {unit} after the {about}."),
            ],
            None,
        )
    for column in mart.filters:
        fields[column.name] = (
            Annotated[
                list[VALUES[column.type]] | None,
                Field(max_length=MOST_VALUES, description=f"{column.description} Repeatable."),
            ],
            None,
        )
    return create_model(f"{_camel(mart.name)}Parameters", __base__=Parameters, **fields)


def read_parameters(model: type[Parameters], given: QueryParams) -> Parameters:
    """Return the parameters of a request. Raises ValidationError."""
    lists = _lists_of(model)
    return model.model_validate(
        {name: given.getlist(name) if name in lists else given[name] for name in given}
    )


@cache
def _lists_of(model: type[Parameters]) -> Set[str]:
    """Return the parameters that may be given more than once."""
    return _LISTS | (model.model_fields.keys() - Parameters.model_fields.keys() - _RANGE)


def query_of(mart: Mart, given: Parameters) -> MartQuery:
    """Return what a request asks. Raises ApiError for a cursor of another query."""
    order = [Order(one.removeprefix("-"), one.startswith("-")) for one in given.order or ()]
    filters = {
        column.name: [as_text(value) or "" for value in values]
        for column in mart.filters
        if (values := getattr(given, column.name)) is not None
    }
    columns = tuple(dict.fromkeys(given.columns or mart.columns))
    query = MartQuery(
        mart,
        columns,
        _instant(getattr(given, "start", None)),
        _instant(getattr(given, "end", None)),
        filters,
        tuple(order),
        given.limit,
    )
    if given.cursor is None:
        return query
    after = query.read_cursor(given.cursor)
    return MartQuery(
        mart, columns, query.start, query.end, filters, query.order, query.limit, after
    )


def row_of(mart: Mart) -> type[BaseModel]:
    """Return the model of a mart's rows, for the API's description."""
    fields: dict[str, Any] = {}
    for column in mart.columns.values():
        fields[column.name] = (_row_type(column), Field(default=None, description=_about(column)))
    return create_model(f"{_camel(mart.name)}Row", **fields)


def _row_type(column: Column) -> Any:
    schema = _ROW_TYPES[column.type]
    if column.nullable and schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return Annotated[Any, WithJsonSchema(schema)]


def _about(column: Column) -> str:
    return f"{column.description} Unit: {column.unit}." if column.unit else column.description


def _of_period(mart: Mart, period: Period) -> tuple[Any, str]:
    if period.is_calendar_month:
        return _typed(read_month, _MONTH), "month"
    if mart.columns[period.columns[0]].type is Type.TIMESTAMP:
        return VALUES[Type.TIMESTAMP], "instant"
    return VALUES[Type.DATE], "day"


def _instant(value: date | datetime | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return instant_of(value)


def _read_limit(text: Any) -> int:
    if isinstance(text, int):
        return text
    return _read_whole(text, 32)


def _split(given: Any) -> Any:
    """Return the names of a list whose items may name several, separated by commas."""
    if not isinstance(given, list):
        return given
    return [name for one in given for name in str(one).split(",")]


def _once(order: list[str] | None) -> list[str] | None:
    names = [one.removeprefix("-") for one in order or ()]
    if len(set(names)) != len(names):
        raise PydanticCustomError("order", "it names a column twice")
    return order


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
