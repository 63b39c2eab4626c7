"""The web servers of `warehouse serve`: Dagster's UI and the docs, both behind the guard.

Each is a separate process: ``python -m orchestration.serve.web dagster HOST PORT WORKSPACE`` and
``python -m orchestration.serve.web docs HOST PORT``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestration.serve.guard import Guard, rules
from warehouse.settings import settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse

# The defaults of `dagster-webserver`: 15 seconds for a query, an hour for a connection.
STATEMENT_MILLISECONDS, RECYCLE_SECONDS, MOST_CONNECTIONS = 15_000, 3_600, 20
# How long open websockets, one for each open page, may delay the end of the server.
STOP_SECONDS = 3
DOCS_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Docs of the warehouse</title>
<ul>
<li><a href="checks/index.html">Checks: the latest run of each suite</a></li>
<li><a href="models/static_index.html">Models: marts by family, columns, ready queries</a></li>
</ul>
</html>
"""


def serve_dagster(host: str, port: int, workspace: str) -> None:
    """Serve Dagster's UI until SIGTERM, as `dagster-webserver` does but behind the guard."""
    import dagster as dg
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._utils.log import configure_loggers
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    configure_loggers(log_level="WARNING")
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_MILLISECONDS, RECYCLE_SECONDS, MOST_CONNECTIONS)
        target = WorkspaceFileTarget([workspace])
        with WorkspaceProcessContext(instance, target, __version__) as context:
            app = create_app_from_workspace_process_context(context)
            _serve(app, host, port, settings().given("dagster_url"))


def docs_app() -> Starlette:
    """Return an application that serves the docs folder without directory listings."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    def index(_: Request) -> HTMLResponse:
        return HTMLResponse(DOCS_PAGE)

    files = StaticFiles(directory=settings().docs, html=True, check_dir=False)
    return Starlette(routes=[Route("/", index), Mount("/", files)])


def _serve(app: Starlette, host: str, port: int, url: str | None) -> None:
    import uvicorn

    guarded = Guard(app, rules(host, url, settings().web_password))
    uvicorn.run(
        guarded,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def main(which: str, host: str, port: str, *workspace: str) -> None:
    """Run one of the servers."""
    if which == "dagster":
        serve_dagster(host, int(port), *workspace)
    else:
        _serve(docs_app(), host, int(port), settings().given("docs_url"))


if __name__ == "__main__":
    main(*sys.argv[1:])
