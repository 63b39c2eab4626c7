from __future__ import annotations

import json
import subprocess
from pathlib import Path

import ingestion.migrations
from ingestion.migrate import Migrated, migrate
from tests.conftest import WAREHOUSE


def test_init_a_second_time_has_nothing_to_do(warehouse):
    assert migrate() == Migrated(ran=[], for_dba=[])


def test_init_twice_at_once_migrates_once(servers):
    server = servers(18)
    url = server.new_database(template="template0")
    with server.environment(url):
        both = [
            subprocess.Popen([*WAREHOUSE, "init", "--json"], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        ran = [json.loads(process.communicate(timeout=60)[0])["migrations"] for process in both]
    server.drop_database(url)
    versions = Path(ingestion.migrations.__file__).parent.glob("versions/*.sql")
    assert sorted(ran) == [[], sorted(path.name[1:5] for path in versions)]
    assert [process.returncode for process in both] == [0, 0]
