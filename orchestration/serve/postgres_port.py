"""The port by which BI tools reach the embedded PostgreSQL, and the password of their login."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from psycopg import sql

from warehouse import database, embedded, private_files
from warehouse.embedded import READER_LOGIN
from warehouse.settings import SettingError, settings


def open_port(port: int) -> str:
    """Open the port and set the login's password; return a line that says how to connect.

    Raises EmbeddedServerError, SettingError or DatabaseError.
    """
    file = settings().reader_password_file
    password = _password(file)
    embedded.open_port(port)
    with database.connect(autocommit=True, application_name="warehouse serve") as connection:
        # Hashed here, so that no log of the server can hold the password.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), READER_LOGIN.encode(), b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("alter role {} password {}").format(
                sql.Identifier(READER_LOGIN), sql.Literal(verifier.decode())
            )
        )
    return (
        f"BI tools: PostgreSQL on {embedded.LOOPBACK}:{port}, database {embedded.DATABASE}, user "
        f"{READER_LOGIN}, password in {file}"
    )


def _password(file: Path) -> str:
    """Return the password in a file; create the default file if it is missing."""
    if settings().postgres_password_file is None and not file.exists():
        private_files.make_folder(file.parent)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(24) + "\n")
    try:
        password = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingError(
            f"WAREHOUSE_POSTGRES_PASSWORD_FILE can't be read: {reason}, {file}."
        ) from None
    if not password:
        raise SettingError(f"{file} is empty: write a password into it, or remove it.")
    return password
