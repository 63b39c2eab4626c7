"""Pages that are written by the code stand as the code writes them."""

from __future__ import annotations

from ingestion.contract.reference_page import reference_page
from ingestion.contract.tracking_plan import tracking_plan
from warehouse.settings import PROJECT_DIR


def test_the_page_for_producers_is_that_of_the_plan() -> None:
    written = "\n".join(reference_page(tracking_plan())) + "\n"
    page = (PROJECT_DIR / "docs" / "events.md").read_text("utf-8")
    assert page == written, "the plan has changed: run `make docs`"
