"""The picture of a boot: time to the right, a lane for each part, as one inline SVG.

Colours are CSS classes of the page, so that it follows the reader's light or dark. What is too
short for its name keeps it as a tooltip, and marks that would cover each other are drawn as one:
the picture's size does not grow with the timeline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from harness.phases import Phase
from harness.report.lanes import FAULTS, LANES, Bar, Drawing, Mark, draw
from harness.timeline import Event
from harness.verdict import PhaseTracker

_LEFT: Final = 96
_RIGHT: Final = 16
_RIBBON: Final = 26
_TOP: Final = 36
_LANE: Final = 34
_BAR: Final = 20
_FOOT: Final = 26
_CHARACTER: Final = 6.3
"""Width of a character of a bar's text, about."""
_APART: Final = 6.0
"""Marks closer than this are drawn as one."""
_MOST_NOTES: Final = 8
_LONGEST_NOTE: Final = 160
_MOST_PROOF: Final = 6


def boot_picture(
    events: Sequence[Event],
    tracker: PhaseTracker,
    *,
    proof: Sequence[int] = (),
    width: int = 1160,
) -> str:
    """Return an ``<svg>`` of the boot, empty when the machine was never powered on.

    ``proof`` has the numbers of the events that prove the verdict; the picture points at them.
    """
    if tracker.power_on_s is None:
        return ""
    done = next((span for span in tracker.spans if span.phase is Phase.DONE), None)
    end_s = max(0.1, done.start_s if done else tracker.last_s)
    drawing = draw(events, tracker, end_s)
    lanes = [*LANES, *([FAULTS] if any(m.lane == FAULTS for m in drawing.marks) else [])]
    height = _TOP + _LANE * len(lanes) + _FOOT
    scale = (width - _LEFT - _RIGHT) / end_s
    parts = [
        f'<svg class="boot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="The boot on a time line of {end_s:.1f} seconds">'
    ]
    parts += _ribbon(tracker, end_s, scale, height)
    parts += _axis(end_s, scale, height)
    for number, lane in enumerate(lanes):
        parts += _lane(number, lane, drawing, width)
    parts += _proof(events, proof, drawing, scale, height)
    for number, lane in enumerate(lanes):
        middle = _TOP + number * _LANE + _LANE / 2
        bars = [bar for bar in drawing.bars if bar.lane == lane]
        parts += _bars(bars, middle, scale, end_s)
        marks = [mark for mark in drawing.marks if mark.lane == lane]
        if lane == FAULTS:
            parts += _faults(marks, middle, scale, end_s)
        else:
            parts += _marks(marks, middle, scale, end_s, [bar for bar in bars if bar.text])
    parts.append("</svg>")
    return "\n".join(parts)


def _ribbon(tracker: PhaseTracker, end_s: float, scale: float, height: int) -> list[str]:
    """Draw the phases: a band each, named above when there is room."""
    parts = []
    for number, span in enumerate(tracker.spans):
        if span.phase is Phase.DONE:
            continue
        end = end_s if span.end_s is None else min(span.end_s, end_s)
        x, wide = _LEFT + span.start_s * scale, max(0.0, (end - span.start_s) * scale)
        failed = " failed" if span.end_s is None else ""
        shade = "even" if number % 2 == 0 else "odd"
        took = f"{end - span.start_s:.1f} s"
        title = f"{span.phase.words}: {took}"
        parts.append(
            f'<g class="band {shade}{failed}"><title>{escape(title)}</title>'
            f'<rect x="{x:.1f}" y="0" width="{wide:.1f}" height="{height - _FOOT}"/>'
            f'<rect class="ribbon" x="{x + 0.5:.1f}" y="0" width="{max(0.5, wide - 1):.1f}" '
            f'height="{_RIBBON}" rx="3"/></g>'
        )
        words = span.phase.words
        room = (wide - 10) / _CHARACTER
        if room > len(words):
            more = f'<tspan class="took" dx="6">{took}</tspan>'
            more = more if room > len(words) + len(took) + 2 else ""
            parts.append(
                f'<text class="phase{failed}" x="{x + 6:.1f}" y="17.5">{escape(words)}{more}</text>'
            )
    return parts


