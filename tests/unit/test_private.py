"""What the warehouse writes is for its own user alone."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion import private
from tests.conftest import WAREHOUSE
from tests.processes import open_to_others


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def open_home(tmp_path: Path, no_umask: None) -> Path:
    """A home as an earlier version left it under an umask that takes nothing."""
    home = tmp_path / "home"
    (home / "a" / "b").mkdir(parents=True)
    (home / "a" / "b" / "file").touch()
    (home / "a" / "program").touch(mode=0o777)
    (tmp_path / "beside").touch()
    (home / "link").symlink_to(tmp_path / "beside")
    return home


def test_folders_are_made_private_whatever_the_umask_and_kept_where_they_are(
    tmp_path: Path, no_umask: None
) -> None:
    (tmp_path / "given").mkdir(mode=0o775)
    for _ in range(2):
        private.make_folder(tmp_path / "given" / "x" / "y")
    assert [mode(tmp_path / path) for path in ("given", "given/x", "given/x/y")] == [
        0o775, 0o700, 0o700
    ]  # fmt: skip


def test_what_was_open_is_made_private_and_what_links_lead_to_is_left_alone(
    open_home: Path,
) -> None:
    private.make_private(open_home)
    assert [mode(open_home / path) for path in ("", "a", "a/b", "a/b/file", "a/program")] == [
        0o700, 0o700, 0o700, 0o600, 0o700
    ]  # fmt: skip
    assert mode(open_home.parent / "beside") == 0o666
    private.make_private(open_home / "nothing")


def test_a_home_behind_a_link_is_made_private(open_home: Path) -> None:
    link = open_home.with_name("linked")
    link.symlink_to(open_home)
    private.make_home_private(link)
    assert open_to_others(open_home) == []
    assert open_home.stat().st_mode & 0o007 == 0


def test_what_another_user_owns_in_it_is_left_to_that_user(open_home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    os.chown(open_home / "a", 4711, -1)
    private.make_private(open_home)
    assert (mode(open_home), mode(open_home / "a")) == (0o700, 0o777)


def test_what_is_open_in_a_private_home_is_tightened_by_init_and_serve(open_home: Path) -> None:
    open_home.chmod(0o700)
    private.make_home_private(open_home)
    assert open_to_others(open_home)
    private.tighten_home(open_home)
    assert open_to_others(open_home) == []


@pytest.mark.parametrize("command", [["plan"], ["environment"]])
def test_any_command_makes_an_open_home_private(open_home: Path, command: list[str]) -> None:
    environment = os.environ | {
        "WAREHOUSE_HOME": str(open_home),
        "WAREHOUSE_DATABASE_URL": "postgresql://nobody@nowhere.invalid/nothing",
    }
    subprocess.run([*WAREHOUSE, *command], env=environment, capture_output=True, umask=0)
    assert open_to_others(open_home) == []
