"""The site that dbt writes about models and columns, made readable for analysts.

dbt shows all that a model declares for the mechanism of builds as raw JSON. Here that is replaced
by what readers ask: who may read it. The overview gets its lists of marts and ready queries.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestration.operations.build import write_docs
from orchestration.operations.queries import Query, ready_queries

Node = dict[str, Any]

OVERVIEW = "doc.warehouse.__overview__"
MANIFEST_PLACE, CATALOG_PLACE = '"MANIFEST.JSON INLINE DATA"', '"CATALOG.JSON INLINE DATA"'
# What `meta: access` means, see macros/access.sql.
READERS = {
    "analysts": "analysts",
    "client": "analysts; a tenant its client's rows",
    "client_and_user": "analysts; a tenant its client's or its user's rows",
    "user": "analysts; a tenant its user's rows",
    "shared": "marts that tenants read",
}
BUILDS_ONLY = "builds only"
# What each folder of marts is about, in the order of the overview.
FAMILIES = {
    "clients": "**Clients**: leads, messages, answers, jobs and money of each client.",
    "platform": "**Platform**: clients, MRR, plans, revenue and costs of the company.",
    "ai_usage": "**AI usage**: chats by user, document and day; what they cost, limits, ratings.",
    "traffic": "**Traffic**: visits to sites, where they come from, and which convert.",
    "operations": "**Operations**: API and servers, alerts, lost events, what the warehouse did.",
    "dimensions": "**Dimensions**: names, plans and limits, to join with figures.",
    "trust": "**Trust**: how fresh and checked each mart is; closed figures that changed.",
}


def write_site() -> Path:
    """Write the site as one page; return its path. Raises BuildError."""
    page = write_docs()
    folder = page.parent
    manifest = json.loads((folder / "manifest.json").read_bytes())
    make_readable(manifest, ready_queries())
    html = (folder / "index.html").read_text("utf-8")
    html = html.replace(MANIFEST_PLACE, _inline(manifest))
    html = html.replace(CATALOG_PLACE, _inline(json.loads((folder / "catalog.json").read_bytes())))
    page.write_text(html, "utf-8")
    return page


def make_readable(manifest: dict[str, Any], queries: dict[str, Query]) -> None:
    """Change dbt's manifest to what its site shall show."""
    nodes = [*manifest["nodes"].values(), *manifest.get("functions", {}).values()]
    for node in nodes:
        if node["resource_type"] == "analysis":
            node["description"] = _about_query(queries[node["name"]])
            shown = {}
        else:
            access = (node["config"].get("meta") or {}).get("access")
            has_readers = node["resource_type"] in {"model", "seed", "function"}
            shown = {"readers": READERS.get(access, BUILDS_ONLY)} if has_readers else {}
        node["meta"] = node["config"]["meta"] = shown
    overview = manifest["docs"][OVERVIEW]
    text = overview["block_contents"]
    text = text.replace("FAMILIES", _families(nodes)).replace("QUERIES", _queries(nodes))
    overview["block_contents"] = text


def _families(nodes: list[Node]) -> str:
    models = [node for node in nodes if node["resource_type"] == "model"]
    marts = [model for model in models if model["fqn"][1] == "marts"]
    return "\n".join(
        f"{about}\n\n{_list(node for node in marts if node['fqn'][2] == folder)}\n"
        for folder, about in FAMILIES.items()
    )


def _queries(nodes: list[Node]) -> str:
    return _list(node for node in nodes if node["resource_type"] == "analysis")


def _list(nodes: Any) -> str:
    """Return a list of links, each with the first sentence of its description."""
    return "\n".join(
        f"- [{node['name']}](#!/{node['resource_type']}/{node['unique_id']}): "
        f"{_first_sentence(node['description'])}"
        for node in sorted(nodes, key=lambda node: node["name"])
    )


def _first_sentence(text: str) -> str:
    sentence, stop, _ = " ".join(text.split()).partition(". ")
    return sentence + "." if stop else sentence


def _about_query(query: Query) -> str:
    """Return what a query shows, the command that runs it, and its parameters."""
    lines = [query.description, f"Run it: `warehouse query {query.name}`."]
    for number, parameter in enumerate(query.parameters, start=1):
        default = "" if parameter.default is None else f", by default {parameter.default}"
        lines.append(
            f"`--param {parameter.name}=…` ({parameter.type}{default}), in the SQL `${number}`: "
            f"{parameter.description}"
        )
    return "\n\n".join(lines)


def _inline(value: object) -> str:
    """Return JSON that may be part of a script on a page."""
    return json.dumps(value).replace("</", "<\\/")
