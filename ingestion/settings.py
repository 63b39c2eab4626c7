"""The one place that turns the environment into settings.

Every variable starts with ``WAREHOUSE_``; dbt, Dagster, Great Expectations and psycopg all take
their connection from here. The environment alone is read: no file of the project holds secrets.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_DIR = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What a person may set, each with the default that needs no set-up."""

    model_config = SettingsConfigDict(env_prefix="WAREHOUSE_", frozen=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="libpq URL of a PostgreSQL server, 16 or newer; without it the embedded one.",
    )
    home: Path = Field(
        default=PROJECT_DIR / ".warehouse",
        description="Folder of all that the warehouse writes outside the database.",
    )
    postgres_version: int = Field(
        default=18, description="Major version of the embedded server: 18 or 16."
    )
    drop_folder: Path | None = Field(
        default=None,
        description="Where new event files are dropped for Dagster to load; default home/drop.",
    )

    country_database: Path | None = Field(
        default=None,
        description="MaxMind DB file that tells an IP's country; without it countries are unknown.",
    )

    @property
    def drop(self) -> Path:
        """The drop folder in force."""
        return self.drop_folder or self.home / "drop"

    @property
    def cluster(self) -> Path:
        """Data directory of the embedded server."""
        return self.home / f"pg{self.postgres_version}"

    @property
    def data_docs(self) -> Path:
        """Folder of the Great Expectations site."""
        return self.home / "data_docs"

    @property
    def dbt_target(self) -> Path:
        """Folder of dbt's artifacts."""
        return self.home / "dbt"

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's instance."""
        return self.home / "dagster"


@cache
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings()
