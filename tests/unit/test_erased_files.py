"""A dropped file holds a subject by the rule of a line in the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestion.privacy.suppression import Subject, SubjectKind
from orchestration.operations.erased_files import files_holding
from warehouse.settings import settings


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ('{"ref":2000}', True),
        ('{"ref":2e3}', True),
        ('{"ref":[20E+2]}', True),
        ('{"ref":0.2e4}', True),
        ('{"ref":20000e-1}', True),
        ('{"ref":3e3}', False),
        ('{"ref":"2e3"}', False),
        ('{"rating":2e3}', False),
    ],
)
def test_a_file_holds_a_number_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, holds: bool
) -> None:
    monkeypatch.setenv("WAREHOUSE_HOME", str(tmp_path))
    monkeypatch.delenv("WAREHOUSE_DROP_FOLDER", raising=False)
    settings.cache_clear()
    path = settings().drop / "done" / "f.ndjson"
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"ref":1}}\n{line}\n', "utf-8")
    found = files_holding(Subject(SubjectKind.USER, "2000"))
    settings.cache_clear()
    assert (found.removed, found.left) == ({"drop/done": 1} if holds else {}, {})
