"""What the computer under the lab has to do with how a run went.

``host.stalled`` tells how long the lab stood still for want of a CPU. Deadlines and the watch's
waits are stretched by that while a run goes on; what has its own clock in the guest is not. So a
run that did not end as it should is the host's when the host withheld most of the CPU for as long
as such clocks run, where it failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from harness.phases import Party
from harness.timeline import Event, named
from harness.verdict.durations import how_busy, stalled_between, stalls
from harness.verdict.judge import Verdict
from harness.verdict.phases import PhaseTracker

_WINDOW_S: Final = 20.0
"""Dhcpcd gives up after 30 s, which take 2 to 3 s of work, docker's proxies and gRPC after 20."""
_WITHHELD: Final = 2 / 3
"""The share of a window that must be lost: everything took three times as long, or longer."""
_MOST_EVIDENCE: Final = 10


def blame_host(events: Sequence[Event], tracker: PhaseTracker, verdict: Verdict) -> Verdict | None:
    """Return the verdict on a run that is not as it should be, when that is the host's doing.

    None when the host let the lab work: what went wrong is what was tested. None also for a boot
    that went all the way, and should not have or not like that: slowness makes nothing succeed. And
    None where an answer proves what went wrong: a 404 is one on every host.
    """
    if verdict.conclusive:
        return None
    if named(events, "host.too_slow"):
        return verdict if verdict.blame is Party.HOST else None
    if verdict.failed_in is None:
        return None
    start, end = _where_it_failed(events, tracker, verdict)
    since = [event for event in stalls(events) if event.t > start]
    starved = [
        event
        for event in since
        if event.t <= end + _WINDOW_S
        and stalled_between(events, event.t - _WINDOW_S, event.t) >= _WITHHELD * _WINDOW_S
    ]
    busy = how_busy(events)
    if not starved or busy is None:
        return None
    return replace(
        verdict,
        blame=Party.HOST,
        because=(
            f"the host withheld the CPU in {verdict.failed_in.words}: {busy.words}; what waits by"
            f" the machine's own clock may have given up (seen: {verdict.because})"
        ),
        evidence=tuple(event.seq for event in since[-_MOST_EVIDENCE:]),
        hint="run it again on a host that is less busy, or fewer labs at once",
    )


def _where_it_failed(
    events: Sequence[Event], tracker: PhaseTracker, verdict: Verdict
) -> tuple[float, float]:
    """Return when the phase that failed began and ended; of a run without phases all of it."""
    began = tracker.power_on_s or 0.0
    last = events[-1].t if events else 0.0
    decided = next((event.t for event in named(events, "run.decided", "dossier.begun")), last)
    here = tracker.span
    if here is None or here.phase is not verdict.failed_in:
        return began, decided
    return began + here.start_s, decided
