"""The settings, read from the environment in this one place.

Every variable starts with ``WAREHOUSE_``. dbt, Dagster, Great Expectations and psycopg all take
their connection from here. A secret may also be read from a file that a variable names; no file of
the project holds secrets.
"""

from __future__ import annotations

from datetime import date
from enum import IntEnum, StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from warehouse import session
from warehouse.errors import WarehouseError

PROJECT_DIR = Path(__file__).resolve().parent.parent
# In days, about a hundred years: subtracting it from today is always a valid date.
LONGEST_RETENTION = 36_500


class SettingError(WarehouseError):
    """A setting is invalid; the message names it and says what it should be."""


class AlertFormat(StrEnum):
    """What a webhook takes."""

    SLACK = "slack"
    DISCORD = "discord"
    PLAIN = "plain"
    PAGERDUTY = "pagerduty"


class PostgresVersion(IntEnum):
    """The PostgreSQL versions that the embedded server includes."""

    NEWEST = 18
    OLDEST = 16


def _not_empty(given: object) -> object:
    """Refuse an empty path, which would mean the current folder."""
    if isinstance(given, str) and not given.strip():
        raise PydanticCustomError("empty_path", "It is empty: name a path, or unset it")
    return given


def _split(given: object) -> object:
    """Return the parts of a list that is separated by commas."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    return given


def _utf8(path: Path) -> Path:
    """Refuse a path that logs and the URL of the embedded server's socket can't contain."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("no_utf8", "It is not UTF-8 text") from None
    return path


GivenPath = Annotated[Path, BeforeValidator(_not_empty)]


