"""Finds and deletes the warehouse's files that hold an erased subject.

It deletes files that are no longer needed and files that are written again.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingestion.contract.line import Reason
from ingestion.privacy.name_forms import (
    DEEPEST,
    is_in_path,
    normalized_identifier,
    percent_decoded,
    unescaped,
)
from ingestion.privacy.suppression import Erased, Subject, subject_hash
from ingestion.sources.files import SourceError, open_own, open_source
from warehouse.settings import settings

# A longer line is searched in pieces, which overlap so that no identifier is cut.
LONGEST_PIECE = 1 << 20
OVERLAP = 4096
_KEY = bytes(32)
_number = re.compile(rb"-?[0-9.]+").fullmatch
_exponent = re.compile(rb"[0-9][eE]").search


@dataclass(frozen=True, slots=True)
class Files:
    """The files that hold a subject: those to delete, and by folder how many are left.

    A file that can't be read counts as left.
    """

    to_delete: list[tuple[Path, str]]
    left: dict[str, int]

    @property
    def removed(self) -> dict[str, int]:
        """The number of files to delete, by folder."""
        return dict(Counter(folder for _, folder in self.to_delete))

    def delete(self) -> None:
        """Delete the files. Raises OSError where one can't be deleted."""
        for path, _ in self.to_delete:
            path.unlink(missing_ok=True)


def files_holding(subject: Subject) -> Files:
    """Return the files that hold a subject in their lines or names.

    Files to delete are dropped files that were loaded or quarantined, and what dbt and Dagster
    wrote about runs. Files of the database server are left out.
    """
    to_delete, left = [], Counter[str]()
    for path, folder, may_delete in _files():
        held = _holds(path, subject)
        if held and may_delete:
            to_delete.append((path, folder))
        elif held is not False:
            left[folder] += 1
    return Files(to_delete, dict(left))


def _files() -> Iterator[tuple[Path, str, bool]]:
    """Yield each file, its folder as receipts name it, and whether it may be deleted."""
    home, drop = settings().home, settings().drop
    deletable = (
        drop / "done",
        drop / "failed",
        settings().dbt_target,
        settings().dagster_home / "storage",
    )
    for root in {home, drop}:
        for folder, folders, names in os.walk(root):
            # Skip the data directories of database servers.
            folders[:] = sorted(
                name for name in folders if not (Path(folder) / name / "PG_VERSION").exists()
            )
            for name in sorted(names):
                path = Path(folder) / name
                if root == home and drop != home and path.is_relative_to(drop):
                    continue
                if path.is_symlink() or not path.is_file() or _is_of_code(path):
                    continue
                base, prefix = (drop, "drop") if path.is_relative_to(drop) else (home, "home")
                first = "/".join(path.relative_to(base).parts[:-1][:1])
                yield (
                    path,
                    f"{prefix}/{first}".rstrip("/"),
                    any(path.is_relative_to(one) for one in deletable) and not _is_database(path),
                )


def _is_of_code(path: Path) -> bool:
    """Return whether dbt generated a file from the project alone. Results and logs are of runs."""
    is_of_run = path.name in ("run_results.json", "sources.json") or ".log" in path.suffixes
    return path.is_relative_to(settings().dbt_docs) or (
        path.is_relative_to(settings().dbt_target) and not is_of_run
    )


def _is_database(path: Path) -> bool:
    """Return whether it is a database of Dagster's history, of which no part can be deleted."""
    return any(ending.startswith(".db") for ending in path.suffixes)


def _holds(path: Path, subject: Subject) -> bool | None:
    """Return whether a file's name or a line holds a subject, None where it can't be read."""
    value = normalized_identifier(subject.identifier)
    digest = frozenset({subject_hash(_KEY, subject.identifier)})
    erased = Erased(1, _KEY, digest, frozenset(), frozenset(), [len(value)])
    if is_in_path(os.fsencode(path.name), erased.is_erased_everywhere()):
        return True
    # Lines of dropped files are read as the loader reads them, lines of logs as plain text.
    is_dropped = path.is_relative_to(settings().drop)
    read_as = Reason.UNKNOWN_EVENT if is_dropped else Reason.INVALID_JSON
    # A producer may replace a dropped file at any time.
    opener = open_own if is_dropped else None
    needle = _needle(value)
    # A JSON number with an exponent may equal the identifier without containing its digits.
    is_number = bool(_number(value)) and is_dropped
    try:
        for piece in _pieces(open_source(str(path), opener=opener).blocks(0)):
            if not (_may_hold(piece, needle) or (is_number and _exponent(piece))):
                continue
            if erased.is_in_refused(piece, read_as):
                return True
    except (SourceError, OSError):
        return None
    return False


def _may_hold(piece: bytes, needle: bytes) -> bool:
    """Return whether a line contains the needle, plainly or in an escaped or encoded form."""
    for _ in range(DEEPEST + 1):
        if needle in piece.lower():
            return True
        decoded = percent_decoded(unescaped(piece))
        if decoded == piece:
            return False
        piece = decoded
    return needle in piece.lower()


def _needle(value: bytes) -> bytes:
    """Return the part that an unescaped line contains unchanged: warehouse.longest_fixed_part."""
    plain = bytes(c if c > 32 and c not in b'"\\%' else 32 for c in value)
    return max(plain.split(b" "), key=len).lower()


def _pieces(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines, and overlapping pieces of a line that is longer than LONGEST_PIECE."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_PIECE:
            yield rest
            rest = rest[-OVERLAP:]
    yield rest
