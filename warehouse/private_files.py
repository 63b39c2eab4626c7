"""Files that only the warehouse's own user may access, whatever the umask at their creation."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from warehouse.errors import WarehouseError, printable

# PostgreSQL refuses to run as root: under root the embedded server runs as this user, which the
# server library creates.
SERVER_USER = "pgserver"
# An empty file that marks a folder as a home of the warehouse.
MARKER = ".warehouse-home"
# Names in a home without the marker: what earlier versions created there, and what a file system
# creates in its root.
_KNOWN_IN_HOME = re.compile(
    r"pg\d+(\.lock|\.unfinished)?|dagster|dbt|docs|drop|sample|locks|lost\+found|spool|sign-in"
    r"|keys\.json|keys\.lock|erasures\.json|postgres_password|demo\.log"
)
# O_NONBLOCK does not wait for a pipe's writer; O_NOFOLLOW refuses a link.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW


class HomeError(WarehouseError):
    """The folder that WAREHOUSE_HOME names is not a home of the warehouse."""


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents for this user only; keep existing folders."""
    if not path.exists():
        make_folder(path.absolute().parent)
        path.mkdir(mode=0o700, exist_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Write a private file as a whole: whoever reads it sees the old content or the new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def restrict_to_owner(path: Path | str, folder: int | None = None) -> None:
    """Remove every permission of other users from a file or folder of ours.

    ``path`` is relative to ``folder``, a file descriptor, if one is given. Links are never
    followed, not even one that replaces the file meanwhile. A file with several hard links is left
    alone: one of them may belong to somebody else.
    """
    if not _is_open_to_others(os.stat(path, dir_fd=folder, follow_symlinks=False)):
        return
    try:
        descriptor = os.open(path, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            # Replaced by a link or a socket meanwhile.
            return
        raise
    try:
        status = os.fstat(descriptor)
        if _is_open_to_others(status):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o700)
    finally:
        os.close(descriptor)


def _is_open_to_others(status: os.stat_result) -> bool:
    is_one_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    is_one = is_one_file or stat.S_ISDIR(status.st_mode)
    return is_one and is_ours(status) and bool(status.st_mode & 0o077)


def make_private(folder: Path) -> None:
    """Remove other users' permissions from a folder, if it exists, and from all its content."""
    if not folder.exists():
        return
    # The folder itself may be a link, for example to another disk. Links inside it are left alone.
    top = folder.resolve()
    restrict_to_owner(top)
    for _, folders, files, descriptor in os.fwalk(top):
        # Under root this skips the embedded server's files, which are private already.
        folders[:] = [name for name in folders if _is_own(name, descriptor)]
        for name in (*folders, *files):
            # A running server or run may remove files meanwhile.
            with suppress(FileNotFoundError):
                restrict_to_owner(name, descriptor)


def make_home_private(home: Path) -> None:
    """Make the warehouse's home private, and its content too if the home was open to others.

    Under root the embedded server's user may pass through the home to its own folder, but neither
    list nor change anything in it. Raises HomeError, with nothing changed, if the folder is not a
    home of the warehouse.
    """
    if not home.exists() or not is_ours(home.stat()):
        return
    _mark_home(home)
    group = server_group()
    mode = 0o700 if group is None else 0o710
    descriptor = os.open(home.resolve(), _READ | os.O_DIRECTORY)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & ~mode:
            make_private(home)
        if group is not None:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def tighten_home(home: Path) -> None:
    """Make the home and all its content private, even if the home is private already.

    Raises HomeError like ``make_home_private``.
    """
    make_home_private(home)
    if (home / MARKER).exists():
        make_private(home)
        make_home_private(home)


def _mark_home(home: Path) -> None:
    """Create the marker in a home. Raises HomeError if the folder is not a home.

    A home without the marker is new or from an earlier version: it holds only names that the
    warehouse creates.
    """
    if not home.is_dir():
        raise HomeError(f"WAREHOUSE_HOME is {printable(home)}, which is not a folder: name one.")
    names = os.listdir(home)
    if MARKER in names:
        return
    if others := sorted(name for name in names if not _KNOWN_IN_HOME.fullmatch(name)):
        raise HomeError(
            f"WAREHOUSE_HOME is {printable(home)}, which is not a home of the warehouse: it holds "
            f"{printable(others[0])}. Name an empty folder; or, if it is the warehouse's home, "
            f"put an empty file {MARKER} into it."
        )
    with suppress(FileExistsError):
        os.close(os.open(home / MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def is_ours(status: os.stat_result) -> bool:
    """Return whether this user may change a file's permissions and times."""
    return os.geteuid() in {0, status.st_uid}


def _is_own(name: str, folder: int) -> bool:
    with suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid == os.geteuid()
    return False


def server_group() -> int | None:
    """Return the group of the embedded server's user, None if the server runs as our user."""
    import pwd

    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SERVER_USER).pw_gid
    return None
