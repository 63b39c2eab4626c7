"""What a page and a tile of the dashboard are, and which description of them its script gets.

A tile says which columns of a mart it shows and how they are summed up. Labels, units and
descriptions are those of the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from serving.catalogue import CatalogueError, Column, Mart

# Columns of every mart that say nothing to readers of a page.
SILENT = {"updated_at"}
CLIENT = "client_id"
# Whether the figures of a cohort are those that will stay.
MATURITY = {"is_mature"}
# Endings of columns' names that their unit says already, and words that are written otherwise.
_UNIT_SUFFIXES = ("_cents", "_usd", "_ms", "_seconds", "_percent")
_WORDS = {
    "ai": "AI",
    "api": "API",
    "mrr": "MRR",
    "id": "ID",
    "usd": "USD",
    "roi": "ROI",
    "avg": "average",
    "cpu": "CPU",
}


class How(StrEnum):
    """How the rows of a tile become one figure; never a mean of means or a sum of rates."""

    SUM = "sum"
    # The sum over the rows of the latest period, for amounts at the end of a period.
    LAST = "last"
    # Over complete days: of distinct counts, which no sum over days may hold.
    DAILY_MEAN = "daily_mean"
    # The first column over the sum of the others, computed from the parts.
    RATIO = "ratio"
    # Weighted by another column: of means whose parts the mart does not have.
    WEIGHTED = "weighted"
    MAX = "max"
    # The rows' number.
    ROWS = "rows"


class Kind(StrEnum):
    """How a tile is drawn."""

    FIGURE = "figure"
    CHART = "chart"
    TABLE = "table"
    ROWS = "rows"
    CHANGES = "changes"
    FUNNEL = "funnel"
    TRIANGLE = "triangle"
    BRIDGE = "bridge"
    ALERTS = "alerts"
    SUMMARY = "summary"


_IN_CENTS = re.compile(r",? in cents\b")
_COMPARING = {Kind.FIGURE, Kind.CHANGES}


class Shown(StrEnum):
    """For which choice of client a tile is; a tenant's key has chosen its own."""

    ALWAYS = "always"
    ALL_CLIENTS = "all_clients"
    ONE_CLIENT = "one_client"


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure made of columns of a mart. ``label`` and ``unit`` are given where several make it.

    ``lower_is_better`` decides which changes look bad; None is for what is neither.
    """

    column: str
    how: How = How.SUM
    of: tuple[str, ...] = ()
    label: str | None = None
    unit: str | None = None
    lower_is_better: bool | None = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.column, *self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A part of a page that loads and fails alone.

    ``by`` are the columns of which each combination is a row, a line or a step. ``order`` is the
    measure or column by which rows are sorted, `-` before it for descending. ``fixed`` are filters
    that readers can't change; ``only`` is a column with the values that rows must have, ``without``
    one with the value that they must not have. ``path`` is the
    endpoint, that of the mart by default.
    """

    id: str
    kind: Kind
    title: str
    mart: str
    measures: tuple[Measure, ...] = ()
    by: tuple[str, ...] = ()
    order: str | None = None
    limit: int = 10
    fixed: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, tuple[Any, ...]] | None = None
    without: tuple[str, str] | None = None
    path: str | None = None
    has_range: bool = True
    most_days: int | None = None
    # Its days are those on which the warehouse did something: its ranges end now, not with figures.
    is_by_clock: bool = False
    note: str = ""
    is_wide: bool = False
    # Funnels only: steps come from rows that count all who came at least so far.
    steps: tuple[str, ...] = ()
    shown: Shown = Shown.ALWAYS
    is_for_analysts: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the mart that it reads, without those of the period."""
        names = [*self.by, *(name for one in self.measures for name in one.columns)]
        if self.only:
            names.append(self.only[0])
        return tuple(name for name in dict.fromkeys(names) if name != How.ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: a URL, its tiles in the order of their importance, and its filters.

    ``days`` is the range that is shown at first. ``filters`` are key columns of its marts.
    """

    name: str
    title: str
    about: str
    tiles: tuple[Tile, ...]
    filters: tuple[str, ...] = ()
    days: int = 30
    has_range: bool = True


def check(pages: tuple[Page, ...], marts: Mapping[str, Mart]) -> None:
    """Raise CatalogueError for a tile of a mart or column that there is not."""
    for page in pages:
        for tile in page.tiles:
            _check(page, tile, marts)


