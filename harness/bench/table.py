"""Samples, their medians, and a table of them for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was measured, a few times."""

    what: str
    samples: tuple[float, ...]
    unit: str = "s"
    """``s``, ``MB`` or ``×`` (a ratio)."""
    goal: float | None = None
    """The largest median that is good enough."""
    how: str = ""
    """How it was taken, when the name does not say it."""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.median <= self.goal

    def to_data(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": round(self.median, 3),
            "samples": [round(sample, 3) for sample in self.samples],
            "goal": self.goal,
            "met": self.is_met,
            "how": self.how,
        }


def ratio(what: str, above: Row, below: Row, *, goal: float | None = None, how: str = "") -> Row:
    """Return the quotient of two medians as a row.

    Only the medians are divided: samples of the two were not taken in pairs.
    """
    quotient = above.median / below.median
    return Row(what=what, samples=(quotient,), unit="×", goal=goal, how=how)


def render(title: str, rows: Sequence[Row]) -> str:
    """Return ``rows`` as aligned plain text: median, spread, goal, and how each was taken."""
    lines = [title]
    width = max((len(row.what) for row in rows), default=0)
    for row in rows:
        spread = ""
        if len(row.samples) > 1:
            spread = f"{min(row.samples):.2f}–{max(row.samples):.2f}, n={len(row.samples)}"
        goal = ""
        if row.goal is not None:
            goal = f"goal ≤ {row.goal:g}: {'met' if row.is_met else 'NOT MET'}"
        number = f"{row.median:8.2f} {row.unit:2}"
        lines.append(f"  {row.what:{width}}  {number}  {spread:20}  {goal:20}  {row.how}".rstrip())
    return "\n".join(lines)
