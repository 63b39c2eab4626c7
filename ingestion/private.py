"""Files for the warehouse's own user alone, whatever the umask was when they were made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Root does not run PostgreSQL: the embedded server then runs as this user, which is made for it.
SERVER_USER = "pgserver"


def make_folder(path: Path) -> None:
    """Make a folder and those missing above it, for this user alone; keep what is there."""
    if not path.exists():
        make_folder(path.absolute().parent)
        path.mkdir(mode=0o700, exist_ok=True)


def take_from_others(path: Path) -> None:
    """Take every permission that others have on a file or folder of ours."""
    status = path.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 and is_ours(status) and not stat.S_ISLNK(status.st_mode):
        path.chmod(mode & 0o700)


def make_private(folder: Path) -> None:
    """Take from others every permission on a folder, if it is there, and on all that it holds."""
    for path in _below(folder):
        # A server or run removes files meanwhile.
        with suppress(FileNotFoundError):
            take_from_others(path)


def make_home_private(home: Path) -> None:
    """Make the warehouse's home private, and what it holds where the home was open to others.

    Nobody else reaches what a private home holds. The embedded server's user, under root, may pass
    through to its own folder, and neither list nor change anything here.
    """
    if not home.exists() or not is_ours(status := home.stat()):
        return
    group = server_group()
    mode = 0o700 if group is None else 0o710
    if stat.S_IMODE(status.st_mode) & ~mode:
        make_private(home)
    if group is not None:
        os.chown(home, -1, group)
    home.chmod(mode)


def tighten_home(home: Path) -> None:
    """Make the home and all that it holds private, also where the home has been private before."""
    make_private(home)
    make_home_private(home)


def is_ours(status: os.stat_result) -> bool:
    """Return whether this user may change a file's permissions and times."""
    return os.geteuid() in {0, status.st_uid}


def _below(folder: Path) -> Iterator[Path]:
    """Give a folder, if it is there, and all that it holds but what is another user's."""
    if not folder.exists():
        return
    # The folder itself may be a link, to another disk, say; links in it are left alone.
    yield folder.resolve()
    for parent, folders, files in os.walk(folder):
        # Under root: what the embedded server makes is private, and its own.
        folders[:] = [name for name in folders if _is_own(Path(parent, name))]
        yield from (Path(parent, name) for name in (*folders, *files))


def _is_own(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return path.lstat().st_uid == os.geteuid()
    return False


def server_group() -> int | None:
    """Return the group of the embedded server's user where it is another one than ours."""
    import pwd

    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SERVER_USER).pw_gid
    return None
