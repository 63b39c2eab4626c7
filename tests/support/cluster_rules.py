"""What a cluster refuses or computes wrongly, recognized in the text of SQL (docs/scaling.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

# The relations that are spread over the workers, as SQL names them.
Distributed = Collection[str]
EVENTS = "staging.raw_events"
REFERENCE = ("staging.event_batches", "staging.clients", "staging.users", "staging.units",
             "staging.documents", "staging.dropped_months", "warehouse.tenants",
             "warehouse.erased_rows")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: what it refuses, an example of that and one of what works instead."""

    finds: Callable[[str, Distributed], Iterator[str]]
    refused: str
    works: str


def broken_rules(text: str, distributed: Distributed) -> dict[str, list[str]]:
    """Return the rules that a text of SQL breaks, and where."""
    bare = _without_comments(text)
    found = {name: list(rule.finds(bare, distributed)) for name, rule in RULES.items()}
    return {name: places for name, places in found.items() if places}


def _without_comments(text: str) -> str:
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    return re.sub(r"--[^\n]*", " ", text).replace('"', "").lower()


def _matches(pattern: str) -> Callable[[str, Distributed], Iterator[str]]:
    compiled = re.compile(pattern, re.DOTALL)

    def finds(text: str, _: Distributed) -> Iterator[str]:
        yield from (_shown(found.group()) for found in compiled.finditer(text))

    return finds


def _shown(place: str) -> str:
    return " ".join(place.split())[:120]


def _in_parentheses(text: str, opening: str) -> Iterator[str]:
    """Yield what stands in the parentheses that these words open."""
    for found in re.finditer(opening + r"\s*\(", text):
        depth = 1
        for end in range(found.end(), len(text)):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            if depth == 0:
                yield text[found.end() : end]
                break


def _reads(text: str, distributed: Distributed) -> bool:
    return any(re.search(rf"{re.escape(name)}\b", text) for name in distributed)


def _is_of_one_client(text: str) -> bool:
    return re.search(r"client_id\s*=\s*'?\w", text) is not None


def _subqueries_across_clients(text: str, distributed: Distributed) -> Iterator[str]:
    for body in _in_parentheses(text, r"\bexists"):
        is_correlated = re.search(r"\w+\.\w+\s*(=|<|>|<=|>=)\s*\w+\.\w+", body)
        has_own_join = re.search(r"\bjoin\b", body)
        if (
            _reads(body, distributed)
            and is_correlated
            and not (_is_of_one_client(body) or has_own_join)
        ):
            yield _shown(body)


def _limits_in_laterals_across_clients(text: str, distributed: Distributed) -> Iterator[str]:
    for body in _in_parentheses(text, r"\blateral"):
        if (
            re.search(r"\blimit\b", body)
            and _reads(body, distributed)
            and not (_is_of_one_client(body))
        ):
            yield _shown(body)


def _columns_from_subqueries_of_events(text: str, _: Distributed) -> Iterator[str]:
    """Scalar subqueries on raw events: those in a select list, a condition or an assignment."""
    for found in re.finditer(r"(?:=|-|\bwhere|\bselect|,)\s*\((?=\s*select)", text):
        body = next(_in_parentheses(text[found.end() - 1 :], ""), "")
        if EVENTS in body and re.search(r"\w+\.\w+\s*=\s*\w+\.\w+", body):
            yield _shown(body)


def _full_joins_without_client(text: str, distributed: Distributed) -> Iterator[str]:
    if not _reads(text, distributed):
        return
    for found in re.finditer(r"\bfull (?:outer )?join\b.{0,400}", text, re.DOTALL):
        condition = re.split(r"\b(?:where|union|group by)\b", found.group())[0]
        if "client_id" not in condition and _reads(condition, distributed):
            yield _shown(condition)


def _conditions_beside_a_subquery(text: str, _: Distributed) -> Iterator[str]:
    for found in re.finditer(r"\bdelete from\b[^;]*", text):
        condition = found.group().partition(" where ")[2]
        setting, subquery = condition.find("current_setting("), condition.find("in (select")
        if -1 < setting < subquery:
            yield _shown(found.group())


def _volatile_changes(text: str, distributed: Distributed) -> Iterator[str]:
    tables = "|".join(map(re.escape, (*distributed, *REFERENCE)))
    for found in re.finditer(rf"\b(?:update|delete from) (?:{tables})\b[^;]*", text):
        if re.search(r"\b(?:clock_timestamp|random|gen_random_uuid|nextval)\(", found.group()):
            yield _shown(found.group())


