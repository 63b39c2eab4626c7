"""Keys: what may be made, that only hashes are stored, and how soon servers know."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.lines import rows, value
from tests.support.processes import run
from warehouse import key_store, keys
from warehouse.key_kinds import KeyKind
from warehouse.key_store import KeyRefusedError
from warehouse.keys import KnownKeys

SITE = "https://www.example.com"


@pytest.fixture
def known(tmp_path: Path) -> KnownKeys:
    return KnownKeys(tmp_path)


def make(connection: psycopg.Connection, home: Path, kind: str, **options: Any) -> str:
    return key_store.create(connection, home, KeyKind(kind), **options).key


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("browser", {"client": "acme", "origins": [SITE]}),
        ("server", {"client": "acme"}),
        ("platform", {}),
        ("read", {"role": "warehouse_analyst"}),
        ("marketing", {}),
        ("marketing", {"role": "warehouse_marketing", "origins": [SITE]}),
    ],
)
def test_a_key_is_known_by_its_hash_until_it_is_revoked(
    warehouse: psycopg.Connection,
    tmp_path: Path,
    known: KnownKeys,
    kind: str,
    options: dict[str, Any],
) -> None:
    key = make(warehouse, tmp_path, kind, **options)
    known.refresh()
    found = known.find(key)
    assert found is not None
    assert (found.kind, found.client_id) == (kind, options.get("client"))
    assert found.origins == set(options.get("origins", []))
    assert found.role_name == {"read": "warehouse_analyst", "marketing": "warehouse_marketing"}.get(
        kind
    )
    stored = value(warehouse, "select string_agg(k::text, ' ') from warehouse.keys as k")
    copy = keys.copy_of_keys(tmp_path)
    secret = key[-43:]
    assert secret not in stored
    assert secret not in copy.read_text()
    assert copy.stat().st_mode & 0o777 == 0o600
    key_store.revoke(warehouse, tmp_path, found.key_id)
    known.refresh()
    assert known.find(key) is None


def test_no_other_text_is_a_key(
    warehouse: psycopg.Connection, tmp_path: Path, known: KnownKeys
) -> None:
    key = make(warehouse, tmp_path, "platform")
    known.refresh()
    assert known.find(key)
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    for other in ("", "x", key[:-1], key + "A", changed, key.upper(), f" {key}", key * 10, "é" * 9):
        assert known.find(other) is None


def test_an_expired_key_is_not_known(
    warehouse: psycopg.Connection, tmp_path: Path, known: KnownKeys
) -> None:
    key = make(warehouse, tmp_path, "platform", expires_in_days=1)
    known.refresh()
    found = known.find(key)
    assert found is not None
    assert found.is_valid(datetime.now(UTC) + timedelta(hours=23))
    assert not found.is_valid(datetime.now(UTC) + timedelta(hours=25))
    warehouse.execute("update warehouse.keys set expires_at = now()")
    key_store.write_copy(warehouse, tmp_path)
    known.refresh()
    assert known.find(key) is None


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("browser", {"origins": [SITE]}, "--client"),
        ("server", {}, "--client"),
        ("server", {"client": ""}, "--client"),
        ("server", {"client": "x" * 129}, "--client"),
        ("platform", {"client": "acme"}, "--client is for"),
        ("browser", {"client": "acme"}, "--origin"),
        ("browser", {"client": "acme", "origins": [f"{SITE}/shop"]}, "is not an origin"),
        ("browser", {"client": "acme", "origins": ["*"]}, "is not an origin"),
        ("browser", {"client": "acme", "origins": ["null"]}, "is not an origin"),
        ("server", {"client": "acme", "origins": [SITE]}, "--origin is for"),
        ("platform", {"role": "warehouse_analyst"}, "--role is for"),
        ("read", {}, "--role"),
        ("read", {"role": "nobody at all"}, "There is no role"),
        ("read", {"role": "warehouse_transformer"}, "can't be used"),
        ("read", {"role": "postgres"}, "can't be used"),
        ("read", {"role": "keyless_tenant"}, "would see nothing"),
        ("marketing", {"role": "warehouse_analyst"}, "leave --role out"),
        ("platform", {"per_minute": 0}, "--per-minute"),
        ("platform", {"expires_in_days": 0}, "--expires-in"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused(
    warehouse: psycopg.Connection,
    tmp_path: Path,
    kind: str,
    options: dict[str, Any],
    message: str,
) -> None:
    warehouse.execute(
        "do $$ begin create role keyless_tenant in role warehouse_tenant; "
        "exception when duplicate_object then null; end $$"
    )
    with pytest.raises(KeyRefusedError, match=message):
        make(warehouse, tmp_path, kind, **options)
    assert rows(warehouse, "select from warehouse.keys") == []


def test_a_tenants_role_gets_a_key_once_it_is_mapped(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    warehouse.execute(
        "do $$ begin create role mapped_tenant in role warehouse_tenant; "
        "exception when duplicate_object then null; end $$"
    )
    warehouse.execute(
        "insert into warehouse.tenants (role_name, client_id) values ('mapped_tenant', 'acme')"
    )
    assert make(warehouse, tmp_path, "read", role="mapped_tenant").startswith("read_")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://www.Example.com", "https://www.example.com"),
        ("https://example.com/", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://user@example.com", None),
        ("ftp://example.com", None),
        ("https://example.com:x", None),
        ("https://example.com?x", None),
        ("example.com", None),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str | None) -> None:
    assert keys.origin_of(url) == origin


def test_the_commands_make_list_and_revoke_keys(warehouse: psycopg.Connection) -> None:
    made = run("keys", "create", "--kind", "server", "--client", "acme", "--name", "shop", "--json")
    assert made.code == 0, made.errors
    key_id, key = made.answer["id"], made.answer["key"]
    assert key.startswith(f"server_{key_id}_")
    listed = run("keys", "list", "--json")
    (shown,) = listed.answer["keys"]
    assert (shown["id"], shown["name"], shown["client"]) == (key_id, "shop", "acme")
    assert key[-43:] not in listed.output
    assert run("keys", "revoke", key_id).code == 0
    assert json.loads(run("keys", "list", "--json").output)["keys"][0]["revoked_at"]
    unknown = run("keys", "revoke", "nothing")
    assert unknown.code == 1
    assert "There is no key 'nothing'" in unknown.errors
