"""The marts as the dbt project declares them: what the API serves, and what it says about it.

Everything that the API knows about a mart comes from the YAML beside its model, so that a new mart
is an endpoint without a line of code here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from warehouse.errors import WarehouseError
from warehouse.settings import PROJECT_DIR

DBT_PROJECT = PROJECT_DIR / "dbt_project"
MARTS = DBT_PROJECT / "models" / "marts"

# What the end of a column's name says of its unit; `meta: {unit: …}` says it where no name does.
UNITS_BY_SUFFIX = {
    "_cents": "cents",
    "_usd": "USD",
    "_seconds": "seconds",
    "_ms": "milliseconds",
    "_percent": "percent",
    "_pct": "percent",
    "_rate": "percent",
}
# Whole numbers of which neither name nor YAML says more are numbers of things.
COUNT = "count"


class CatalogueError(WarehouseError):
    """A mart is declared in a way that the API can't serve; the message names it."""


class Type(StrEnum):
    """The types of the marts' columns, as their contracts name them."""

    TEXT = "text"
    UUID = "uuid"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    BIGINT = "bigint"
    NUMERIC = "numeric"
    DATE = "date"
    TIMESTAMP = "timestamptz"
    JSON = "jsonb"


class Access(StrEnum):
    """Who reads a mart: dbt_project/macros/access.sql says what each means."""

    ANALYSTS = "analysts"
    CLIENT = "client"
    CLIENT_AND_USER = "client_and_user"
    USER = "user"


class Unit(StrEnum):
    """What a row of a mart covers."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Column:
    """A column, with its meaning; ``unit`` is None for what is no number."""

    name: str
    type: Type
    description: str
    nullable: bool
    unit: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Period:
    """By which columns rows belong to a period, and how long it is.

    ``columns`` are a day or an instant, a month as text (`2026-01`), or a year and a month.
    """

    columns: tuple[str, ...]
    unit: Unit
    is_text: bool = False

    @property
    def is_calendar_month(self) -> bool:
        """Whether it is written as a month, and not as its first day."""
        return self.is_text or len(self.columns) > 1

    def start(self, at: datetime) -> datetime:
        """Return when the period of an instant starts."""
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        match self.unit:
            case Unit.HOUR:
                return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            case Unit.DAY:
                return midnight
            case Unit.WEEK:
                return midnight - timedelta(days=midnight.weekday())
            case Unit.MONTH:
                return midnight.replace(day=1)

    def first_from(self, at: datetime) -> datetime:
        """Return the start of the first period that starts at an instant or later."""
        start = self.start(at)
        return start if start == at else self.following(start)

    def following(self, start: datetime) -> datetime:
        """Return the end of the period that starts then."""
        match self.unit:
            case Unit.HOUR:
                return start + timedelta(hours=1)
            case Unit.DAY:
                return start + timedelta(days=1)
            case Unit.WEEK:
                return start + timedelta(days=7)
            case Unit.MONTH:
                return (start + timedelta(days=31)).replace(day=1)

    def name(self, start: datetime) -> str:
        """Return a period as its mart writes it: `2026-01`, `2026-01-31` or an instant."""
        if self.is_calendar_month:
            return f"{start:%Y-%m}"
        return start.isoformat() if self.unit is Unit.HOUR else f"{start:%Y-%m-%d}"


@dataclass(frozen=True, slots=True, eq=False)
class Mart:
    """A mart: its rows, who reads them, and how they are found.

    ``key`` are the columns that make a row unique, in the order of its index. ``is_dense`` says
    that periods without events have rows of zeros. A mart that ``is_live`` changes without a build.
    """

    name: str
    family: str
    description: str
    access: Access
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    period: Period | None
    is_dense: bool
    is_live: bool
    plans: tuple[str, ...]

    @property
    def filters(self) -> tuple[Column, ...]:
        """The key columns by which rows can be chosen."""
        return tuple(self.columns[name] for name in self.key if _is_filter(self.columns[name]))

    @property
    def grain(self) -> str:
        """What a row is: the first sentence of the description."""
        return self.description.partition(". ")[0].rstrip(".") + "."


def _is_filter(column: Column) -> bool:
    return column.type is not Type.JSON


@cache
def marts() -> Mapping[str, Mart]:
    """Return all marts by name, as their YAML declares them. Raises CatalogueError."""
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text("utf-8"))["vars"]
    return {mart.name: mart for mart in read_marts(MARTS, variables)}


def read_marts(folder: Path, variables: Mapping[str, Any]) -> Iterator[Mart]:
    """Yield the marts of a folder; descriptions may name dbt's variables."""
    jinja = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  (no HTML)
    jinja.globals["var"] = variables.__getitem__
    for file in sorted(folder.glob("*/_*__models.yml")):
        for model in yaml.load(file.read_text("utf-8"), yaml.CSafeLoader)["models"]:
            yield _mart(model, file.parent.name, lambda text: jinja.from_string(text).render())


