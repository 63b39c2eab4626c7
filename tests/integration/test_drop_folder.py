"""Of what is put into the drop folder nothing is lost, and no file holds the others up."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ingestion.load.loader import load
from ingestion.load.workers import Workers
from ingestion.sources import drop_folder
from ingestion.sources.drop_folder import Dropped, load_dropped, waiting_files
from ingestion.sources.files import Source
from tests.support.lines import line, rows, value

LONG_AGO = (0, 0)


def drop(path: Path, content: bytes, times: tuple[float, float] = LONG_AGO) -> Path:
    """Put a file there that was changed at some time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, times)
    return path


def loaded(folder: Path) -> list[Dropped]:
    return list(load_dropped(folder))


def names(folder: Path) -> set[bytes]:
    return {os.fsencode(path.name) for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_taken_only_when_it_has_stood_still(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr(drop_folder.time, "time", lambda: now)
    ages = {"written": 1, "by a clock ahead": -1, "still": 6, "of the future": -86_400}
    for name, age in ages.items():
        drop(tmp_path / "events" / name, line(1), (now - age, now - age))
    assert [path.name for _, path in waiting_files(tmp_path)] == ["of the future", "still"]
    assert {one.name for one in loaded(tmp_path)} == {"of the future", "still"}
    assert names(tmp_path / "events") == {b"written", b"by a clock ahead"}
    now += 60
    assert {one.name for one in loaded(tmp_path)} == {"written", "by a clock ahead"}
    assert loaded(tmp_path) == []


@pytest.mark.parametrize(
    ("lines", "reason"), [(1, "Its only line was rejected"), (2, "All its 2 lines were rejected")]
)
def test_a_file_of_which_nothing_was_accepted_is_quarantined_with_the_reason(
    warehouse: psycopg.Connection, tmp_path: Path, lines: int, reason: str
) -> None:
    drop(tmp_path / "events" / "bad.ndjson", b"no json\n" * lines)
    drop(tmp_path / "clients" / "bad.ndjson", b"no json\n" * lines)
    drop(tmp_path / "events" / "good.ndjson", line(1) + b"no json\n")
    drop(tmp_path / "events" / "empty.ndjson", b"")
    failed = {(one.kind, one.name): one.error for one in loaded(tmp_path) if one.error}
    sentence = f"{reason}: `warehouse rejected list` says why."
    assert failed == {("clients", "bad.ndjson"): sentence, ("events", "bad.ndjson"): sentence}
    assert names(tmp_path / "done") == {b"good.ndjson", b"empty.ndjson"}
    beside = tmp_path / "failed" / "events" / "bad.ndjson.reason.txt"
    assert beside.read_text() == f"{sentence}\n"
    # Dropped again, as it is, it says so again: its lines are not counted as duplicates.
    drop(tmp_path / "events" / "bad.ndjson", b"no json\n" * lines)
    assert [one.error for one in loaded(tmp_path)] == [sentence]


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


def test_what_is_taken_becomes_private_and_a_folder_of_the_operators_stays_as_it_is(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        folder = tmp_path / "drop"
        # For producers of a group; and what an earlier version has left open.
        (folder / "events").mkdir(parents=True, mode=0o770)
        (folder / "done" / "events").mkdir(parents=True)
        (folder / "done" / "events" / "earlier").touch()
        drop(folder / "events" / "good", line(1)).chmod(0o664)
        drop(folder / "clients" / "bad.gz", b"\x1f\x8b no gzip").chmod(0o664)
        (folder / "clients").chmod(0o770)
        loaded(folder)
    finally:
        os.umask(before)
    found = modes(folder)
    assert found.pop("events") == found.pop("clients") == 0o770
    # The drop folder was made by this test, too.
    assert found.pop(".") == 0o777
    files = {name: mode for name, mode in found.items() if (folder / name).is_file()}
    assert files == dict.fromkeys(
        ["done/events/earlier", "done/events/good", "failed/clients/bad.gz",
         "failed/clients/bad.gz.reason.txt"], 0o600
    )  # fmt: skip
    assert {mode for name, mode in found.items() if name not in files} == {0o700}


def test_what_is_done_with_expires_and_a_files_age_counts_from_when_it_was_moved(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    drop(tmp_path / "events" / "good", line(1))
    drop(tmp_path / "events" / "bad.gz", b"\x1f\x8b no gzip")
    loaded(tmp_path)
    drop(tmp_path / "events" / ".unfinished", b"", LONG_AGO)
    drop(tmp_path / "loading" / "events" / "waits", b"", LONG_AGO)
    assert drop_folder.expire_files(tmp_path, 30, dry_run=False) == 0
    almost, over = (time.time() - days * 86_400 for days in (29.9, 30.1))
    for path in (*(tmp_path / "done").rglob("*"), *(tmp_path / "failed").rglob("*")):
        os.utime(path, (almost, almost))
    assert drop_folder.expire_files(tmp_path, 30, dry_run=False) == 0
    for path in (*(tmp_path / "done").rglob("*"), *(tmp_path / "failed").rglob("*")):
        os.utime(path, (over, over))
    everything = names(tmp_path)
    assert drop_folder.expire_files(tmp_path, 30, dry_run=True) == 3
    assert names(tmp_path) == everything
    assert drop_folder.expire_files(tmp_path, 30, dry_run=False) == 3
    assert names(tmp_path) == {b".unfinished", b"waits"}


@pytest.mark.parametrize("name", ["events.ndjson", "events.ndjson.gz"])
def test_of_a_file_that_grows_while_it_is_loaded_the_rest_is_loaded_too(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    encode = gzip.compress if name.endswith(".gz") else bytes
    drop(tmp_path / "events" / name, encode(b"".join(map(line, range(10))) + line(10)[:50]))
    rest = iter([line(10)[50:] + line(11), None])

    def load_and_grow(source: Source, workers: Workers) -> object:
        result = load(source, workers=workers)
        if more := next(rest):
            (claimed,) = (tmp_path / "loading" / "events").iterdir()
            with claimed.open("ab") as file:
                file.write(encode(more))
        return result

    monkeypatch.setattr(drop_folder, "load", load_and_grow)
    (first,) = loaded(tmp_path)
    assert (first.counts.accepted, first.counts.rejected) == (10, 1)
    # It is being written, and not done.
    assert loaded(tmp_path) == []
    assert not (tmp_path / "done").exists()
    (claimed,) = (tmp_path / "loading" / "events").iterdir()
    os.utime(claimed, LONG_AGO)
    (second,) = loaded(tmp_path)
    assert (second.name, second.counts.accepted, second.counts.duplicates) == (name, 2, 10)
    assert value(warehouse, "select count(*) from staging.raw_events") == 12
    assert names(tmp_path) == {name.encode()}
    assert (tmp_path / "done" / "events" / name).exists()
    states = rows(warehouse, "select state from staging.loads order by load_id")
    assert states == [("abandoned",), ("finished",)]


def test_entities_that_grow_while_they_are_loaded_are_loaded_once_more(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = [
        json.dumps({"unit_id": unit, "updated_at": "2026-01-01T00:00:00Z"}).encode() + b"\n"
        for unit in "abc"
    ]
    drop(tmp_path / "units" / "units.ndjson", units[0])
    real = drop_folder.load_entities

    def load_and_grow(*arguments: object) -> object:
        counts = real(*arguments)
        (claimed,) = (tmp_path / "loading" / "units").iterdir()
        drop(claimed, units[0] + units[1])
        return counts

    monkeypatch.setattr(drop_folder, "load_entities", load_and_grow)
    assert [one.counts.accepted for one in loaded(tmp_path)] == [1]
    assert [one.counts.accepted for one in loaded(tmp_path)] == [1]
    assert names(tmp_path / "done") == {b"units.ndjson"}
    assert value(warehouse, "select count(*) from staging.units") == 2


# Names that come first, and what is said of those that can't be loaded.
ODD_NAMES: dict[bytes, str | None] = {
    b"\xe9.ndjson": None,
    b"a\nb.ndjson": None,
    b"0" * 240 + b".ndjson": None,
    b"\xc3\xa9" * 124 + b".ndjson": None,
    b"1" * 248 + b".json.z": None,
    b"0.ndjson.zst": "damaged",
}


def test_no_file_holds_up_those_behind_it(warehouse: psycopg.Connection, tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        drop(tmp_path / "events" / os.fsdecode(name), line(number))
    drop(tmp_path / "events" / "last.ndjson", line(100))
    reported = {one.name: one.error for one in loaded(tmp_path)}
    assert len(reported) == len(ODD_NAMES) + 1
    for name, error in ODD_NAMES.items():
        said = reported[name.decode("utf-8", "backslashreplace")]
        assert (said is None) == (error is None)
        assert (error or "") in (said or "")
    fine = {name for name, error in ODD_NAMES.items() if error is None}
    assert names(tmp_path / "done") == {*fine, b"last.ndjson"}
    assert value(warehouse, "select count(*) from staging.raw_events") == len(fine) + 1
    assert loaded(tmp_path) == []
    for path in (tmp_path / "failed" / "events").glob("*.reason.txt"):
        assert path.read_text().strip() in reported.values()
    assert len(names(tmp_path / "failed")) == 2 * (len(ODD_NAMES) - len(fine))


SECRET = b"PASSWORD=hunter2\n"


def link_to(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def hard_link_to(path: Path, secret: Path) -> None:
    os.link(secret, path)


def link_to_the_environment(path: Path, secret: Path) -> None:
    path.symlink_to(f"/proc/{os.getpid()}/environ")


def link_to_nothing(path: Path, secret: Path) -> None:
    path.symlink_to(secret.with_name("nothing"))


def pipe(path: Path, secret: Path) -> None:
    os.mkfifo(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("late", [False, True], ids=["dropped", "swapped in"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link_to, "It is a link"),
        (hard_link_to, "hard link"),
        (link_to_the_environment, "It is a link"),
        (link_to_nothing, "It is a link|No such file"),
        (pipe, "not a regular file"),
    ],
)
@pytest.mark.parametrize("kind", ["events", "users"])
def test_what_is_no_file_of_its_own_is_quarantined_unread(
    warehouse: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, Path], None],
    reason: str,
    late: bool,
    kind: str,
) -> None:
    secret = drop(tmp_path / "secret", SECRET)
    secret.chmod(0o644)
    folder = tmp_path / "drop"
    path = folder / kind / "1.ndjson"
    path.parent.mkdir(parents=True)
    drop(folder / kind / "2.ndjson", b"")
    if late:
        drop(path, b"")
        real = drop_folder._unique_name

        def swap(name: str) -> str:
            if name == path.name:
                path.unlink()
                make(path, secret)
            return real(name)

        monkeypatch.setattr(drop_folder, "_unique_name", swap)
    else:
        make(path, secret)
        os.utime(path, LONG_AGO, follow_symlinks=False)
    first, second = loaded(folder)
    assert re.search(reason, first.error or "")
    assert second.error is None
    assert value(warehouse, "select count(*) from staging.rejected_events") == 0
    assert (secret.read_bytes(), stat.S_IMODE(secret.stat().st_mode)) == (SECRET, 0o644)
    assert os.path.lexists(folder / "failed" / kind / "1.ndjson")
    assert loaded(folder) == []


def test_reasons_are_not_written_through_links_that_were_dropped(
    warehouse: psycopg.Connection, tmp_path: Path
) -> None:
    aim = drop(tmp_path / "aim", b"as it was")
    folder = tmp_path / "drop"
    drop(folder / "events" / "a.gz", b"no gzip")
    (folder / "failed" / "events").mkdir(parents=True)
    (folder / "failed" / "events" / "a.gz.reason.txt").symlink_to(aim)
    (dropped,) = loaded(folder)
    assert dropped.error
    assert aim.read_bytes() == b"as it was"
    written = folder / "failed" / "events" / "a.gz.reason.txt.2"
    assert written.read_text("utf-8").strip() == dropped.error


@pytest.mark.parametrize("folder", ["loading", "done", "failed", "loading/events"])
def test_files_are_moved_through_no_link(
    warehouse: psycopg.Connection, tmp_path: Path, folder: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    drop(elsewhere / "secret", SECRET)
    dropped = drop(tmp_path / "drop" / "events" / "a.ndjson", line(1))
    (tmp_path / "drop" / folder).parent.mkdir(exist_ok=True)
    (tmp_path / "drop" / folder).symlink_to(elsewhere)
    with pytest.raises(drop_folder.DropError, match="is a link"):
        loaded(tmp_path / "drop")
    assert dropped.exists()
    assert names(elsewhere) == {b"secret"}
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


def test_what_can_not_be_moved_holds_up_nothing(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(tmp_path / "events" / "a.ndjson", line(1))
    drop(tmp_path / "events" / "b.ndjson", line(2))
    real = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "a.ndjson":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    first, second = loaded(tmp_path)
    assert "can't be moved to failed/" in (first.error or "")
    assert (second.error, second.counts.accepted) == (None, 1)
    assert names(tmp_path / "events") == {b"a.ndjson"}


def test_what_nobody_has_foreseen_sets_its_file_aside_without_a_word_of_what_it_holds(
    warehouse: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Source, workers: Workers) -> object:
        raise ValueError("hunter2")

    drop(tmp_path / "events" / "a.ndjson", line(1))
    monkeypatch.setattr(drop_folder, "load", fail)
    (dropped,) = loaded(tmp_path)
    assert dropped.error == "It can't be loaded: ValueError. Run `warehouse load` for details."
    assert names(tmp_path / "failed") == {b"a.ndjson", b"a.ndjson.reason.txt"}
