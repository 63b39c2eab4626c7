"""The one place that turns the environment into settings.

Every variable starts with ``WAREHOUSE_``; dbt, Dagster, Great Expectations and psycopg all take
their connection from here. The environment alone is read, or a file that it names: no file of the
project holds secrets.
"""

from __future__ import annotations

from datetime import date
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse import session
from warehouse.errors import WarehouseError

PROJECT_DIR = Path(__file__).resolve().parent.parent
# A hundred years: a longer period would end before the calendar begins.
LONGEST_RETENTION = 36_500


class SettingError(WarehouseError):
    """A setting holds what it can't; the message says which and what it should be."""


class PostgresVersion(IntEnum):
    """The versions that come with the embedded server."""

    NEWEST = 18
    OLDEST = 16


def _not_empty(given: object) -> object:
    """Refuse the empty text, which as a path is the current folder."""
    if isinstance(given, str) and not given.strip():
        raise PydanticCustomError("empty_path", "It is empty: name a path, or leave it out")
    return given


def _utf8(path: Path) -> Path:
    """Refuse a path that neither logs nor URLs, of the embedded server's socket, say, can hold."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("no_utf8", "It is no UTF-8 text") from None
    return path


GivenPath = Annotated[Path, BeforeValidator(_not_empty)]


class Settings(BaseSettings):
    """What a person may set, each with the default that needs no set-up."""

    model_config = SettingsConfigDict(env_prefix="WAREHOUSE_", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of a PostgreSQL server, 16 or newer; without it the embedded one.",
    )
    database_url_file: GivenPath | None = Field(
        default=None,
        description="File that holds that URL instead, as secrets are mounted.",
    )
    builder_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of the same database for builds: a login that is a member of "
        "warehouse_transformer and of nothing else.",
    )
    builder_url_file: GivenPath | None = Field(
        default=None, description="File that holds that URL instead."
    )
    home: Annotated[GivenPath, AfterValidator(_utf8)] = Field(
        default=PROJECT_DIR / ".warehouse",
        description="Folder of all that the warehouse writes outside the database.",
    )
    postgres_version: PostgresVersion = Field(
        default=PostgresVersion.NEWEST,
        description="Major version of the embedded server: 18 or 16.",
    )
    drop_folder: GivenPath | None = Field(
        default=None,
        description="Where new event files are dropped for Dagster to load; default home/drop.",
    )

    partitions_start: date = Field(
        default=date(2025, 1, 1),
        description="Day of the first partition in Dagster; weeks and months start with its own.",
    )
    schedules_run: bool = Field(
        default=False,
        description="Whether schedules and sensors run without being switched on in Dagster's UI.",
    )
    dagster_storage: Literal["sqlite", "postgres"] = Field(
        default="sqlite",
        description="Where Dagster keeps its runs: files, or schema dagster of the warehouse.",
    )
    export_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of the PostgreSQL that the marketing row is written to; without it "
        "the warehouse's own schema export.",
    )
    export_largest_factor: float = Field(
        default=3,
        gt=1,
        description="By what factor a figure of the marketing row may grow from one export to the "
        "next; beyond it somebody has to accept it.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None,
        description="Where failures and recoveries are posted to, as Slack takes them.",
    )
    dagster_url: str = Field(
        default="http://localhost:3000",
        description="Where people reach Dagster's UI: what alerts link to. Its web server answers "
        "to that name, beside those of this machine alone.",
    )
    dagster_password: SecretStr | None = Field(
        default=None,
        description="Password that browsers ask for before they show Dagster's UI or the docs.",
    )
    dagster_password_file: GivenPath | None = Field(
        default=None,
        description="File that holds that password instead, as secrets are mounted.",
    )
    docs_url: str = Field(
        default="http://localhost:3001",
        description="Where people reach the docs of checks and models: what Dagster links to.",
    )

    earliest_event: date | None = Field(
        default=None,
        ge=date(2000, 1, 1),
        description="Earliest day (UTC) of which events are taken, 2000-01-01 or later; default "
        "ten years before receipt.",
    )
    country_database: GivenPath | None = Field(
        default=None,
        description="MaxMind DB file that tells an IP's country; without it countries are unknown.",
    )

    retention_days: int = Field(
        default=365,
        ge=1,
        le=LONGEST_RETENTION,
        description="How many days raw events are kept; `warehouse expire` deletes whole months.",
    )

    def given(self, name: str) -> str | None:
        """Return a setting if somebody has set it, and not what it is by default."""
        return getattr(self, name) if name in self.model_fields_set else None

    @property
    def server_url(self) -> SecretStr | None:
        """The URL in force, wherever it comes from. Raises SettingError for a file that is none."""
        return _secret(self.database_url, self.database_url_file, "DATABASE_URL_FILE")

    @property
    def builder_server_url(self) -> SecretStr | None:
        """The URL of builds in force. Raises SettingError for a file that is none."""
        return _secret(self.builder_url, self.builder_url_file, "BUILDER_URL_FILE")

    @property
    def web_password(self) -> str | None:
        """The password of the web servers, if there is one. Raises SettingError where it is empty.

        An empty one would look like protection and let everybody in.
        """
        found = _secret(self.dagster_password, self.dagster_password_file, "DAGSTER_PASSWORD_FILE")
        if found is not None and not found.get_secret_value():
            raise SettingError("WAREHOUSE_DAGSTER_PASSWORD is empty: set one, or leave it out.")
        return found and found.get_secret_value()

    @property
    def drop(self) -> Path:
        """The drop folder in force."""
        return self.drop_folder or self.home / "drop"

    @property
    def cluster(self) -> Path:
        """Data directory of the embedded server."""
        return self.home / f"pg{self.postgres_version}"

    @property
    def docs(self) -> Path:
        """Folder of the sites below, which the web server of docs shows."""
        return self.home / "docs"

    @property
    def data_docs(self) -> Path:
        """Folder of the Great Expectations sites."""
        return self.docs / "checks"

    @property
    def dbt_docs(self) -> Path:
        """Folder of dbt's site of models and columns."""
        return self.docs / "models"

    def docs_link(self, page: Path) -> str:
        """Return where people reach a page of these sites."""
        return f"{self.docs_url.rstrip('/')}/{page.relative_to(self.docs).as_posix()}"

    @property
    def dbt_target(self) -> Path:
        """Folder of dbt's artifacts."""
        return self.home / "dbt"

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's instance."""
        return self.home / "dagster"


def _secret(given: SecretStr | None, file: Path | None, name: str) -> SecretStr | None:
    """Return a secret that is given, or what a file holds, less space around it.

    Raises SettingError for a file that can't be read.
    """
    if given is not None or file is None:
        return given
    try:
        return SecretStr(file.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SettingError(f"WAREHOUSE_{name} can't be read: {reason}, {file}.") from None


@cache
def settings() -> Settings:
    """Return the settings of this process, read once. Raises SettingError.

    From then on libpq's variables, which would add to them unseen, are out of the environment.
    """
    session.forget_libpq_variables()
    try:
        return Settings()
    except ValidationError as invalid:
        # Without the values, which may be secrets.
        wrong = [
            f"WAREHOUSE_{str(error['loc'][0]).upper()} can't be used: {error['msg']}."
            for error in invalid.errors(include_input=False)
        ]
        raise SettingError(" ".join(wrong)) from None
