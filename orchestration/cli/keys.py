"""`warehouse keys`: keys of the HTTP servers, with which programs send events or read marts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from orchestration.cli.options import Json
from orchestration.cli.output import Table, emit
from warehouse.key_kinds import KeyKind

keys = typer.Typer(no_args_is_help=True, help="Make and revoke keys of the HTTP servers.")


@keys.command("create")
def keys_create(
    kind: Annotated[
        KeyKind,
        typer.Option(
            help="Who gets it: pages (browser), a client's backend (server), your own backends "
            "(platform), readers of marts (read), the marketing site (marketing)."
        ),
    ],
    client: Annotated[
        str | None, typer.Option(metavar="ID", help="The client of a browser or server key.")
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="A site whose pages may use the key, such as https://www.example.com; repeatable.",
        ),
    ] = None,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="The database role that a read key reads as.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the key is called in `warehouse keys list`.")
    ] = None,
    expires_in: Annotated[
        int | None, typer.Option(metavar="DAYS", help="After how many days it expires.")
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Its quota: events a minute or, of a key that reads, requests a minute.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this one time.

    It works within ten seconds. Only its hash is stored: a key that is lost can't
    be shown again, so make another one.
    """
    from warehouse import database
    from warehouse.key_store import create
    from warehouse.settings import settings

    with database.connect() as connection:
        made = create(
            connection,
            settings().home,
            kind,
            client=client,
            role=role,
            origins=origin,
            name=name,
            expires_in_days=expires_in,
            per_minute=per_minute,
        )
    emit(
        asdict(made),
        made.key,
        json=json,
        notes=[f"It is not shown again. To revoke it: `warehouse keys revoke {made.id}`."],
    )


@keys.command("list")
def keys_list(json: Json = False) -> None:
    """List all keys, revoked ones included; the keys themselves are not stored."""
    from warehouse import database
    from warehouse.key_store import listed

    with database.connect() as connection:
        found = listed(connection)
    emit(
        {"keys": found},
        Table(
            ("id", "kind", "name", "for", "a minute", "created", "expires", "revoked"),
            [
                (
                    key.id,
                    key.kind,
                    key.name,
                    " ".join(filter(None, (key.client, key.role, *key.origins))) or None,
                    key.per_minute,
                    key.created_at,
                    key.expires_at,
                    key.revoked_at,
                )
                for key in found
            ],
            if_empty="There are no keys. Make one: `warehouse keys create`.",
        ),
        json=json,
    )


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As in `warehouse keys list`.")],
    json: Json = False,
) -> None:
    """Revoke a key; servers refuse it within ten seconds."""
    from warehouse import database
    from warehouse.key_store import revoke
    from warehouse.settings import settings

    with database.connect() as connection:
        revoke(connection, settings().home, key_id)
    emit({"id": key_id, "revoked": True}, f"Revoked {key_id}.", json=json)
