"""What tells two runs apart: how long each phase took, and the first event only one of them has.

Runs repeat themselves in other words each time: ports, identifiers, times, a request sent once
more. So events are compared by what they say, each the first time it is said, source by source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.facts import state_of
from harness.phases import Phase
from harness.report.record import RunRecord
from harness.timeline import Event

_TELLING: Final = (
    "stage", "address", "file", "path", "method", "status", "rpc", "code", "text", "action",
    "repository", "reference", "service", "reason", "pattern", "name", "type", "rcode", "scheme",
    "outcome", "disk", "matched",
)  # fmt: skip
_PASSED_OVER: Final = (
    "console.line.seen", "syslog.message.received", "qmp.event.seen", "run.started",
    "capture.started", "capture.stopped", "lab.started", "lab.stopped", "service.started",
    "service.stopped", "segment.created", "machine.powered_on", "machine.exited",
    "tftp.oack.sent",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDifference:
    """One phase in two runs; None where it was not reached."""

    phase: Phase
    first_s: float | None
    second_s: float | None

    @property
    def more_s(self) -> float | None:
        """How much longer it took in the second run."""
        if self.first_s is None or self.second_s is None:
            return None
        return self.second_s - self.first_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverging:
    """The first thing that only one of two runs has."""

    first: Event | None
    """In the first run; None when that one has nothing more of this source."""
    second: Event | None
    before: Event | None
    """What both have just before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Two runs, compared."""

    phases: tuple[PhaseDifference, ...]
    diverging: Diverging | None
    """None: both say the same from beginning to end."""


def compare(first: RunRecord, second: RunRecord) -> Differences:
    """Return what tells ``second`` from ``first``."""
    a, b = first.tracker.durations(), second.tracker.durations()
    return Differences(
        phases=tuple(
            PhaseDifference(phase=phase, first_s=a.get(phase.value), second_s=b.get(phase.value))
            for phase in Phase
            if phase.value in a or phase.value in b
        ),
        diverging=_diverging(first, second),
    )


def _diverging(first: RunRecord, second: RunRecord) -> Diverging | None:
    told = [_told(first.events), _told(second.events)]
    starts = [run.tracker.power_on_s or 0.0 for run in (first, second)]
    found: list[tuple[float, Diverging]] = []
    for source in sorted(told[0].keys() | told[1].keys()):
        one, two = (each.get(source, {}) for each in told)
        keys, others = list(one), list(two)
        same = next(
            (n for n, (a, b) in enumerate(zip(keys, others, strict=False)) if a != b),
            min(len(keys), len(others)),
        )
        if same == len(keys) == len(others):
            continue
        a_event = one[keys[same]] if same < len(keys) else None
        b_event = two[others[same]] if same < len(others) else None
        at = min(
            event.t - start
            for event, start in zip((a_event, b_event), starts, strict=True)
            if event is not None
        )
        before = one[keys[same - 1]] if same else None
        found.append((at, Diverging(first=a_event, second=b_event, before=before)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _told(events: Sequence[Event]) -> dict[str, dict[tuple[str, ...], Event]]:
    """Return, by source, each thing that was said and the event that said it first."""
    told: dict[str, dict[tuple[str, ...], Event]] = {}
    for event in events:
        if event.name in _PASSED_OVER or event.name.endswith(".progressed"):
            continue
        said = tuple(f"{name}={event.get(name)}" for name in _TELLING if event.get(name))
        key = (event.name, *said, state_of(event) if event.get("state") else "")
        told.setdefault(event.source, {}).setdefault(key, event)
    return told
