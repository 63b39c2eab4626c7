"""Deletes the files of the warehouse that hold an erased subject: done with, or made anew."""

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

# A line that is longer is looked at in pieces that overlap by the longest identifier.
LONGEST_PIECE = 1 << 20
OVERLAP = 4096
_KEY = bytes(32)
_number = re.compile(rb"-?[0-9.]+").fullmatch
_exponent = re.compile(rb"[0-9][eE]").search


@dataclass(frozen=True, slots=True)
class Files:
    """The files that hold a subject: those to delete, and how many are left, by folder.

    A file that can't be read is among those left.
    """

    to_delete: list[tuple[Path, str]]
    left: dict[str, int]

    @property
    def removed(self) -> dict[str, int]:
        """How many are to be deleted, by folder."""
        return dict(Counter(folder for _, folder in self.to_delete))

    def delete(self) -> None:
        """Delete them. Raises OSError where one can't be deleted."""
        for path, _ in self.to_delete:
            path.unlink(missing_ok=True)


def files_of(subject: Subject) -> Files:
    """Return the files that hold a subject in their lines or names.

    To delete are those that are done with: dropped files that were loaded or quarantined, and what
    dbt and Dagster wrote of runs. Files of the database's server are its own.
    """
    to_delete, left = [], Counter[str]()
    for path, folder, is_done in _files():
        held = _holds(path, subject)
        if held and is_done:
            to_delete.append((path, folder))
        elif held is not False:
            left[folder] += 1
    return Files(to_delete, dict(left))


def _files() -> Iterator[tuple[Path, str, bool]]:
    """Yield files, each with the folder that a receipt names and whether it is done with."""
    home, drop = settings().home, settings().drop
    done = (
        drop / "done",
        drop / "failed",
        settings().dbt_target,
        settings().dagster_home / "storage",
    )
    for root in {home, drop}:
        for folder, folders, names in os.walk(root):
            # A server's data directory, whatever its version.
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
                    any(path.is_relative_to(one) for one in done) and not _is_database(path),
                )


def _is_of_code(path: Path) -> bool:
    """Tell whether dbt made it from the project alone: of runs it writes results and logs."""
    is_of_run = path.name in ("run_results.json", "sources.json") or ".log" in path.suffixes
    return path.is_relative_to(settings().dbt_docs) or (
        path.is_relative_to(settings().dbt_target) and not is_of_run
    )


def _is_database(path: Path) -> bool:
    """Tell whether Dagster keeps its history there: a part of it can't be deleted."""
    return any(ending.startswith(".db") for ending in path.suffixes)


def _holds(path: Path, subject: Subject) -> bool | None:
    """Tell whether a file's name or one of its lines holds a subject; None if it can't be read."""
    value = normalized_identifier(subject.identifier)
    digest = frozenset({subject_hash(_KEY, subject.identifier)})
    erased = Erased(1, _KEY, digest, frozenset(), frozenset(), [len(value)])
    if is_in_path(os.fsencode(path.name), erased.is_erased_everywhere()):
        return True
    # Lines of dropped files are read as they were when they landed; logs are sentences.
    is_dropped = path.is_relative_to(settings().drop)
    read_as = Reason.UNKNOWN_EVENT if is_dropped else Reason.INVALID_JSON
    # Producers may put another one in its place meanwhile.
    opener = open_own if is_dropped else None
    needle = _needle(value)
    # Where an exponent is read, a number is one that does not stand there as it is.
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
    """Tell whether a line has the needle in it, once what is escaped in it is read."""
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
    """Yield lines; what is longer than any, in overlapping pieces."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_PIECE:
            yield rest
            rest = rest[-OVERLAP:]
    yield rest