def _axis(end_s: float, scale: float, height: int) -> list[str]:
    step = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if end_s / s <= 14), 600)
    parts = []
    for second in range(0, int(end_s) + 1, step):
        x = _LEFT + second * scale
        parts.append(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - _FOOT}"/>'
            f'<text class="time" x="{x:.1f}" y="{height - 8}">{second} s</text>'
        )
    return parts


def _lane(number: int, lane: str, drawing: Drawing, width: int) -> list[str]:
    """Draw a lane's name, and for how long there was something in it."""
    y = _TOP + number * _LANE
    busy = _busy_s([bar for bar in drawing.bars if bar.lane == lane and bar.kind != "thin"])
    quiet = "" if busy or any(mark.lane == lane for mark in drawing.marks) else " quiet"
    parts = [
        f'<line class="rule" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y}" y2="{y}"/>',
        f'<text class="lane{quiet}" x="{_LEFT - 12}" y="{y + (16 if busy >= 0.05 else 21)}">'
        f"{lane}</text>",
    ]
    if busy >= 0.05:
        parts.append(f'<text class="busy" x="{_LEFT - 12}" y="{y + 28}">{busy:.1f} s</text>')
    return parts


def _busy_s(bars: Iterable[Bar]) -> float:
    """Return the seconds that bars cover together."""
    total = reached = 0.0
    for bar in sorted(bars, key=lambda bar: bar.start_s):
        total += max(0.0, bar.end_s - max(bar.start_s, reached))
        reached = max(reached, bar.end_s)
    return total


def _bars(bars: list[Bar], middle: float, scale: float, end_s: float) -> list[str]:
    ordered = sorted(bars, key=lambda bar: (bar.kind != "thin", bar.start_s))
    starts = sorted(bar.start_s for bar in bars if bar.kind != "thin")
    parts: list[str] = []
    slots: set[tuple[int, int, str]] = set()
    free = 0.0
    for bar in ordered:
        start, end = min(bar.start_s, end_s), min(bar.end_s, end_s)
        x, wide = _LEFT + start * scale, max(2.0, (end - start) * scale)
        slot = (int(x), int(x + wide), bar.kind)
        if slot in slots:
            continue
        slots.add(slot)
        later = next((s for s in starts if s > bar.start_s + 1e-6), end_s)
        beside = _LEFT + min(later, end_s) * scale - (x + wide)
        text, free = _bar(bar, middle, x, wide, beside if x >= free else 0.0)
        parts.append(text)
    return parts


def _bar(bar: Bar, middle: float, x: float, wide: float, beside: float) -> tuple[str, float]:
    """Return a bar, and where the next one's name may begin."""
    seconds = f"{bar.end_s - bar.start_s:.1f} s"
    note = _cut(" · ".join(part for part in (bar.text, seconds, bar.note) if part))
    tall = 6 if bar.kind == "thin" else _BAR
    shape = (
        f'<g class="bar {bar.kind}"><title>{escape(note)}</title>'
        f'<rect x="{x:.1f}" y="{middle - tall / 2:.0f}" width="{wide:.1f}" height="{tall}" rx="3"/>'
    )
    reached = x + wide
    room = int((wide - 8) / _CHARACTER)
    if bar.text and room > 4 and (len(bar.text) <= room or room >= 12):
        text = bar.text if len(bar.text) <= room else f"{bar.text[: room - 1]}…"
        shape += f'<text x="{x + 5:.1f}" y="{middle + 4:.0f}">{escape(text)}</text>'
    elif bar.text and beside > (len(bar.text) + 1) * _CHARACTER:
        reached += (len(bar.text) + 1) * _CHARACTER
        shape += (
            f'<text class="beside" x="{x + wide + 5:.1f}" y="{middle + 4:.0f}">'
            f"{escape(bar.text)}</text>"
        )
    return shape + "</g>", reached


