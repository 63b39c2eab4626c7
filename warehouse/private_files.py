"""Files for the warehouse's own user alone, whatever the umask was when they were made."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from warehouse.errors import WarehouseError, printable

# Root does not run PostgreSQL: the embedded server then runs as this user, which is made for it.
SERVER_USER = "pgserver"
# An empty file that tells a home of the warehouse from a folder of something else.
MARKER = ".warehouse-home"
# What earlier versions, too, made in a home, and file systems make in their root.
_OF_A_HOME = re.compile(
    r"pg\d+(\.lock|\.unfinished)?|dagster|dbt|docs|drop|sample|locks|lost\+found"
)
# Neither waits for a pipe's writer nor follows a link.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW


class HomeError(WarehouseError):
    """The folder that is named as the warehouse's home is one of something else."""


def make_folder(path: Path) -> None:
    """Make a folder and those missing above it, for this user alone; keep what is there."""
    if not path.exists():
        make_folder(path.absolute().parent)
        path.mkdir(mode=0o700, exist_ok=True)


def take_from_others(path: Path | str, folder: int | None = None) -> None:
    """Take every permission that others have on a file or folder of ours.

    With ``folder``, an open one, the path is below that. Links are not followed, whoever puts one
    there meanwhile, and a file of several names is left alone: one of them may be somebody else's.
    """
    if not _is_to_take(os.stat(path, dir_fd=folder, follow_symlinks=False)):
        return
    try:
        descriptor = os.open(path, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            # A link or a socket is there by now.
            return
        raise
    try:
        status = os.fstat(descriptor)
        if _is_to_take(status):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & 0o700)
    finally:
        os.close(descriptor)


def _is_to_take(status: os.stat_result) -> bool:
    is_one_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    is_one = is_one_file or stat.S_ISDIR(status.st_mode)
    return is_one and is_ours(status) and bool(status.st_mode & 0o077)


def make_private(folder: Path) -> None:
    """Take from others every permission on a folder, if it is there, and on all that it holds."""
    if not folder.exists():
        return
    # The folder itself may be a link, to another disk, say; links in it are left alone.
    top = folder.resolve()
    take_from_others(top)
    for _, folders, files, descriptor in os.fwalk(top):
        # Under root: what the embedded server makes is private, and its own.
        folders[:] = [name for name in folders if _is_own(name, descriptor)]
        for name in (*folders, *files):
            # A server or run removes files meanwhile.
            with suppress(FileNotFoundError):
                take_from_others(name, descriptor)


def make_home_private(home: Path) -> None:
    """Make the warehouse's home private, and what it holds where the home was open to others.

    Nobody else reaches what a private home holds. The embedded server's user, under root, may pass
    through to its own folder, and neither list nor change anything here. Raises HomeError for a
    folder of something else, and changes nothing there.
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
    """Make the home and all that it holds private, also where the home has been private before.

    Raises HomeError as ``make_home_private`` does.
    """
    make_home_private(home)
    if (home / MARKER).exists():
        make_private(home)
        make_home_private(home)


def _mark_home(home: Path) -> None:
    """Leave in a home what tells that it is one. Raises HomeError for a folder of something else.

    A home without the mark is of an earlier version, or new: it holds nothing but what we make.
    """
    if not home.is_dir():
        raise HomeError(f"WAREHOUSE_HOME is {printable(home)}, which is no folder.")
    names = os.listdir(home)
    if MARKER in names:
        return
    if others := sorted(name for name in names if not _OF_A_HOME.fullmatch(name)):
        raise HomeError(
            f"WAREHOUSE_HOME is {printable(home)}, a folder of something else: it holds "
            f"{printable(others[0])}. Name a folder of its own; or, if it is the warehouse's home, "
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
    """Return the group of the embedded server's user where it is another one than ours."""
    import pwd

    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SERVER_USER).pw_gid
    return None
