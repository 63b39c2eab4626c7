"""Validates a chunk: the outcomes of its lines, ready to be landed.

Needs neither a database nor the settings, so that a worker process starts quickly.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, compress, pairwise
from pickle import PickleBuffer

from ingestion.contract.line import Reason, may_hold_unbounded_number
from ingestion.contract.unknown_members import UnknownNames
from ingestion.contract.validator import (
    UNKNOWN_EVENT,
    Accepted,
    Outcome,
    Receipt,
    Rejected,
    Sequence,
    Suppressed,
    Validator,
    ids_in_row,
    used_sequence,
)
from ingestion.load.chunks import Chunk, Offset, RawChunk, split, too_large_message


@dataclass(frozen=True, slots=True)
class Events:
    """Valid events: their rows one after the other, and by position what else is asked of them.

    So they reach another process several times as fast as objects. ``unknown`` has only the
    positions of events with unknown members.
    """

    rows: bytes
    ends: array[int]
    microseconds: array[int]
    producers: list[str | None]
    numbers: list[int | None]
    unknown: dict[int, UnknownNames]

    @classmethod
    def of(cls, events: list[Accepted]) -> Events:
        """Return events in this form."""
        rows = [event.row for event in events]
        return cls(
            b"".join(rows),
            array("Q", accumulate(map(len, rows))),
            array("q", [event.microseconds for event in events]),
            [event.producer for event in events],
            [event.number for event in events],
            {at: event.unknown for at, event in enumerate(events) if event.unknown},
        )

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.ends)

    def __reduce__(self) -> tuple[type[Events], tuple[object, ...]]:
        """Return what another process gets; the rows are not copied for it."""
        rows = PickleBuffer(self.rows)
        return Events, (
            rows, self.ends, self.microseconds, self.producers, self.numbers, self.unknown
        )  # fmt: skip

    def ids(self, position: int) -> tuple[bytes, bytes]:
        """Return the client_id in UTF-8 and the 16 bytes of event_id of one event."""
        return ids_in_row(self.rows, self.ends[position - 1] if position else 0)

    def sequences(self, positions: Iterable[int]) -> list[Sequence]:
        """Return the sequence numbers that the events at some positions have used."""
        used = (
            used_sequence(self.producers[at], self.numbers[at], self.microseconds[at])
            for at in positions
        )
        return [sequence for sequence in used if sequence]

    def without(self, positions: set[int]) -> Events:
        """Return the events at all other positions."""
        kept = [position not in positions for position in range(len(self))]
        new_position = list(accumulate(kept, initial=0))
        rows = [self.rows[start:end] for start, end in pairwise((0, *self.ends))]
        rows = list(compress(rows, kept))
        return Events(
            b"".join(rows),
            array("Q", accumulate(map(len, rows))),
            array("q", compress(self.microseconds, kept)),
            list(compress(self.producers, kept)),
            list(compress(self.numbers, kept)),
            {
                new_position[position]: names
                for position, names in self.unknown.items()
                if kept[position]
            },
        )


@dataclass(frozen=True, slots=True)
class ValidatedChunk:
    """The outcomes of a chunk's lines.

    ``received`` counts the lines that are not blank. ``accepted`` is sorted by key and has no
    duplicates.
    """

    start: Offset
    end: Offset
    digest: bytes
    received: int
    accepted: Events
    duplicates: int
    rejected: list[tuple[int, bytes, Rejected]]
    suppressed: Counter[tuple[str, date]]
    suppressed_erased: int
    used: list[Sequence]


def validate_raw(raw: RawChunk, receipt: Receipt) -> ValidatedChunk:
    """Split a chunk into lines and validate each."""
    return validate_chunk(split(raw), receipt)


def outcomes_of_lines(chunk: Chunk, receipt: Receipt) -> Iterator[tuple[int, bytes, Outcome]]:
    """Yield every line of a chunk with its number and outcome."""
    validate = Validator(
        receipt,
        numbers_are_bounded=not may_hold_unbounded_number(chunk.content),
    ).validate
    # The kept part of a line that is too large may look complete, so it is not validated.
    lengths = chunk.full_lengths
    for number, line in chunk.lines:
        length = lengths.get(number)
        outcome = validate(line) if length is None else _too_large(length, len(line))
        yield number, line, unless_erased(line, outcome, receipt)


def unless_erased(line: bytes, outcome: Outcome, receipt: Receipt) -> Outcome:
    """Return the outcome of a line, which is suppressed if it is refused and names the erased."""
    erased = receipt.erased
    if erased and type(outcome) is Rejected and erased.is_in_refused(line, outcome.reason):
        return Suppressed(UNKNOWN_EVENT, receipt.at.date(), outcome.sequence, True)
    return outcome


def validate_chunk(chunk: Chunk, receipt: Receipt) -> ValidatedChunk:
    """Validate every line of a chunk."""
    return collect(outcomes_of_lines(chunk, receipt), chunk.start, chunk.end, chunk.digest)


def collect(
    outcomes: Iterable[tuple[int, bytes, Outcome]], start: Offset, end: Offset, digest: bytes
) -> ValidatedChunk:
    """Collect the outcomes of a chunk's lines, given as (number, line, outcome)."""
    received = 0
    accepted: list[Accepted] = []
    rejected: list[tuple[int, bytes, Rejected]] = []
    suppressed: Counter[tuple[str, date]] = Counter()
    suppressed_erased = 0
    used: list[Sequence] = []
    for number, line, outcome in outcomes:
        received += 1
        if type(outcome) is Accepted:
            accepted.append(outcome)
            continue
        if outcome.sequence:
            used.append(outcome.sequence)
        if isinstance(outcome, Suppressed):
            suppressed[outcome.event, outcome.day] += 1
            suppressed_erased += outcome.is_erased
        else:
            rejected.append((number, line, outcome))
    first, repeats = _first_of_each(accepted)
    used += [event.sequence for event in repeats if event.sequence]
    return ValidatedChunk(
        start, end, digest, received, Events.of(first), len(repeats),
        rejected, suppressed, suppressed_erased, used,
    )  # fmt: skip


def _too_large(length: int, kept: int) -> Outcome:
    return Rejected(Reason.TOO_LARGE, too_large_message(length, kept))


def _first_of_each(accepted: list[Accepted]) -> tuple[list[Accepted], list[Accepted]]:
    """Split into the first event of each key, sorted by key, and the repeats.

    All loaders write in the order of the keys: this avoids deadlocks between them, and the index
    is written page by page.
    """
    first: dict[bytes, Accepted] = {}
    repeats = [event for event in accepted if first.setdefault(event.key, event) is not event]
    return [first[key] for key in sorted(first)], repeats