# Lists are separated by commas.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """All settings; the defaults need no set-up."""

    model_config = SettingsConfigDict(env_prefix="WAREHOUSE_", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of a PostgreSQL server, 16 or newer; default: the embedded server.",
    )
    database_url_file: GivenPath | None = Field(
        default=None,
        description="File that holds this URL instead, for mounted secrets.",
    )
    builder_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of the same database for builds, with a login that is a member "
        "of warehouse_transformer and of no other role.",
    )
    builder_url_file: GivenPath | None = Field(
        default=None, description="File that holds this URL instead."
    )
    analyst_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of the same database for reading marts, with a login that is a "
        "member of warehouse_analyst and of no other role.",
    )
    analyst_url_file: GivenPath | None = Field(
        default=None, description="File that holds this URL instead."
    )
    api_database_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of the same database for the HTTP API, with a login that is a "
        "member of warehouse_api and of no other role.",
    )
    api_database_url_file: GivenPath | None = Field(
        default=None, description="File that holds this URL instead."
    )
    citus: bool = Field(
        default=False,
        description="Whether this database is the coordinator of a Citus cluster, over whose "
        "workers `warehouse init` then spreads events and marts.",
    )
    home: Annotated[GivenPath, AfterValidator(_utf8)] = Field(
        default=PROJECT_DIR / ".warehouse",
        description="Folder of all files that the warehouse writes.",
    )
    postgres_version: PostgresVersion = Field(
        default=PostgresVersion.NEWEST,
        description="Major version of the embedded server: 18 or 16.",
    )
    drop_folder: GivenPath | None = Field(
        default=None,
        description="Folder of new event and entity files for Dagster to load; default: home/drop.",
    )

    sources: GivenPath | None = Field(
        default=None,
        description="Folder of your own sources for `warehouse pull`, besides those of the project "
        "(sources/postgres).",
    )

    partitions_start: date | None = Field(
        default=None,
        description="Day in the first partition of each kind (day, week, month) in Dagster; "
        "default: that of the first event.",
    )
    schedules_run: bool = Field(
        default=False,
        description="Whether schedules and sensors run without being switched on in Dagster's UI.",
    )
    dagster_storage: Literal["sqlite", "postgres"] = Field(
        default="sqlite",
        description="Where Dagster stores its runs: files, or schema dagster of the warehouse.",
    )
    postgres_password_file: GivenPath | None = Field(
        default=None,
        description="File that holds the password of warehouse_reader, with which BI tools sign in "
        "to the port of `warehouse serve --postgres-port`; default: home/postgres_password, which "
        "is created when it is needed.",
    )
    export_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of the PostgreSQL that the marketing row is written to; default: "
        "the warehouse's own schema export.",
    )
    export_largest_factor: float = Field(
        default=3,
        gt=1,
        description="Largest factor by which a figure of the marketing row may grow between two "
        "exports; a person has to accept a larger change.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None,
        description="Webhook that failures, recoveries and a digest a day are posted to.",
    )
    alert_routing_key: SecretStr | None = Field(
        default=None,
        description="Routing key of PagerDuty's service.",
    )
    alert_format: AlertFormat = Field(
        default=AlertFormat.SLACK,
        description="What the webhook takes: slack (or compatible), discord, plain (JSON), or "
        "pagerduty (its Events API v2).",
    )
    dagster_url: str = Field(
        default="http://localhost:3000",
        description="URL of Dagster's UI: alerts link to it. Its web server accepts only this host "
        "name and those of this machine.",
    )
    dagster_password: SecretStr | None = Field(
        default=None,
        description="Password of Dagster's UI and of the docs.",
    )
    dagster_password_file: GivenPath | None = Field(
        default=None,
        description="File that holds this password instead, for mounted secrets.",
    )
    docs_url: str = Field(
        default="http://localhost:3001",
        description="URL of the docs of checks and models: Dagster links to it.",
    )
    api_url: str = Field(
        default="http://localhost:8001",
        description="URL at which people and programs reach the HTTP API; a path in it is the "
        "prefix that a proxy adds.",
    )
    api_timeout_seconds: float = Field(
        default=10, gt=0, le=300, description="How long the API's database may take for a page."
    )
    api_csv_timeout_seconds: float = Field(
        default=600, gt=0, le=3600, description="How long the API may stream all rows of a mart."
    )
    api_connections: int = Field(
        default=16,
        ge=2,
        le=50,
        description="Most connections of the API to the database; half of them may stream CSV.",
    )
    dashboard_collector_url: str | None = Field(
        default=None,
        pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$",
        description="URL of a collector that counts the use of the dashboard, with consent; "
        "default: nobody counts it.",
    )
    dashboard_key: str | None = Field(
        default=None,
        description="Browser key of that collector for the dashboard's address.",
    )
    marketing_origins: Names = Field(
        default=(),
        description="Origins of the marketing site, such as https://www.example.com, whose pages "
        "may read its row, separated by commas.",
    )
    marketing_networks: Networks = Field(
        default=(),
        description="Networks in CIDR form that may read the marketing row without a key, "
        "separated by commas.",
    )

    earliest_event: date | None = Field(
        default=None,
        ge=date(2000, 1, 1),
        description="Earliest day (UTC) of accepted events, 2000-01-01 or later; default: ten "
        "years before receipt.",
    )
    country_database: GivenPath | None = Field(
        default=None,
        description="MaxMind DB file that maps an IP address to its country; default: none.",
    )

    spool: GivenPath | None = Field(
        default=None,
        description="Folder in which the collector keeps events until they have landed; default: "
        "home/spool.",
    )
    spool_limit_bytes: int = Field(
        default=4 << 30,
        ge=1 << 16,
        description="Largest size of that folder in bytes. When it is full, the collector answers "
        "503 until events have landed.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Networks of the proxies before the collector and the API, such as 10.0.0.0/8, "
        "separated by commas: their forwarded headers are believed. Default: none, and the headers "
        "are ignored.",
    )
    tracker_path: str = Field(
        default="/tracker.js",
        pattern=r"^/[A-Za-z0-9._~/-]*$",
        description="Path under which the collector serves the tracker, beside /tracker.js.",
    )
    demo_site_key: str | None = Field(
        default=None,
        description="Browser key with which the collector serves a demo site under /demo/. "
        "`warehouse serve --dev` makes one.",
    )

    retention_days: int = Field(
        default=365,
        ge=1,
        le=LONGEST_RETENTION,
        description="Age in days from which raw events expire; they are dropped by month.",
    )

    def given(self, name: str) -> str | None:
        """Return a setting if it was set explicitly; None if it has its default."""
        return getattr(self, name) if name in self.model_fields_set else None

    @field_validator("alert_format")
    @classmethod
    def _has_its_key(cls, value: AlertFormat, info: ValidationInfo) -> AlertFormat:
        if value is AlertFormat.PAGERDUTY and info.data.get("alert_routing_key") is None:
            raise PydanticCustomError(
                "no_routing_key", "it needs the key of a service, WAREHOUSE_ALERT_ROUTING_KEY"
            )
        return value

    @property
    def server_url(self) -> SecretStr | None:
        """The database URL, set directly or read from its file. Raises SettingError."""
        return _secret(self.database_url, self.database_url_file, "DATABASE_URL_FILE")

    @property
    def builder_server_url(self) -> SecretStr | None:
        """The URL of builds, set directly or read from its file. Raises SettingError."""
        return _secret(self.builder_url, self.builder_url_file, "BUILDER_URL_FILE")

    @property
    def analyst_server_url(self) -> SecretStr | None:
        """The URL of reading marts, set directly or read from its file. Raises SettingError."""
        return _secret(self.analyst_url, self.analyst_url_file, "ANALYST_URL_FILE")

    @property
    def api_server_url(self) -> SecretStr | None:
        """The URL of the HTTP API, set directly or read from its file. Raises SettingError."""
        return _secret(self.api_database_url, self.api_database_url_file, "API_DATABASE_URL_FILE")

    @property
    def web_password(self) -> str | None:
        """The password of the web servers, if one is set. Raises SettingError if it is empty.

        An empty password would look like protection and let everybody in.
        """
        found = _secret(self.dagster_password, self.dagster_password_file, "DAGSTER_PASSWORD_FILE")
        if found is not None and not found.get_secret_value():
            raise SettingError("WAREHOUSE_DAGSTER_PASSWORD is empty: set a password, or unset it.")
        return found and found.get_secret_value()

    @property
    def reader_password_file(self) -> Path:
        """The file with the password of BI tools: the one that is set, or the default."""
        return self.postgres_password_file or self.home / "postgres_password"

    @property
    def drop(self) -> Path:
        """The drop folder: the one that is set, or the default."""
        return self.drop_folder or self.home / "drop"

    @property
    def spool_folder(self) -> Path:
        """The folder of the spool: the one that is set, or the default."""
        return self.spool or self.home / "spool"

    @property
    def cluster(self) -> Path:
        """Data directory of the embedded server."""
        return self.home / f"pg{self.postgres_version}"

    @property
    def docs(self) -> Path:
        """Folder of the docs sites below, served by the docs web server."""
        return self.home / "docs"

    @property
    def data_docs(self) -> Path:
        """Folder of the Great Expectations sites (docs of checks)."""
        return self.docs / "checks"

    @property
    def dbt_docs(self) -> Path:
        """Folder of dbt's site (docs of models and columns)."""
        return self.docs / "models"

    def docs_link(self, page: Path) -> str:
        """Return the public URL of a page of these sites."""
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
    """Return a secret that is set, or else the content of its file without surrounding space.

    Raises SettingError if the file can't be read.
    """
    if given is not None or file is None:
        return given
    try:
        return SecretStr(file.read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingError(f"WAREHOUSE_{name} can't be read: {reason}, {file}.") from None


@cache
def settings() -> Settings:
    """Return the settings of this process, read once. Raises SettingError.

    Also removes libpq's variables from the environment, because they would change connections.
    """
    session.remove_libpq_variables()
    try:
        return Settings()
    except ValidationError as invalid:
        # Without the values: they may be secrets.
        wrong = [
            f"WAREHOUSE_{str(error['loc'][0]).upper()} can't be used: {error['msg']}."
            for error in invalid.errors(include_input=False)
        ]
        raise SettingError(" ".join(wrong)) from None