def _check(page: Page, tile: Tile, marts: Mapping[str, Mart]) -> None:
    if tile.mart not in marts:
        raise CatalogueError(f"The page {page.name} shows an unknown mart: {tile.mart}")
    unknown = set(tile.columns) - marts[tile.mart].columns.keys()
    if unknown:
        raise CatalogueError(
            f"The page {page.name} shows columns that {tile.mart} lacks: {sorted(unknown)}"
        )


def configurations(page: Page, marts: Mapping[str, Mart]) -> Iterator[dict[str, Any]]:
    """Yield what the script needs to know of each tile of a page.

    Tiles that read the same rows of a mart ask for the same columns, so that one request
    serves them.
    """
    for tile in page.tiles:
        mart = marts[tile.mart]
        yield {
            "id": tile.id,
            "kind": tile.kind,
            "title": tile.title,
            "mart": mart.name,
            "path": tile.path or f"/v1/marts/{mart.name}",
            "fetch": _fetched(tile, page, mart),
            "period": list(mart.period.columns) if mart.period else [],
            "unit": mart.period.unit if mart.period else None,
            "has_range": tile.has_range and mart.period is not None,
            "most_days": tile.most_days,
            "is_dense": mart.is_dense,
            "filters": [name for name in page.filters if _is_filter(tile, mart, name)],
            "fixed": dict(tile.fixed),
            "only": tile.only,
            "without": tile.without,
            "is_by_clock": tile.is_by_clock,
            "columns": {name: _about(mart.columns[name]) for name in _named(tile, mart)},
            "measures": [_measure(one, mart) for one in tile.measures],
            "by": tile.by,
            "order": tile.order,
            "limit": tile.limit,
            "steps": tile.steps,
            "shown": tile.shown,
            "compares": any(one.kind in _COMPARING for one in _alike(tile, page)),
        }


def _is_filter(tile: Tile, mart: Mart, name: str) -> bool:
    """Return whether a filter of the page narrows a tile."""
    if tile.path and not tile.path.startswith("/v1/funnel"):
        return False
    return any(column.name == name for column in mart.filters)


def _alike(tile: Tile, page: Page) -> list[Tile]:
    """Return the tiles of the page that can be shown from the same rows."""
    if tile.path or tile.kind is Kind.ROWS:
        return [tile]
    return [
        one
        for one in page.tiles
        if one.kind is not Kind.ROWS
        and (one.mart, one.fixed, one.path, one.most_days, one.shown)
        == (tile.mart, tile.fixed, None, tile.most_days, tile.shown)
    ]


def _fetched(tile: Tile, page: Page, mart: Mart) -> list[str]:
    if tile.path:
        return []
    names = {*(mart.period.columns if mart.period else ())}
    for one in _alike(tile, page):
        names.update(one.columns)
        names.update(mart.columns.keys() & {(one.order or "").removeprefix("-")})
        if one.kind is Kind.FUNNEL:
            names.update(mart.columns.keys() & MATURITY)
    return sorted(names)


def _named(tile: Tile, mart: Mart) -> list[str]:
    names = dict.fromkeys((*(mart.period.columns if mart.period else ()), *tile.columns))
    return [name for name in (names if tile.columns else mart.columns) if name not in SILENT]


def _about(column: Column) -> dict[str, Any]:
    return {
        "label": label_of(column.name),
        "unit": column.unit,
        "type": column.type,
        "about": _plain(column.description),
    }


def _about_measure(measure: Measure, column: Column | None) -> str:
    match measure.how:
        case How.RATIO:
            whole = " and ".join(label_of(name) for name in measure.of)
            return f"{label_of(measure.column)} as a share of {whole}."
        case How.DAILY_MEAN if column:
            return (
                f"{_plain(column.description)} Mean over complete days; who comes on several days "
                "counts on each."
            )
    return _plain(column.description) if column else ""


def _plain(description: str) -> str:
    """Return a description as a page shows it: without marks, and cents are shown as dollars."""
    return _IN_CENTS.sub("", description.replace("`", ""))


def _measure(measure: Measure, mart: Mart) -> dict[str, Any]:
    first = mart.columns.get(measure.column)
    return {
        "name": measure.column,
        "how": measure.how,
        "of": measure.of,
        "label": measure.label or label_of(measure.column),
        "unit": measure.unit or (first.unit if first else "count"),
        "about": _about_measure(measure, first),
        "lower_is_better": measure.lower_is_better,
    }


def label_of(column: str) -> str:
    """Return a column's name as people read it: `cost_total` is *Cost total*."""
    for suffix in _UNIT_SUFFIXES:
        column = column.removesuffix(suffix)
    words = [_WORDS.get(word, word) for word in column.split("_")]
    return words[0][:1].upper() + words[0][1:] + "".join(f" {word}" for word in words[1:])
