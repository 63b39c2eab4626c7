"""The country of a visitor, if a country database is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from warehouse.errors import WarehouseError

# ISO 3166-1 alpha-2.
CODE_LENGTH = 2


class CountryDatabaseError(WarehouseError):
    """The country database cannot be read."""


@cache
def country_lookup(database: Path | None) -> Callable[[str], str | None] | None:
    """Return a function from IP address to country code; None without a database.

    The database is a MaxMind DB file with `country.iso_code`, as MaxMind and DB-IP publish them.
    Raises CountryDatabaseError.
    """
    if database is None:
        return None
    import maxminddb

    try:
        reader = maxminddb.open_database(database)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        raise CountryDatabaseError(
            f"WAREHOUSE_COUNTRY_DATABASE: {database} cannot be read ({error}). Set it to a MaxMind "
            "DB file of countries, or unset it."
        ) from error

    def country_of(ip: str) -> str | None:
        try:
            record = reader.get(ip)
        except ValueError:
            # Producers may send anything as an address.
            return None
        country = record.get("country") if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else None
        return code if isinstance(code, str) and len(code) == CODE_LENGTH else None

    return country_of