def _groups(marks: list[Mark], scale: float, end_s: float, apart: float) -> list[list[Mark]]:
    """Return marks of one kind that stand so close that they are one on the picture."""
    groups: dict[str, list[list[Mark]]] = {}
    for mark in sorted(marks, key=lambda mark: mark.at_s):
        same = groups.setdefault(mark.kind, [])
        if same and (min(mark.at_s, end_s) - min(same[-1][0].at_s, end_s)) * scale < apart:
            same[-1].append(mark)
        else:
            same.append([mark])
    return [group for same in groups.values() for group in same]


def _notes(group: list[Mark]) -> str:
    lines = [f"{mark.at_s:.2f} s  {_cut(mark.note)}" for mark in group[:_MOST_NOTES]]
    if len(group) > _MOST_NOTES:
        lines.append(f"… and {len(group) - _MOST_NOTES} more")
    return escape("\n".join(lines))


def _marks(
    marks: list[Mark], middle: float, scale: float, end_s: float, bars: list[Bar]
) -> list[str]:
    """Draw marks in the middle of a lane; failures on a bar at its edge, for its name's sake."""
    parts = []
    ranks = {"soft": 0, "work": 1, "bad": 2}
    groups = _groups(marks, scale, end_s, _APART)
    for group in sorted(groups, key=lambda group: ranks.get(group[0].kind, 0)):
        kind = group[0].kind
        x = _LEFT + min(group[0].at_s, end_s) * scale
        radius = 4.5 if kind == "bad" else 2.5
        at_s = group[0].at_s
        covered = kind == "bad" and any(bar.start_s <= at_s <= bar.end_s for bar in bars)
        y = middle + _BAR / 2 if covered else middle
        parts.append(
            f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.0f}" r="{radius}">'
            f"<title>{_notes(group)}</title></circle>"
        )
    return parts


def _faults(marks: list[Mark], middle: float, scale: float, end_s: float) -> list[str]:
    """Draw where injected faults struck: a numbered badge, and a line through all lanes."""
    parts = []
    for group in _groups(marks, scale, end_s, 18.0):
        number = group[0].kind
        x = _LEFT + min(group[0].at_s, end_s) * scale
        times = f"×{len(group)}" if len(group) > 1 else ""
        parts.append(
            f'<g class="fault"><title>{_notes(group)}</title>'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{middle - 9:.0f}"/>'
            f'<path d="M{x:.1f} {middle - 10:.0f}l9 10l-9 10l-9 -10z"/>'
            f'<text x="{x:.1f}" y="{middle + 4:.0f}">{escape(number)}</text></g>'
        )
        if times:
            parts.append(
                f'<text class="times" x="{x + 11:.1f}" y="{middle + 14:.0f}">{times}</text>'
            )
    return parts


def _proof(
    events: Sequence[Event], proof: Sequence[int], drawing: Drawing, scale: float, height: int
) -> list[str]:
    """Point at the events that prove a failure."""
    wanted = set(proof)
    found = [event for event in events if event.seq in wanted and event.t >= drawing.origin_s]
    marks = [
        Mark(lane="", at_s=drawing.at(event), note=f"proof: event {event.seq}, {event.name}")
        for event in found
    ]
    parts = []
    for group in _groups(marks, scale, drawing.end_s, _APART)[:_MOST_PROOF]:
        x = _LEFT + min(group[0].at_s, drawing.end_s) * scale
        parts.append(
            f'<g class="proof"><title>{_notes(group)}</title>'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_RIBBON}" y2="{height - _FOOT}"/>'
            f'<path d="M{x - 5:.1f} {_RIBBON}h10l-5 8z"/></g>'
        )
    return parts


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_NOTE else f"{text[: _LONGEST_NOTE - 1]}…"
