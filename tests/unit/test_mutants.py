from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.mutants import MUTANTS, TESTS
from warehouse.settings import PROJECT_DIR


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_changes_stands_in_the_file(name):
    for edit in MUTANTS[name]:
        assert edit.old in (PROJECT_DIR / edit.file).read_text("utf-8")


def test_the_tests_that_mutants_are_held_against_are_there():
    collect = [sys.executable, "-m", "pytest", "-n0", "-q", "--collect-only", *TESTS]
    found = subprocess.run(collect, cwd=PROJECT_DIR, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
