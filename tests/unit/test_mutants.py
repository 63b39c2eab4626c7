"""The runner of mutants: what it plants exists, and it reports every outcome."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import mutants
from tests.support.mutants import MUTANTS, TESTS, Caught, main
from warehouse.settings import PROJECT_DIR


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_changes_stands_in_the_file(name):
    for edit in MUTANTS[name]:
        assert edit.old in (PROJECT_DIR / edit.file).read_text("utf-8")


def test_the_tests_that_mutants_are_held_against_are_there():
    collect = [sys.executable, "-m", "pytest", "-n0", "-q", "--collect-only", *TESTS]
    found = subprocess.run(collect, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


NAMES = list(MUTANTS)[:3]


def run_with(monkeypatch, caught, without_fault=None):
    """Let every mutant be caught like this, and the tests without a fault end like that."""
    monkeypatch.setattr(mutants, "_run", lambda edits, _: caught if edits else without_fault)
    return main(NAMES)


def test_a_survivor_is_named_and_the_run_fails(monkeypatch, capsys):
    assert run_with(monkeypatch, None) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-3:] == [f"Survived: {name}" for name in printed_order(printed)]
    assert sorted(printed_order(printed)) == sorted(NAMES)


def printed_order(printed):
    return [line.partition(" ")[2].partition(":")[0] for line in printed[:3]]


def test_a_timeout_catches_a_mutant_and_is_reported_as_one(monkeypatch, capsys):
    assert run_with(monkeypatch, Caught(TESTS[0], (), is_timeout=True)) == 0
    printed = capsys.readouterr().out
    assert printed.count("caught by a timeout in") == 3
    assert "3 of 3 mutants were caught." in printed


def test_a_test_that_fails_without_a_fault_catches_nothing(monkeypatch, capsys):
    caught = Caught(TESTS[0], (), is_timeout=False)
    assert run_with(monkeypatch, caught, without_fault=caught) == 2
    assert "None of this counts" in capsys.readouterr().out


def test_without_a_fault_the_same_tests_run_in_the_same_order(monkeypatch):
    """A test may fail for what another has left."""
    catches = iter([Caught(TESTS[2], TESTS[:2], False), Caught(TESTS[1], TESTS[:1], False),
                    Caught(TESTS[4], TESTS[3:4], False)])  # fmt: skip
    without_fault = []

    def run(edits, tests):
        return next(catches) if edits else without_fault.append(tests)

    monkeypatch.setattr(mutants, "_run", run)
    assert main(NAMES) == 0
    assert without_fault == [list(TESTS[3:5]), list(TESTS[:3])]


def test_a_seed_chooses_the_same_mutants_again(monkeypatch, capsys):
    monkeypatch.setattr(mutants, "_run", lambda *_: Caught(TESTS[0], (), is_timeout=False))
    chosen = []
    for _ in range(2):
        main(["--some", "4", "--seed", "7"])
        printed = capsys.readouterr().out.splitlines()
        assert printed[0] == f"4 of {len(MUTANTS)} mutants, --seed 7"
        chosen.append(sorted(line.partition(" ")[2] for line in printed[1:5]))
    assert chosen[0] == chosen[1]
