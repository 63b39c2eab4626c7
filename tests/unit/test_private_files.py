"""What the warehouse writes is for its own user alone."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WAREHOUSE
from tests.support.processes import open_to_others
from warehouse import private_files
from warehouse.settings import SettingError, Settings, settings


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def is_path(name: str) -> bool:
    return "Path" in str(Settings.model_fields[name].annotation)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def open_home(tmp_path: Path, no_umask: None) -> Path:
    """A home as an earlier version left it under an umask that takes nothing."""
    home = tmp_path / "home"
    (home / "dbt" / "b").mkdir(parents=True)
    (home / "dbt" / "b" / "file").touch()
    (home / "dbt" / "program").touch(mode=0o777)
    (tmp_path / "beside").touch()
    (home / "docs").symlink_to(tmp_path / "beside")
    return home


def test_folders_are_made_private_whatever_the_umask_and_kept_where_they_are(
    tmp_path: Path, no_umask: None
) -> None:
    (tmp_path / "given").mkdir(mode=0o775)
    for _ in range(2):
        private_files.make_folder(tmp_path / "given" / "x" / "y")
    assert [mode(tmp_path / path) for path in ("given", "given/x", "given/x/y")] == [
        0o775, 0o700, 0o700
    ]  # fmt: skip


def test_what_was_open_is_made_private_and_what_links_lead_to_is_left_alone(
    open_home: Path,
) -> None:
    private_files.make_private(open_home)
    made = ("", "dbt", "dbt/b", "dbt/b/file", "dbt/program")
    assert [mode(open_home / path) for path in made] == [
        0o700, 0o700, 0o700, 0o600, 0o700
    ]  # fmt: skip
    assert mode(open_home.parent / "beside") == 0o666
    private_files.make_private(open_home / "nothing")


def test_a_home_behind_a_link_is_made_private(open_home: Path) -> None:
    link = open_home.with_name("linked")
    link.symlink_to(open_home)
    private_files.make_home_private(link)
    assert open_to_others(open_home) == []
    assert open_home.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("file", [".git", "README.md", "pg18.sql"])
@pytest.mark.parametrize("tighten", [private_files.make_home_private, private_files.tighten_home])
def test_a_folder_of_something_else_is_refused_as_home_and_stays_as_it_is(
    open_home: Path, tighten: Callable[[Path], None], file: str
) -> None:
    (open_home / file).touch()
    before = {path: mode(path) for path in (open_home, *open_home.rglob("*"))}
    with pytest.raises(private_files.HomeError, match=f"it holds {file}"):
        tighten(open_home)
    assert {path: mode(path) for path in (open_home, *open_home.rglob("*"))} == before
    # Unless somebody says that it is one, as a home does that has been used.
    (open_home / private_files.MARKER).touch()
    tighten(open_home)
    assert open_to_others(open_home) == []


def test_a_home_may_begin_with_what_is_kept_of_another_one(open_home: Path) -> None:
    (open_home / "erasures.json").touch()
    for folder in ("spool", "drop"):
        (open_home / folder).mkdir()
    private_files.make_home_private(open_home)
    assert open_to_others(open_home) == []


def test_a_home_that_has_been_used_may_hold_other_files(open_home: Path) -> None:
    private_files.make_home_private(open_home)
    (open_home / "backup.sql").touch()
    private_files.tighten_home(open_home)
    assert open_to_others(open_home) == []


@pytest.mark.parametrize(
    "name", [f"WAREHOUSE_{name.upper()}" for name in Settings.model_fields if is_path(name)]
)
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, empty: str) -> None:
    monkeypatch.setenv(name, empty)
    with pytest.raises(SettingError, match=f"{name} can't be used: It is empty"):
        settings.__wrapped__()


@pytest.mark.parametrize(
    ("name", "given"),
    [("WAREHOUSE_HOME", "/tmp/\udce9"), ("WAREHOUSE_RETENTION_DAYS", "36501")],  # noqa: S108
)
def test_what_nothing_could_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str
) -> None:
    monkeypatch.setenv(name, given)
    with pytest.raises(SettingError, match=name):
        settings.__wrapped__()


def test_links_and_files_of_several_names_are_left_alone(tmp_path: Path, no_umask: None) -> None:
    others, folder = tmp_path / "others", tmp_path / "folder"
    others.touch()
    folder.mkdir()
    os.link(others, folder / "hard")
    (folder / "soft").symlink_to(others)
    os.mkfifo(folder / "pipe")
    private_files.make_private(folder)
    for name in ("hard", "soft", "pipe"):
        private_files.restrict_to_owner(folder / name)
    assert mode(others) == 0o666


def test_a_link_put_in_the_place_of_a_file_meanwhile_is_not_followed(
    tmp_path: Path, no_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, path = tmp_path / "others", tmp_path / "file"
    others.touch()
    path.touch()
    real = os.open

    def swap(*arguments: Any, **options: Any) -> int:
        path.unlink()
        path.symlink_to(others)
        return real(*arguments, **options)

    monkeypatch.setattr(private_files.os, "open", swap)
    private_files.restrict_to_owner(path)
    assert mode(others) == 0o666


def test_what_another_user_owns_in_it_is_left_to_that_user(open_home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    os.chown(open_home / "dbt", 4711, -1)
    private_files.make_private(open_home)
    assert (mode(open_home), mode(open_home / "dbt")) == (0o700, 0o777)


def test_what_is_open_in_a_private_home_is_tightened_by_init_and_serve(open_home: Path) -> None:
    open_home.chmod(0o700)
    private_files.make_home_private(open_home)
    assert open_to_others(open_home)
    private_files.tighten_home(open_home)
    assert open_to_others(open_home) == []


@pytest.mark.parametrize("command", [["plan"], ["environment"]])
def test_any_command_makes_an_open_home_private(open_home: Path, command: list[str]) -> None:
    environment = os.environ | {
        "WAREHOUSE_HOME": str(open_home),
        "WAREHOUSE_DATABASE_URL": "postgresql://nobody@nowhere.invalid/nothing",
    }
    subprocess.run([*WAREHOUSE, *command], env=environment, capture_output=True, umask=0)
    assert open_to_others(open_home) == []
