"""Trends as one self-contained page: small multiples, readable without network or JavaScript."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.phases import Phase
from harness.trend.chart import draw
from harness.trend.series import TOGETHER, Group, Series
from harness.trend.table import figure, summary

if TYPE_CHECKING:
    from jinja2 import Environment

_OPEN: Final = 6
"""So many groups are shown at once; the rest opens, unless something became slower there."""
_HERE: Final = Path(__file__).parent


def page(groups: Sequence[Group], *, source: str) -> str:
    """Return the page. ``source`` says where the runs come from."""
    from markupsafe import Markup

    moved = [_moved(group, one) for group in groups for one in _steps(group)]
    return (
        _templates()
        .get_template("trend.html.j2")
        .render(
            summary=summary(groups),
            source=source,
            span=_span(groups),
            tone="failed" if any(group.regressions for group in groups) else "passed",
            moved=sorted(moved, key=lambda one: (not one["worse"], -abs(one["ratio"] - 1))),
            groups=[_shown(group, n, Markup) for n, group in enumerate(groups)],
            legend=[(number, Phase(name).words) for name, number in _NUMBERS.items()],
        )
    )


_NUMBERS: Final = {
    phase.value: number
    for number, phase in enumerate(Phase)
    if phase not in (Phase.POWER_ON, Phase.DONE)
}


def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent / "report"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _steps(group: Group) -> list[Series]:
    """Return the series with a step; all together only where no phase alone has one."""
    found = [one for one in group.shown if one.shift is not None]
    return [one for one in found if one.name != TOGETHER] or found


def _anchor(group: Group) -> str:
    kind = group.kind
    words = "-".join((kind.item, kind.start, kind.accel, kind.profile))
    return "".join(c if c.isalnum() else "-" for c in words).strip("-")


def _moved(group: Group, one: Series) -> dict[str, Any]:
    shift, since = one.shift, one.since()
    assert shift is not None
    assert since is not None
    return {
        "item": group.kind.item,
        "how": group.kind.how,
        "anchor": _anchor(group),
        "name": one.words,
        "worse": one.regressed,
        "before": f"{figure(shift.before)} {one.unit}",
        "after": f"{figure(shift.after)} {one.unit}",
        "ratio": shift.ratio,
        "since": f"{since.at:%-d %b %Y %H:%M}",
        "code": since.code,
    }


def _shown(group: Group, place: int, markup: Any) -> dict[str, Any]:
    return {
        "kind": group.kind,
        "anchor": _anchor(group),
        "runs": group.runs,
        "outcomes": [(name, count, _chip(name)) for name, count in group.outcomes.items()],
        "open": (place < _OPEN and group.timed > 1) or bool(group.regressions),
        "strip": _strip(group),
        "charts": [
            {
                "name": one.words,
                "median": figure(one.shift.after if one.shift else one.median),
                "unit": one.unit,
                "spread": f"was {figure(one.shift.before)} {one.unit}"
                if one.shift
                else f"{figure(one.low)}–{figure(one.high)}",
                "tone": "worse" if one.regressed else "better" if one.improved else "",
                "step": _step(one),
                "number": _NUMBERS.get(one.name, 0),
                "svg": markup(draw(one)),
            }
            for one in group.shown
        ],
    }


def _step(one: Series) -> str:
    """Return ``× 1.40 since 6 Nov``, nothing without a step."""
    since = one.since()
    if one.shift is None or since is None:
        return ""
    arrow = "▲" if one.shift.rose else "▼"
    return f"{arrow} × {one.shift.ratio:.2f} since {since.at:%-d %b}"


def _chip(outcome: str) -> str:
    return {"passed": "ok", "failed": "bad", "error": "bad"}.get(outcome, "warn")


def _strip(group: Group) -> list[dict[str, Any]]:
    """Return each phase's share of a typical run."""
    typical = [(one, one.median) for one in group.shown if one.name != TOGETHER]
    whole = sum(seconds for _, seconds in typical)
    if group.kind.bench or whole <= 0:
        return []
    return [
        {
            "number": _NUMBERS.get(one.name, 0),
            "share": 100 * seconds / whole,
            "title": f"{one.words}: {figure(seconds)} s, {seconds / whole:.0%}",
            "words": one.words if seconds / whole > 0.11 else "",
        }
        for one, seconds in typical
    ]


def _span(groups: Sequence[Group]) -> str:
    moments = [point.at for group in groups for one in group.shown for point in one.points]
    if not moments:
        return ""
    first, last = min(moments), max(moments)
    if first.date() == last.date():
        return f"{first:%-d %B %Y}, {first:%H:%M} to {last:%H:%M} UTC"
    return f"{first:%-d %B %Y} to {last:%-d %B %Y}"
