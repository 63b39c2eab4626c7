"""The parts of `warehouse serve`: one that ends is started again, and takes no other one down."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestration.operations.serve_state import REPORTED_ENDS, described, failing, serving
from orchestration.serve import parts
from orchestration.serve.parts import Part, Parts, group_lives
from tests.support.processes import until
from warehouse.settings import settings

LIVES = "import time; time.sleep(600)"
FAILS = "raise SystemExit('the API can not start: the setting is wrong')"
# Leaves a child process behind, as a code server that crashes leaves its runs.
LEAVES = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LIVES!r}])"

pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WAREHOUSE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def part_of(script: str, begun: list[subprocess.Popen[bytes]]) -> Part:
    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
        begun.append(process)
        return process

    return Part(start)


def test_one_that_fails_starts_again_after_longer_and_longer_and_the_others_go_on(
    clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    collectors: list[subprocess.Popen[bytes]] = []
    apis: list[subprocess.Popen[bytes]] = []
    all_parts = Parts({"API": part_of(FAILS, apis), "collector": part_of(LIVES, collectors)}, clock)
    try:
        all_parts.look()
        for count, wait in enumerate((1, 2, 4, 8, 16, 32, 60, 60), start=1):
            assert len(apis) == count
            apis[-1].wait()
            all_parts.look()
            said = capfd.readouterr().err
            assert "the setting is wrong" in said
            assert (
                f"The API has ended by itself (exit status 1): see its output above. The others go "
                f"on; it starts again in {wait} s." in said
            )
            found = serving()
            assert found is not None
            api, collector = found.parts
            assert (api.pid, api.ended, api.how) == (None, count, "exit status 1")
            assert (collector.pid, collector.ended) == (collectors[0].pid, 0)
            assert "The API has been down since" in described(found)
            assert len(failing(found)) == (count >= REPORTED_ENDS)
            clock.now += wait - 0.1
            all_parts.look()
            assert len(apis) == count
            clock.now += 0.2
            until(lambda: not group_lives(apis[-1]))
            all_parts.look()
        assert collectors[0].poll() is None
    finally:
        all_parts.stop()
    assert serving() is None
    assert collectors[0].poll() is not None


def test_one_that_is_killed_runs_again_and_after_a_minute_that_is_forgotten(
    clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    all_parts = Parts({"API": part_of(LIVES, begun)}, clock)
    try:
        for _ in range(3):
            all_parts.look()
            clock.now += parts.STEADY_SECONDS + 1
            begun[-1].kill()
            begun[-1].wait()
            all_parts.look()
            # It had run for long: each time is the first one.
            assert "(SIGKILL)" in capfd.readouterr().err
            clock.now += parts.FIRST_WAIT_SECONDS
        all_parts.look()
        assert len(begun) == 4
        assert "runs since" in described(serving())
        clock.now += parts.STEADY_SECONDS
        all_parts.look()
        assert "The API works again." in capfd.readouterr().err
        assert described(serving()) == "`warehouse serve` runs: API."
    finally:
        all_parts.stop()


def test_what_one_left_behind_is_ended_before_it_starts_again(clock: Clock) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    all_parts = Parts({"code server": part_of(LEAVES, begun)}, clock)
    try:
        all_parts.look()
        begun[0].wait()
        assert group_lives(begun[0])
        all_parts.look()
        until(lambda: not group_lives(begun[0]))
        clock.now += parts.FIRST_WAIT_SECONDS
        all_parts.look()
        assert len(begun) == 2
    finally:
        all_parts.stop()
    assert not any(group_lives(one) for one in begun)


def test_what_has_ended_and_is_never_reaped_is_not_waited_for() -> None:
    leader = subprocess.Popen([sys.executable, "-c", LIVES], process_group=0)
    # This process does not reap it before the end, as process 1 of some containers does not.
    left = subprocess.Popen([sys.executable, "-c", LIVES], process_group=leader.pid)
    try:
        assert group_lives(leader)
        parts.signal_group(leader, signal.SIGKILL)
        until(lambda: not group_lives(leader))
        assert psutil.Process(left.pid).status() == psutil.STATUS_ZOMBIE
    finally:
        parts.signal_group(leader, signal.SIGKILL)
        left.wait()
        leader.wait()


def test_one_waits_for_what_it_needs_and_one_that_can_not_be_made_is_tried_again(
    clock: Clock, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    needs = tmp_path / "socket"
    daemon = part_of(LIVES, begun)
    daemon.may_start = needs.exists

    def fail() -> subprocess.Popen[bytes]:
        raise OSError("no more processes")

    all_parts = Parts({"code server": Part(fail), "daemon": daemon}, clock)
    try:
        all_parts.look()
        assert begun == []
        assert "(OSError: no more processes)" in capfd.readouterr().err
        assert "The daemon waits for the code server." in described(serving())
        needs.touch()
        all_parts.look()
        assert len(begun) == 1
    finally:
        all_parts.stop()


def test_of_a_serve_that_was_killed_nothing_is_said() -> None:
    script = (
        "import subprocess, sys, time\n"
        "from orchestration.serve.parts import Part, Parts\n"
        "sleeps = [sys.executable, '-c', 'pass']\n"
        "Parts({'API': Part(lambda: subprocess.Popen(sleeps, start_new_session=True))}).look()\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"ready\n"
        assert serving() is not None
        killed.kill()
    until(lambda: serving() is None)
    assert described(serving()) == "`warehouse serve` does not run on this machine."
