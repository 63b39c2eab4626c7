"""`warehouse backup` and `warehouse restore`: the whole warehouse in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.options import Json
from orchestration.cli.output import emit, step


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; it must be new.")],
    json: Json = False,
) -> None:
    """Write the whole warehouse into one file, while it goes on.

    It holds events, the ledger, marts, keys and receipts of erasures. Keep the
    folder WAREHOUSE_HOME, too: its erasures.json says what was erased after the
    backup, and files that wait in its spool and drop folder are nowhere else.
    """
    from orchestration.operations.backup import back_up

    step("Writing the backup")
    made = back_up(file)
    text = f"{made.file}: {made.bytes:,} bytes, up to batch {made.batch_seq:,}."
    emit(made, text, json=json)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `warehouse backup` wrote.")],
    json: Json = False,
) -> None:
    """Restore a backup into an empty warehouse, and erase what was erased since.

    Erasures that are younger than the backup are known from WAREHOUSE_HOME's
    erasures.json: copy it there first if the home is a new one. What landed after
    the backup is loaded again from its files: duplicates are recognized.
    """
    from orchestration.operations.backup import restore as restore_backup

    step("Restoring the backup")
    restored = restore_backup(file)
    lines = [f"Restored up to batch {restored.batch_seq:,}."]
    if restored.erased_again:
        lines.append(f"{restored.erased_again:,} later erasures were applied again.")
    if restored.suppressed:
        lines.append(
            f"{restored.suppressed:,} later erasures name nobody that is an id in the backup: new "
            "data is suppressed. To search all texts, erase the same identifiers again."
        )
    if restored.not_applied:
        lines.append(
            f"{restored.not_applied:,} later erasures were made with another key, and are NOT "
            "applied: erase the same identifiers again."
        )
    emit(restored, *lines, json=json)