def _materialized_new_rows(text: str, _: Distributed) -> Iterator[str]:
    for found in re.finditer(r"\bwith new_rows as (?!not materialized)", text):
        yield _shown(found.group())


RULES: dict[str, Rule] = {
    "a subquery without columns": Rule(
        _matches(r"\b(?:select|perform)\s+from\b"),
        "select exists (select from warehouse.erased_rows)",
        "select exists (select 1 from warehouse.erased_rows)",
    ),
    "set_config of what workers read": Rule(
        _matches(r"set_config\(\s*'warehouse\."),
        "select set_config('warehouse.mode', 'full', true)",
        "select warehouse.set_locally('{\"warehouse.mode\": \"full\"}')",
    ),
    "set local among other statements": Rule(
        _matches(r"(?<!')\bset local (?!%s)"),
        "set local work_mem = '1MB'; insert into a select 1",
        "select warehouse.set_locally('{\"work_mem\": \"1MB\"}')",
    ),
    "a setting beside a subquery of a delete": Rule(
        _conditions_beside_a_subquery,
        "delete from marts.a where current_setting('x') = 'y' and (a, b) in (select a, b from t)",
        "delete from marts.a where (a, b) in (select a, b from t where current_setting('x') = 'y')",
    ),
    "laterals over new rows that are materialized": Rule(
        _materialized_new_rows,
        "select * from (with new_rows as (select 1) select * from new_rows) as touched",
        "select * from (with new_rows as not materialized (select 1) select * from new_rows) as t",
    ),
    "to_date in an update or delete": Rule(
        _matches(r"\b(?:update|delete from)\b[^;]*\bto_date\("),
        "delete from marts.a where to_date(month, 'YYYY-MM') > '2026-01-01'",
        "delete from marts.a where make_date(left(month, 4)::integer, 1, 1) > '2026-01-01'",
    ),
    "a subquery across clients": Rule(
        _subqueries_across_clients,
        "select 1 from days where not exists (select 1 from marts.chat_events as earlier "
        "where earlier.user_id = days.user_id)",
        "select 1 from days where not exists (select 1 from marts.chat_events as earlier "
        "where earlier.client_id = days.client_id and earlier.user_id = days.user_id)",
    ),
    "a limit in a lateral across clients": Rule(
        _limits_in_laterals_across_clients,
        "select 1 from users left join lateral (select e.at from marts.chat_events as e "
        "where e.user_id = users.user_id order by e.at limit 1) as first on true",
        "select 1 from users left join (select user_id, min(at) as at from marts.chat_events "
        "group by user_id) as first on users.user_id = first.user_id",
    ),
    "a scalar subquery on events": Rule(
        _columns_from_subqueries_of_events,
        "update t as b set n = (select count(*) from staging.raw_events as r "
        "where r.batch_id = b.batch_id)",
        "update t as b set n = e.n from (select batch_id, count(*) as n from staging.raw_events "
        "group by batch_id) as e where b.batch_id = e.batch_id",
    ),
    "a full join without the client": Rule(
        _full_joins_without_client,
        "select 1 from days full join marts.chat_events as c on days.date = c.date",
        "select 1 from days full join marts.chat_events as c on days.client_id = c.client_id "
        "and days.date = c.date",
    ),
    "statistics of the coordinator alone": Rule(
        _matches(r"\bpg_stat_get_xact_\w+"),
        "select pg_stat_get_xact_tuples_inserted(relation)",
        "get diagnostics n = row_count",
    ),
    "volatile functions in a change": Rule(
        _volatile_changes,
        "update staging.clients set updated_at = clock_timestamp()",
        "update warehouse.builds set ended_at = clock_timestamp()",
    ),
    "transaction ids and places of rows": Rule(
        _matches(r"\b(?:xmin|xmax|ctid|txid_current\w*|pg_current_xact_id\w*)\b"),
        "select ctid from marts.a",
        "select client_id from marts.a",
    ),
    "foreign keys": Rule(
        _matches(r"\bforeign key\b|\breferences [a-z_]+\.[a-z_]+ ?\("),
        "create table a (b text references staging.clients (client_id))",
        "create table a (b text)",
    ),
    "triggers": Rule(
        _matches(r"\bcreate (?:or replace )?(?:constraint )?trigger\b"),
        "create trigger t before insert on a execute function f()",
        "create table a (t text)",
    ),
    "merge": Rule(_matches(r"\bmerge into\b"), "merge into a using b on true", "insert into a"),
    "rollup and grouping sets": Rule(
        _matches(r"\b(?:rollup|cube) ?\(|\bgrouping sets\b"),
        "select 1 group by rollup (a, b)",
        "select 1 group by a, b",
    ),
}  # fmt: skip
