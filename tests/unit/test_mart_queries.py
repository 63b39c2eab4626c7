"""The catalogue of marts, and the SQL of queries, without a database."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from serving.catalogue import CatalogueError, Mart, Type, marts, read_marts
from serving.dashboard.pages import PAGES
from serving.mart_query import (
    MartQuery,
    Order,
    copy_statement,
    page_statement,
    settings_of,
)
from serving.parameters import parameters_of, query_of, row_of
from tests.support.people import HOSTILE

NEW = """
models:
  - name: quotes_hourly
    config:
      meta:
        access: client
        plans: [pro]
        cells: [client_id, hour]
        touched_by: {int_lead_events: [client_id, hour]}
        window_on: "(hour at time zone 'utc')::date"
    description: "One row per client and hour. More than {{ var('few') }} quotes are many."
    constraints: [{type: primary_key, columns: [client_id, hour]}]
    columns:
      - {name: client_id, data_type: text, description: The client.}
      - {name: hour, data_type: timestamptz, description: The UTC hour.}
      - {name: quotes, data_type: bigint, description: Quotes sent.}
      - {name: value_cents, data_type: bigint, description: Their value.}
      - {name: margin, data_type: numeric, description: Margin., config: {meta: {unit: percent}}}
"""


def declared(folder: Path, text: str = NEW) -> Mart:
    (folder / "clients").mkdir()
    (folder / "clients" / "_clients__models.yml").write_text(text)
    (mart,) = read_marts(folder, {"few": 7})
    return mart


def test_a_new_mart_is_known_from_its_yaml(tmp_path: Path) -> None:
    mart = declared(tmp_path)
    assert (mart.name, mart.family, mart.grain) == (
        "quotes_hourly", "clients", "One row per client and hour.",
    )  # fmt: skip
    assert "More than 7 quotes" in mart.description
    assert (mart.plans, mart.is_dense, mart.is_live) == (("pro",), False, False)
    units = {column.name: column.unit for column in mart.columns.values()}
    assert units == {
        "client_id": None, "hour": None, "quotes": "count", "value_cents": "cents",
        "margin": "percent",
    }  # fmt: skip
    given = parameters_of(mart).model_validate(
        {"from": "2026-01-01", "to": "2026-01-01T09:30:00+02:00", "client_id": ["a", "b"]}
    )
    query = query_of(mart, given)
    assert query.end == datetime(2026, 1, 1, 7, 30, tzinfo=UTC)
    assert query.filters == {"client_id": ["a", "b"]}
    assert set(row_of(mart).model_fields) == set(mart.columns)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("columns: [client_id, hour]}]", "columns: [client_id, our]}]", "our"),
        ("(hour at time zone 'utc')::date", "date_trunc('day', hour)", "period_on"),
    ],
)
def test_a_mart_that_cannot_be_served_is_refused_by_name(
    tmp_path: Path, before: str, after: str, word: str
) -> None:
    assert before in NEW
    with pytest.raises(CatalogueError, match="quotes_hourly") as refused:
        declared(tmp_path, NEW.replace(before, after, 1))
    assert word in str(refused.value)


def test_every_number_of_every_mart_has_a_unit_or_says_that_it_has_none() -> None:
    silent = []
    for file in Path("dbt_project/models/marts").glob("*/_*__models.yml"):
        for model in yaml.safe_load(file.read_text("utf-8"))["models"]:
            said = {
                column["name"]
                for column in model["columns"]
                if "unit" in column.get("config", {}).get("meta", {})
            }
            silent += [
                (model["name"], column.name)
                for column in marts()[model["name"]].columns.values()
                if column.type is Type.NUMERIC and column.unit is None
                and column.name not in said
            ]  # fmt: skip
    assert silent == []


def test_a_description_in_percent_is_of_a_percentage() -> None:
    # A whole number without a unit is taken as a number of things.
    in_percent = [
        (mart.name, column.name, column.unit)
        for mart in marts().values()
        for column in mart.columns.values()
        if re.search(r"\bin (whole )?percent\b", column.description)
    ]
    assert len(in_percent) > 10
    assert {unit for _, _, unit in in_percent} == {"percent", "as metric_unit says"}, in_percent


def test_without_a_key_pages_are_by_all_columns(tmp_path: Path) -> None:
    mart = declared(
        tmp_path, NEW.replace("constraints: [{type: primary_key, columns: [client_id, hour]}]", "")
    )
    assert mart.key == tuple(mart.columns)


def queries(hostile: str) -> list[MartQuery]:
    """Queries of each kind, with a value wherever one can be."""
    found = []
    for mart in marts().values():
        text = [column.name for column in mart.filters if column.type is Type.TEXT]
        query = MartQuery(
            mart,
            tuple(mart.columns),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 2, 1, tzinfo=UTC),
            {name: [hostile, "x"] for name in text},
            (Order(next(iter(mart.columns)), descending=True),),
        )
        found += [query, replace(query, after=tuple(hostile for _ in query.full_order))]
    return found


@pytest.mark.parametrize("hostile", HOSTILE)
def test_values_never_become_text_of_a_statement(hostile: str) -> None:
    for query in queries(hostile):
        same = replace(
            query,
            start=datetime(2025, 1, 1, tzinfo=UTC),
            end=datetime(2025, 2, 1, tzinfo=UTC),
            filters={name: ["y"] for name in query.filters},
            after=None if query.after is None else tuple("z" for _ in query.after),
        )
        assert page_statement(query.shape) == page_statement(same.shape)
        assert copy_statement(query.shape) == copy_statement(same.shape)
        statement, parameters = settings_of(query.values)
        if len(hostile) > 4:
            assert hostile not in statement
        given = [one for value in parameters for one in (value if type(value) is list else [value])]
        assert hostile in given or (not query.filters and query.after is None)


def test_the_text_of_a_statement_changes_with_which_values_there_are() -> None:
    mart = marts()["lead_funnel"]
    query = MartQuery(mart, ("lead_id",), order=(Order("lead_created_at"),))
    texts = {
        page_statement(replace(query, after=after).shape)
        for after in (None, ("2026-01-01", "a", "b"), (None, "a", "b"))
    }
    assert len(texts) == 3


def test_a_page_reads_an_index_from_where_the_last_one_ended() -> None:
    mart = marts()["analytics_daily"]
    query = MartQuery(mart, ("date",), after=("acme", "2026-01-01"))
    assert b'("client_id", "date") > (' in page_statement(query.shape)
    query = replace(query, order=(Order("date", descending=True),), after=("2026-01-01", "acme"))
    assert b'("date", "client_id") < (' in page_statement(query.shape)


def test_exposures_name_every_mart_that_the_api_and_the_dashboard_show() -> None:
    file = Path("dbt_project/models/marts/_exposures.yml")
    exposed = {
        one["name"]: {mart.removeprefix("ref('").removesuffix("')") for mart in one["depends_on"]}
        for one in yaml.safe_load(file.read_text("utf-8"))["exposures"]
    }
    assert exposed["http_api"] == set(marts())
    assert exposed["dashboard"] == {tile.mart for page in PAGES for tile in page.tiles}
