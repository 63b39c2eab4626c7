"""The commands that a person types, as processes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from ingestion.load.entities import EntityKind
from ingestion.sample.generate import SampleFiles
from ingestion.sources.files import SourceError
from orchestration.cli import demo_steps, options
from orchestration.cli.load_entities import Kind
from tests.conftest import WAREHOUSE
from tests.support.processes import open_to_others


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WAREHOUSE, *arguments], capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture
def own_server(servers):
    """A home of its own, with no server yet: what a newcomer has."""
    home = Path(tempfile.mkdtemp(prefix="wh-"))
    with servers(18).environment(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAREHOUSE_HOME", str(home))
        yield home
        run("stop")
    shutil.rmtree(home)


@pytest.mark.deep
def test_the_demo_makes_a_row_and_a_second_run_changes_nothing(own_server):
    # Where files would be everybody's.
    first = run("demo", "--json", umask=0)
    assert first.returncode == 0, first.stderr
    made = json.loads(first.stdout)
    lines = made["lines"]
    outcomes = ("accepted", "duplicates", "suppressed", "rejected")
    assert lines["received"] == sum(lines[outcome] for outcome in outcomes)
    assert lines["accepted"] >= 100_000
    assert len(made["rejected"]) == 9
    assert made["tables"]["staging.raw_events"] == lines["accepted"]
    assert made["row"]["updated_at"] == "2026-05-16T00:00:00+00:00"
    assert made["row"]["questions_answered"] > 10_000
    assert made["row"]["active_users"] > 0

    story = "; ".join(made["story"])
    for seen in ("closed periods", "reached a limit", "alerts are open", "lost", "a month later"):
        assert seen in story
    assert any("producer chat-runtime-2, date 2026-05-12" in one for one in made["warnings"])
    assert "\x1b" not in first.stderr
    assert len(first.stderr.splitlines()) < 30

    second = run("demo", "--json")
    assert second.returncode == 0, second.stderr
    # Keys are made, and shown, once.
    keys = made.pop("keys")
    assert len(keys) == 6
    assert json.loads(second.stdout) == made | {"keys": []}
    assert "Generating" not in second.stderr
    assert run("docs", umask=0).returncode == 0
    assert open_to_others(own_server) == []


def one_sentence(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 1
    (sentence,) = finished.stderr.splitlines()
    assert sentence.startswith("warehouse: ")
    return sentence


def test_output_that_can_not_be_written_is_reported_in_one_sentence(warehouse):
    for arguments in (["plan"], ["rejected", "list"]):
        with open("/dev/full", "w") as full:
            finished = subprocess.run(
                [*WAREHOUSE, *arguments], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert "No space left on device" in one_sentence(finished)


@pytest.mark.parametrize("arguments", [["load", "a.ndjson"], ["init"]])
def test_a_current_folder_that_is_gone_is_reported_in_one_sentence(tmp_path, arguments):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    finished = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", str(gone), *WAREHOUSE, *arguments],
        env=os.environ | {"WAREHOUSE_HOME": "relative"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert "The current folder is gone" in one_sentence(finished)


def test_a_home_that_is_no_utf8_is_reported_in_one_sentence(tmp_path):
    environment = os.environ | {"WAREHOUSE_HOME": f"{tmp_path}/\udce9"}
    finished = run("plan", env=environment)
    assert "WAREHOUSE_HOME can't be used: It is not UTF-8 text" in one_sentence(finished)


def test_the_version_is_printed():
    shown = run("--version")
    assert shown.stdout == f"warehouse {version('analytics-warehouse')}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("load /nonexistent --json", 1, "No such file"),
        ("load-entities clients /nonexistent --json", 1, "No such file"),
        ("load-entities planets - --json", 2, "'planets' is not one of"),
        ("rejected replay --reason nope --json", 1, "No line is rejected for the reason 'nope'"),
        ("build --start 2026-13-01 --json", 2, "is not a day"),
        ("nonsense --json", 2, "No such command"),
    ],
)
def test_what_does_not_exist_fails_with_a_sentence_which_is_json_where_that_is_asked_for(
    warehouse, arguments, code, words
):
    failed = run(*arguments.split())
    assert (failed.returncode, failed.stdout) == (code, "")
    assert words in json.loads(failed.stderr)["error"]


@pytest.mark.parametrize("command", [["load"], ["load-entities", "clients"]])
def test_a_load_of_which_every_line_was_rejected_fails(warehouse, tmp_path, command):
    bad = tmp_path / "bad.ndjson"
    bad.write_text("no json\n")
    failed = run(*command, str(bad))
    assert failed.returncode == 1
    assert "Nothing was loaded: every line was rejected." in failed.stderr
    assert run(*command, str(bad), "--strict").returncode == 1


def test_who_has_no_name_is_named_by_number(monkeypatch):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(options.getpass, "getuser", nobody)
    assert options.user_name() == f"uid {os.getuid()}"


@pytest.mark.deep
def test_a_selection_of_nothing_is_reported(warehouse):
    finished = run("build", "--select", "+++@@@")
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last == "warehouse: `--select +++@@@` selects nothing: nothing was built."


def test_a_demo_that_was_interrupted_loads_what_is_left(warehouse, tmp_path):
    entities = {kind: tmp_path / f"{kind}.ndjson" for kind in EntityKind}
    events = tuple(tmp_path / f"{name}.ndjson.gz" for name in ("first", "second"))
    for path in (*entities.values(), *events):
        path.write_bytes(gzip.compress(b"") if path.suffix == ".gz" else b"")
    events[1].write_bytes(b"half")
    files = SampleFiles(events, entities)
    with pytest.raises(SourceError, match="second"):
        demo_steps._load(files, warehouse)
    events[1].write_bytes(gzip.compress(b""))
    demo_steps._load(files, warehouse)
    loads = "select count(*), count(distinct source) from staging.loads"
    assert warehouse.execute(loads).fetchone() == (6, 6)


def test_the_demo_refuses_a_server_of_ones_own(warehouse):
    refused = run("demo")
    assert refused.returncode == 1
    assert "WAREHOUSE_DATABASE_URL" in refused.stderr


def test_help_loads_nothing_heavy():
    # What makes a start slow; the time itself is measured by the benchmarks.
    heavy = "psycopg pydantic msgspec dbt dagster great_expectations duckdb alembic"
    code = (
        "import sys; sys.argv = ['warehouse', '--help']\n"
        "from orchestration.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in '{heavy}'.split() if m in sys.modules], file=sys.stderr)"
    )
    helped = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert "load-entities" in helped.stdout
    assert helped.stderr.strip() == "[]"


def test_the_command_line_knows_the_kinds_of_entities():
    assert [kind.value for kind in Kind] == [kind.value for kind in EntityKind]


def test_the_plan_is_printed_for_producers():
    page = run("plan").stdout
    assert "## `chat_feedback`" in page
    assert "| `rating` | whole number, 1 to 5 | yes |" in page


@pytest.mark.parametrize("command", [["build"], ["load", "-"], ["check"], ["rejected", "list"]])
def test_a_command_before_init_says_to_run_init(servers, command):
    server = servers(18)
    url = server.new_database(template="template0")
    with server.environment(url):
        failed = run(*command, stdin=subprocess.DEVNULL)
    server.drop_database(url)
    assert failed.returncode == 1
    assert "run `warehouse init`" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.deep
def test_bare_dbt_finds_the_warehouse_by_the_printed_environment(warehouse):
    exports = run("environment").stdout
    built = subprocess.run(
        ["bash", "-c", f'eval "$EXPORTS"; exec {sys.executable} -m dbt.cli.main build'],  # noqa: S607
        capture_output=True, text=True, timeout=300,
        env=os.environ | {"EXPORTS": exports},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout
    assert warehouse.execute("select count(*) from intermediate.int_platform_stats").fetchone() == (
        1,
    )