def _mart(model: dict[str, Any], family: str, rendered: Any) -> Mart:
    meta = model["config"]["meta"]
    api = meta.get("api", {})
    columns = {one["name"]: _column(one, rendered) for one in model["columns"]}
    keys = [one["columns"] for one in model.get("constraints", []) if one["type"] == "primary_key"]
    # Without a key the API sorts, and finds where a page ended, by all columns.
    key = tuple(
        api.get("key")
        or (keys and keys[0])
        or [name for name, one in columns.items() if _is_filter(one)]
    )
    period = _period(model["name"], meta, columns)
    named = {*key, *(period.columns if period else ())}
    if unknown := named - columns.keys():
        raise CatalogueError(
            f"The API can't serve {model['name']}: it has no {' and no '.join(sorted(unknown))}. "
            "See `config: meta: api:` in its YAML."
        )
    return Mart(
        model["name"],
        family,
        " ".join(rendered(model["description"]).split()),
        Access(meta["access"]),
        columns,
        key,
        period,
        api.get("dense", False),
        api.get("live", False),
        tuple(meta.get("plans", ())),
    )


def _column(declared: dict[str, Any], rendered: Any) -> Column:
    name, type = declared["name"], Type(declared["data_type"])
    meta = declared.get("config", {}).get("meta", {})
    constraints = {one["type"] for one in declared.get("constraints", [])}
    return Column(
        name,
        type,
        " ".join(rendered(declared["description"]).split()),
        "not_null" not in constraints,
        meta["unit"] if "unit" in meta else _unit(name, type),
        meta.get("group"),
    )


def _unit(name: str, type: Type) -> str | None:
    if type not in {Type.INTEGER, Type.BIGINT, Type.NUMERIC}:
        return None
    for suffix, unit in UNITS_BY_SUFFIX.items():
        if name.endswith(suffix):
            return unit
    return None if type is Type.NUMERIC else COUNT


# How `window_on` names the columns of a period: builds and the API mean the same one.
_MONTH = re.compile(r"make_date\(left\((\w+), 4\)::integer, right\(\1, 2\)::integer, 1\)").fullmatch
_DAY_OF = re.compile(r"\((\w+) at time zone 'utc'\)::date").fullmatch
_YEAR_AND_MONTH = re.compile(r"make_date\((\w+), (\w+), 1\)").fullmatch


def _period(mart: str, meta: dict[str, Any], columns: Mapping[str, Column]) -> Period | None:
    """Return the period of a mart's rows; None if they belong to none."""
    on = meta.get("api", {}).get("period_on") or meta.get("window_on")
    if on is None:
        return None
    unit = Unit(meta.get("period", "day"))
    if on in columns:
        return Period((on,), unit)
    if found := _DAY_OF(on):
        return Period((found[1],), Unit.HOUR if found[1] == "hour" else unit)
    if found := _MONTH(on):
        return Period((found[1],), Unit.MONTH, is_text=True)
    if found := _YEAR_AND_MONTH(on):
        return Period((found[1], found[2]), Unit.MONTH)
    raise CatalogueError(
        f"The API can't read the period of {mart} from `window_on: {on}`: declare its column under "
        "`config: meta: api: period_on:`."
    )


def instant_of(day: date) -> datetime:
    """Return when a UTC day starts."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
