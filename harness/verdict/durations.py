"""How long the phases of a run took, what is usual for them, and what the host withheld meanwhile.

``host.stalled`` tells how long the lab stood still for want of a CPU; ``run.budgeted`` how long
each phase took in earlier runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.phases import Phase
from harness.timeline import Event, named
from harness.verdict.phases import PhaseTracker, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """How much of a run's time the host took."""

    total_s: float
    stalled_s: float
    machine_wanted_s: float
    """CPU seconds that QEMU wanted while the lab was held up."""
    machine_had_s: float
    """CPU seconds that it got then."""

    @property
    def stretch(self) -> float:
        """How many times longer the run took for it."""
        return self.total_s / max(self.total_s - self.stalled_s, 0.01)

    @property
    def words(self) -> str:
        """All of it in half a sentence."""
        words = f"the lab stood still for {self.stalled_s:.0f} of {self.total_s:.0f} s"
        if self.machine_wanted_s >= 1:
            words += (
                f", when QEMU wanted {self.machine_wanted_s:.0f} s of CPU time and got"
                f" {self.machine_had_s:.0f} s"
            )
        return words


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """A phase that took longer than it usually does."""

    phase: Phase
    took_s: float
    """What it took without what the host held it up."""
    low_s: float
    high_s: float
    """What it usually takes."""
    runs: int
    """How many runs tell that; 0 when it is only a guess that is built in."""

    @property
    def words(self) -> str:
        """``kernel, initramfs: 31.0 s, usually 12–14 s``."""
        return f"{self.phase.words}: {self.took_s:.1f} s, usually {span(self.low_s, self.high_s)}"


def span(low_s: float, high_s: float) -> str:
    """Return ``12–14 s``; with a decimal where that says more."""
    digits = 1 if high_s < 10 else 0
    low, high = f"{low_s:.{digits}f}", f"{high_s:.{digits}f}"
    return f"{low} s" if low == high else f"{low}–{high} s"


def _began(events: Sequence[Event]) -> float:
    """Return when the machine began, or went on, in this run: what was before is another's."""
    begins = named(events, "machine.powered_on")[:1] + named(events, "lab.resumed")[-1:]
    return max((event.t for event in begins), default=0.0)


def stalls(events: Sequence[Event]) -> list[Event]:
    """Return the stalls of this run; what a checkpoint brought along was another's."""
    resumed = next((event.seq for event in reversed(events) if event.name == "lab.resumed"), 0)
    return [event for event in named(events, "host.stalled") if event.seq > resumed]


def how_busy(events: Sequence[Event]) -> Busy | None:
    """Return how busy the host was from power-on on; None when it let the lab run."""
    known = stalls(events)
    if not known:
        return None
    start = _began(events)
    return Busy(
        total_s=max(events[-1].t - start, 0.01),
        stalled_s=stalled_between(events, start, events[-1].t),
        machine_wanted_s=sum(
            float(e.get("machine_ran_s", 0)) + float(e.get("machine_waited_s", 0)) for e in known
        ),
        machine_had_s=sum(float(e.get("machine_ran_s", 0)) for e in known),
    )


def stalled_between(events: Sequence[Event], start: float, end: float) -> float:
    """Return the seconds lost between two moments on the run's clock."""
    lost = 0.0
    for event in stalls(events):
        duration = float(event["duration_s"])
        overlap = min(end, event.t) - max(start, event.t - duration)
        if overlap > 0 and duration > 0:
            lost += float(event["stalled_s"]) * min(1.0, overlap / duration)
    return lost


def own_durations(events: Sequence[Event], tracker: PhaseTracker) -> dict[str, float]:
    """Return seconds by phase, of phases that ended in this run; not of those before a resume."""
    return {one.phase.value: round(end - start, 3) for one, start, end in _own(events, tracker)}


def net_durations(events: Sequence[Event], tracker: PhaseTracker) -> dict[str, float]:
    """Return the same without what the host held them up."""
    return {
        one.phase.value: round(max(0.0, end - start - stalled_between(events, start, end)), 3)
        for one, start, end in _own(events, tracker)
    }


def _own(events: Sequence[Event], tracker: PhaseTracker) -> Iterator[tuple[Span, float, float]]:
    """Yield the phases that ended in this run, with start and end on the run's clock.

    A phase that a run from a checkpoint found under way begins there.
    """
    began = tracker.power_on_s or 0.0
    resumed = next((event.t for event in named(events, "lab.resumed")), -1.0)
    for one in tracker.spans:
        if one.phase is Phase.DONE or one.end_s is None or began + one.end_s <= resumed:
            continue
        yield one, max(began + one.start_s, resumed), began + one.end_s


def overruns(events: Sequence[Event], tracker: PhaseTracker) -> list[Overrun]:
    """Return the phases that took far longer than they usually do (``run.budgeted``)."""
    known = budgets(events, start_of(events))
    return [
        Overrun(
            phase=Phase(name),
            took_s=took_s,
            low_s=float(known[name]["low_s"]),
            high_s=float(known[name]["high_s"]),
            runs=int(known[name].get("runs", 0)),
        )
        for name, took_s in net_durations(events, tracker).items()
        if name in known and took_s > float(known[name]["most_s"])
    ]


def budgets(events: Sequence[Event], start: str) -> Mapping[str, Mapping[str, Any]]:
    """Return by phase what is usual in runs that begin at ``start`` (``run.budgeted``)."""
    found: Mapping[str, Mapping[str, Any]] = {}
    for event in named(events, "run.budgeted")[-1:]:
        found = event["phases"].get(start, {})
    return found


def start_of(events: Sequence[Event]) -> str:
    """Return where the run began: ``cold``, or the point of its checkpoint."""
    return next((str(event.get("point")) for event in named(events, "lab.resumed")), "cold")
