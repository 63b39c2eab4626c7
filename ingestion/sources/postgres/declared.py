"""The declared sources: a folder each, with ``source.yml`` and one ``.sql`` file per stream."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from ingestion.sources.files import SourceError
from warehouse import database
from warehouse.errors import printable
from warehouse.settings import PROJECT_DIR, settings

SHIPPED = PROJECT_DIR / "sources" / "postgres"
DECLARATION = "source.yml"
# Names are part of the ledger's source (`crm/leads`), of identities, and of names in Dagster.
_is_name = re.compile(r"[a-z][a-z0-9_]*").fullmatch

Seconds = Annotated[int, msgspec.Meta(ge=1, le=7 * 24 * 60 * 60)]


class _Declaration(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The members of ``source.yml``."""

    url_variable: Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    search_path: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_]+(, *[A-Za-z0-9_]+)*$")] = (
        "public"
    )
    statement_timeout_seconds: Seconds = 3_600
    lock_timeout_seconds: Seconds = 5
    # Also covers clocks of applications that lag behind the source's.
    overlap_seconds: Annotated[int, msgspec.Meta(ge=300, le=7 * 24 * 60 * 60)] = 300
    # How old a transaction may be that the login may not see.
    unseen_transaction_seconds: Seconds = 3_600


@dataclass(frozen=True, slots=True)
class DeclaredSource:
    """A source as its folder declares it; ``streams`` are the SQL files by the stream's name."""

    name: str
    folder: Path
    url_variable: str
    search_path: str
    statement_timeout: timedelta
    lock_timeout: timedelta
    overlap: timedelta
    unseen_transaction: timedelta
    streams: dict[str, Path]

    def configured_url(self) -> str | None:
        """Return the URL that the environment has for this source, None if it has none.

        Raises SourceError if it is no URL or its file can't be read.
        """
        given = os.environ.get(self.url_variable)
        file = os.environ.get(f"{self.url_variable}_FILE")
        try:
            if not given and file:
                given = Path(file).read_text("utf-8").strip()
            return database.checked_url(given, self.url_variable) if given else None
        except (OSError, UnicodeDecodeError):
            raise SourceError(
                f"{self.url_variable}_FILE names a file that can't be read as text."
            ) from None
        except database.DatabaseError as error:
            raise SourceError(str(error)) from None

    def url(self) -> str:
        """Return the URL of the source. Raises SourceError if the environment has none."""
        if found := self.configured_url():
            return found
        raise SourceError(
            f"The source {self.name} has no database: set {self.url_variable} to its libpq URL "
            "(postgresql://USER:PASSWORD@HOST/DATABASE), with a login that may only read."
        )


def declared_sources() -> dict[str, Path]:
    """Return the folders of all declared sources by name, the operator's own before shipped ones.

    Raises SourceError if WAREHOUSE_SOURCES names no folder.
    """
    own = settings().sources
    if own is not None and not own.is_dir():
        raise SourceError(f"WAREHOUSE_SOURCES is not a folder: {printable(own)}.")
    return {
        path.parent.name: path.parent
        for folder in (SHIPPED, own)
        if folder is not None
        for path in sorted(folder.glob(f"*/{DECLARATION}"))
        if _is_name(path.parent.name)
    }


def find_source(name: str) -> DeclaredSource:
    """Return a declared source. Raises SourceError if there is none, or its folder is wrong."""
    folders = declared_sources()
    if name not in folders:
        own = settings().sources or SHIPPED
        raise SourceError(
            f"There is no source {name!r}: the sources are {', '.join(sorted(folders)) or 'none'}. "
            f"A source is a folder in {printable(own)} with a {DECLARATION}."
        )
    folder = folders[name]
    file = folder / DECLARATION
    try:
        given = msgspec.yaml.decode(file.read_bytes(), type=_Declaration)
    except OSError as error:
        raise SourceError(f"{printable(file)} can't be read: {error.strerror}.") from None
    except msgspec.DecodeError as error:
        raise SourceError(f"{printable(file)} is wrong: {error}.") from None
    streams = {path.stem: path for path in sorted(folder.glob("*.sql"))}
    if not streams:
        raise SourceError(f"{printable(folder)} has no stream: add an SQL file with a select.")
    for stream in streams:
        if not _is_name(stream):
            raise SourceError(
                f"{printable(streams[stream])} names no stream: use lower-case letters, digits and "
                "underscores."
            )
    return DeclaredSource(
        name,
        folder,
        given.url_variable,
        given.search_path,
        timedelta(seconds=given.statement_timeout_seconds),
        timedelta(seconds=given.lock_timeout_seconds),
        timedelta(seconds=given.overlap_seconds),
        timedelta(seconds=given.unseen_transaction_seconds),
        streams,
    )


def configured_sources() -> tuple[list[DeclaredSource], list[str]]:
    """Return the sources that the environment has a database for, and why others can't be used."""
    found, errors = [], []
    try:
        names = sorted(declared_sources())
    except SourceError as error:
        return [], [str(error)]
    for name in names:
        try:
            source = find_source(name)
            if source.configured_url():
                found.append(source)
        except SourceError as error:
            errors.append(str(error))
    return found, errors
