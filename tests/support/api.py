"""The HTTP API as it is served, in a thread of its own, and clients with the keys of PEOPLE."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
import uvicorn

from serving import server
from tests.support.people import url_of
from tests.support.processes import until
from warehouse import key_store, private_files
from warehouse.keys import KeyKind
from warehouse.settings import settings

# Requests of a test, as fast as they come.
MANY = 1_000_000


@dataclass
class Api:
    """A served API; a request names its key, or the reader whose key it takes."""

    port: int
    home: Path
    owner: psycopg.Connection
    app: Any
    keys: dict[str, str] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_key(self, name: str, kind: KeyKind = KeyKind.READ, **options: Any) -> str:
        """Make a key that the API knows at once; return its id."""
        made = key_store.create(self.owner, self.home, kind, name=name, **options)
        self.keys[name] = made.key
        self.look()
        return made.id

    def look(self) -> None:
        """Let the API look at its keys at the next request."""
        callers = self.app.state.service.callers
        callers._looked_at = float("-inf")
        callers._known.clear()

    def get(self, path: str, key: str | None = None, **options: Any) -> requests.Response:
        return self.request("GET", path, key, **options)

    def request(
        self,
        method: str,
        path: str,
        key: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        authorization = {"Authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        return self.session.request(
            method, self.url + path, headers=authorization | (headers or {}), timeout=60, **options
        )


@contextmanager
def served(owner: psycopg.Connection, home: Path, **environment: str) -> Iterator[Api]:
    """Serve the API of a warehouse in which PEOPLE are, with further settings."""
    given = {
        "WAREHOUSE_HOME": str(home),
        "WAREHOUSE_API_DATABASE_URL": url_of(owner, "api"),
        **environment,
    }
    private_files.make_home_private(home)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        settings.cache_clear()
        config = server.config("127.0.0.1", 0)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        try:
            until(lambda: running.started or not thread.is_alive())
            port = running.servers[0].sockets[0].getsockname()[1]
            with requests.Session() as session:
                yield Api(port, home, owner, config.app, session=session)
        finally:
            running.should_exit = True
            thread.join()
    settings.cache_clear()


READERS = {"ann": "ann_analyst", "acme": "acme_app", "user": "acme_user", "rival": "rival_app"}


def with_keys_of_readers(api: Api) -> None:
    """Make a key for each of READERS, a marketing key, one that has expired and a revoked one."""
    for name, role in READERS.items():
        api.new_key(name, role=role, per_minute=MANY)
    api.new_key("site", KeyKind.MARKETING)
    expired = api.new_key("expired", role="acme_app", expires_in_days=1)
    api.owner.execute(
        "update warehouse.keys set expires_at = now() - interval '1 s' where key_id = %s",
        (expired,),
    )
    revoked = api.new_key("revoked", role="acme_app")
    key_store.revoke(api.owner, api.home, revoked)
    key_store.write_copy(api.owner, api.home)
    api.look()
