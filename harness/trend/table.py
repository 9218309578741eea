"""Trends as plain text: a line a phase, with its spread, its course and its step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.report.text import Style
from harness.trend.series import TOGETHER, Group, Series

_BARS: Final = "▁▂▃▄▅▆▇█"
_COURSE: Final = 24
"""How many of the latest figures are drawn."""
_FEWEST: Final = 3


def render(groups: Sequence[Group], style: Style) -> str:
    """Return all groups as text; what was timed once or twice shows no trend and gets a line."""
    shown = [group for group in groups if group.kind.bench or group.timed >= _FEWEST]
    width = max((len(one.words) for group in shown for one in group.shown), default=0)
    parts = [_group(group, width, style) for group in shown]
    few = [_few(group) for group in groups if group not in shown]
    if few:
        head = style.bold("too few runs for a trend") if shown else style.bold("too few runs yet")
        parts.append("\n".join([head, *few]))
    return "\n\n".join(parts)


def _few(group: Group) -> str:
    together = group.series.get(TOGETHER)
    took = f"{figure(together.median)} s" if together and together.points else "not timed"
    return f"  {group.kind.item:<44}  {took:>9}   {group.kind.how}   {_outcomes(group)}"


def _outcomes(group: Group) -> str:
    return ", ".join(f"{count} {name}" for name, count in group.outcomes.items())


def summary(groups: Sequence[Group]) -> str:
    """Return ``40 runs of 3 scenarios: 1 phase became slower``."""
    runs = [group for group in groups if not group.kind.bench]
    marks = [group for group in groups if group.kind.bench]
    told, worse = [], []
    if runs or not marks:
        items = len({group.kind.item for group in runs})
        told.append(f"{_count(sum(g.runs for g in runs), 'run')} of {_count(items, 'scenario')}")
    if marks:
        told.append(_count(sum(len(group.shown) for group in marks), "benchmark"))
    for kind, word, verb in ((runs, "phase", "slower"), (marks, "benchmark", "worse")):
        if count := sum(len(group.regressions) for group in kind):
            worse.append(f"{_count(count, word)} became {verb}")
    return f"{', '.join(told)}: {', '.join(worse) or 'none became slower'}"


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _group(group: Group, width: int, style: Style) -> str:
    what = f"{group.kind.how}   {_count(group.runs, 'run')}: {_outcomes(group)}"
    head = style.bold(group.kind.item)
    lines = [head if group.kind.bench else f"{head}   {what}"]
    return "\n".join([*lines, *(_series(one, width, style) for one in group.shown)])


def _series(one: Series, width: int, style: Style) -> str:
    spread = style.dim(f"{f'{figure(one.low)}–{figure(one.high)}':<13}")
    line = (
        f"  {one.words:<{width}}  {figure(one.median):>6} {one.unit:<2}  {spread}"
        f"  {course(one.values[-_COURSE:]):<{_COURSE}}"
    )
    step = step_words(one)
    if not step:
        return line.rstrip()
    return f"{line}  {style.bad(step) if one.regressed else style.good(step)}"


def step_words(one: Series) -> str:
    """Return ``slower: 19.2 → 26.3 s (× 1.37) since 21 Nov 19:40 (9b63b43)``; nothing without."""
    shift, since = one.shift, one.since()
    if shift is None or since is None:
        return ""
    faster, slower = ("faster", "slower") if one.unit == "s" else ("better", "worse")
    word = slower if one.regressed else faster
    code = f" ({since.code})" if since.code else ""
    return (
        f"{word}: {figure(shift.before)} → {figure(shift.after)} {one.unit}"
        f" (× {shift.ratio:.2f}) since {since.at:%-d %b %H:%M}{code}"
    )


def figure(value: float) -> str:
    """Return a figure with as many decimals as say something."""
    size = abs(value)
    return f"{value:.2f}" if size < 1 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"


def course(values: Sequence[float]) -> str:
    """Return a bar a figure, the lowest the smallest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    room = max(high - low, 0.1 * abs(high), 1e-9)
    return "".join(_BARS[min(7, int((value - low) / room * 7.999))] for value in values)
