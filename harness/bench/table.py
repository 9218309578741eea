"""Samples, what they come to, and a table of them for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

By = Literal["median", "best"]
"""Which of the samples counts. Others on the host can only slow a sample down: the best is the one
that they slowed least, and right where what is measured takes the same time each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was measured, a few times."""

    what: str
    samples: tuple[float, ...]
    unit: str = "s"
    """``s``, ``MB``, ``/s``, ``/min`` or ``×`` (a ratio)."""
    goal: float | None = None
    """The largest figure that is good enough; the smallest where ``more_is_better``."""
    more_is_better: bool = False
    how: str = ""
    """How it was taken, when the name does not say it."""
    cpu: tuple[float, ...] = ()
    """CPU seconds of the server in each sample; or, of a ratio, that of the CPU seconds."""
    by: By = "median"

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def figure(self) -> float:
        """What the row comes to."""
        return _figure(self.samples, self.by, more_is_better=self.more_is_better)

    @property
    def best(self) -> float:
        """The best of the samples."""
        return _figure(self.samples, "best", more_is_better=self.more_is_better)

    @property
    def cpu_figure(self) -> float | None:
        """The same of its CPU seconds; None where they were not taken."""
        if not self.cpu:
            return None
        return _figure(self.cpu, self.by)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.figure >= self.goal if self.more_is_better else self.figure <= self.goal

    def to_data(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return {
            "what": self.what,
            "unit": self.unit,
            "figure": round(self.figure, 3),
            "median": round(self.median, 3),
            "best": round(self.best, 3),
            "better": "more" if self.more_is_better else "less",
            "samples": [round(sample, 3) for sample in self.samples],
            "cpu": [round(sample, 3) for sample in self.cpu],
            "goal": self.goal,
            "met": self.is_met,
            "how": self.how,
        }


def ratio(
    what: str,
    above: Row,
    below: Row,
    *,
    goal: float | None = None,
    how: str = "",
    more_is_better: bool | None = None,
) -> Row:
    """Return the quotient of two rows' figures as a row; more is better where it is of ``above``.

    Only the figures are divided: samples of the two were not taken in pairs.
    """
    cpu_above, cpu_below = above.cpu_figure, below.cpu_figure
    return Row(
        what=what,
        samples=(above.figure / below.figure,),
        unit="×",
        goal=goal,
        how=how,
        more_is_better=above.more_is_better if more_is_better is None else more_is_better,
        cpu=(cpu_above / cpu_below,) if cpu_above is not None and cpu_below else (),
    )


def render(title: str, rows: Sequence[Row]) -> str:
    """Return ``rows`` as aligned plain text: figure, CPU, spread, goal, and how it was taken."""
    lines = [title]
    width = max((len(row.what) for row in rows), default=0)
    unit_width = max((len(row.unit) for row in rows), default=0)
    with_cpu = any(row.cpu for row in rows)
    for row in rows:
        spread = ""
        if len(row.samples) > 1:
            digits = _digits(max(row.samples))
            least, most = min(row.samples), max(row.samples)
            spread = f"{least:.{digits}f}–{most:.{digits}f}, n={len(row.samples)}"
        goal = ""
        if row.goal is not None:
            sign = "≥" if row.more_is_better else "≤"
            goal = f"goal {sign} {row.goal:g}: {'met' if row.is_met else 'NOT MET'}"
        number = f"{row.figure:8.{_digits(row.figure)}f} {row.unit:{unit_width}}"
        if with_cpu:
            cpu = "" if row.cpu_figure is None else f"CPU {row.cpu_figure:6.3f} {row.unit}"
            number += f"  {cpu:14}"
        lines.append(f"  {row.what:{width}}  {number}  {spread:20}  {goal:20}  {row.how}".rstrip())
    return "\n".join(lines)


def _figure(samples: Sequence[float], by: By, *, more_is_better: bool = False) -> float:
    if by == "median":
        return median(samples)
    return max(samples) if more_is_better else min(samples)


def _digits(figure: float) -> int:
    """Return how many digits after the point are worth reading."""
    return 0 if abs(figure) >= 1000 else 2
