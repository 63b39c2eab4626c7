"""What was measured, beside its goal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report; ``met`` is None where there is no goal."""

    what: str
    measured: str
    goal: str = ""
    met: bool | None = None

    @property
    def outcome(self) -> str:
        """Whether the goal is met, for people."""
        return {True: "met", False: "MISSED", None: ""}[self.met]


def at_least(what: str, value: float, goal: float, shown: str = "{:.2f}") -> Figure:
    """Return a figure that should reach its goal."""
    return Figure(what, shown.format(value), f"≥ {shown.format(goal)}", value >= goal)


def at_most(what: str, value: float, goal: float, shown: str = "{:.2f}") -> Figure:
    """Return a figure that should not exceed its goal."""
    return Figure(what, shown.format(value), f"≤ {shown.format(goal)}", value <= goal)


def for_information(what: str, value: float, shown: str = "{:.2f}") -> Figure:
    """Return a figure without a goal."""
    return Figure(what, shown.format(value))
