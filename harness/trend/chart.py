"""One series as a small inline SVG: every run a point, median and band, and where it stepped.

Colours are CSS classes of the page, so that it follows the reader's light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from statistics import median
from typing import Final

from harness.trend.series import Point, Series, tenths
from harness.trend.table import figure

WIDTH: Final = 300
HEIGHT: Final = 132
_LEFT: Final = 36
_RIGHT: Final = 8
_TOP: Final = 8
_FOOT: Final = 18
_TICKS: Final = 4
_HELD_UP: Final = 0.1
"""The share of a run that a busy host must have taken for its point to be hollow."""


class _Scale:
    """From runs and figures to the picture's coordinates."""

    def __init__(self, values: Sequence[float], parts: Sequence[Sequence[float]]) -> None:
        low = min(values)
        # A stray would press all others flat: it is drawn at the edge.
        bands = [tenths(part) for part in parts]
        top, bottom = max(b[1] for b in bands), min(b[0] for b in bands)
        high = min(max(values), top + max(2.0 * (top - bottom), 0.1 * abs(top)))
        room = max(high - low, 0.15 * abs(high), 1e-6)
        # A scale that begins at 0 tells more, where the figures leave it any choice.
        low = 0.0 if low < 1.2 * room else low - 0.25 * room
        self.step = _nice(max(high + 0.12 * room - low, 1e-6) / _TICKS)
        self.low = math.floor(low / self.step) * self.step
        self.high = max(high + 0.08 * room, self.low + self.step)
        self._count = len(values)

    def x(self, index: float) -> float:
        """Return where run number ``index`` is; halves are between two."""
        room = WIDTH - _LEFT - _RIGHT
        return _LEFT + room * (index + 0.5) / max(self._count, 1)

    def y(self, value: float) -> float:
        """Return where a figure is, or the edge when it lies beyond."""
        share = min(1.0, (value - self.low) / (self.high - self.low))
        return HEIGHT - _FOOT - share * (HEIGHT - _FOOT - _TOP)

    def ticks(self) -> Iterator[float]:
        """Yield round figures from bottom to top."""
        value = self.low
        while value <= self.high + 1e-9:
            yield value
            value += self.step


def _nice(step: float) -> float:
    """Return the next larger of 1, 2, 2.5, 5 × 10ⁿ."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= step - 1e-12)


def _short(value: float) -> str:
    """Return a round figure in few letters: ``0.25``, ``1500``, ``52.5k``, ``1.2M``."""
    for least, factor, unit in ((1e7, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / factor:.6g}{unit}"
    return f"{value:g}"


def draw(series: Series) -> str:
    """Return an ``<svg>`` of a series; it must have figures."""
    shift = series.shift
    levels = [series.values]
    if shift:
        levels = [series.values[: shift.index], series.values[shift.index :]]
    scale = _Scale(series.values, levels)
    label = f"{series.words}: {len(series.points)} runs, median {figure(series.median)}"
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)} {escape(series.unit)}">'
    ]
    parts += _grid(scale, series.points)
    tone = "worse" if series.regressed else "better" if series.improved else "all"
    parts += _level(scale, levels[0], 0, "all")
    if shift:
        parts += _level(scale, levels[1], shift.index, tone)
        x = scale.x(shift.index - 0.5)
        parts.append(
            f'<line class="step {tone}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" '
            f'y2="{HEIGHT - _FOOT}"/>'
        )
    radius = 2.8 if len(series.points) <= 60 else 1.8
    for index, point in enumerate(series.points):
        behind = tone if shift is not None and index >= shift.index else "all"
        parts.append(_dot(scale, index, point, series.unit, behind, radius))
    return "".join([*parts, "</svg>"])


def _grid(scale: _Scale, points: Sequence[Point]) -> Iterator[str]:
    for tick in scale.ticks():
        y = scale.y(tick)
        yield f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick-y" x="{_LEFT - 5}" y="{y + 3.5:.1f}">{_short(tick)}</text>'
    first, last = points[0].at, points[-1].at
    same = first.date() == last.date()
    form = "%H:%M" if same else "%-d %b"
    y = HEIGHT - 4
    yield f'<text class="tick-x" x="{_LEFT}" y="{y}">{first:{form}}</text>'
    if len(points) > 1:
        text = f'<text class="tick-x end" x="{WIDTH - _RIGHT}" y="{y}">{last:{form}}</text>'
        yield text


def _level(scale: _Scale, values: Sequence[float], start: int, tone: str) -> Iterator[str]:
    """Yield the band that eight of ten lie in, and the median."""
    low, high = tenths(values)
    left, right = scale.x(start - 0.5), scale.x(start + len(values) - 0.5)
    top = scale.y(high)
    yield (
        f'<rect class="range {tone}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{max(scale.y(low) - top, 1):.1f}" rx="2"/>'
    )
    y = scale.y(median(values))
    ends = f'x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
    yield f'<line class="median {tone}" {ends}/>'


def _dot(scale: _Scale, index: int, point: Point, unit: str, tone: str, radius: float) -> str:
    held = point.stalled_s >= _HELD_UP * max(point.value, 1)
    words = [f"{figure(point.value)} {unit}", f"{point.at:%-d %b %Y %H:%M}", point.code, point.run]
    if held:
        words.append(f"a busy host held the run up for {point.stalled_s:.0f} s, which are left out")
    title = f"<title>{escape(' · '.join(word for word in words if word))}</title>"
    look = f'class="dot {tone}{" held" if held else ""}"'
    x, y = scale.x(index), scale.y(point.value)
    if point.value > scale.high:
        return f'<path {look} d="M{x:.1f} {_TOP - 6}l4.5 7h-9z">{title}</path>'
    return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>'
