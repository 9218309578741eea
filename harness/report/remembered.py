"""What the history keeps of a run: one flat record, made from what a run folder tells."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

from harness import __version__
from harness.facts import machine_time
from harness.paths import source_root
from harness.scenario.item import Item
from harness.timeline import Event, named
from harness.verdict import PhaseTracker, Verdict
from harness.verdict.durations import how_busy, net_durations, own_durations


def record_of(
    item: Item,
    events: Sequence[Event],
    tracker: PhaseTracker,
    verdict: Verdict,
    *,
    outcome: str,
    duration_s: float,
) -> dict[str, Any]:
    """Return the record of a run; everything in it is plain JSON, and what is None left out.

    ``phases`` are seconds by phase, ``net`` the same without what a busy host held up, of phases
    that ended. What a run from a checkpoint did not do itself is in neither.
    """
    powered = tracker.machine
    calibrated = next(iter(reversed(named(events, "host.calibrated"))), None)
    resumed = next(iter(named(events, "lab.resumed")), None)
    busy = how_busy(events)
    on = machine_time(events)
    started = next(iter(named(events, "run.started")), None)
    record: dict[str, Any] = {
        "item": item.id,
        "source": str(item.source),
        "outcome": outcome,
        "reached": verdict.reached.value,
        "failed_in": verdict.failed_in.value if verdict.failed_in else None,
        "blame": verdict.blame.value if verdict.blame else None,
        "start": str(resumed.get("point")) if resumed else "cold",
        "accel": str(powered.get("accel")) if powered else item.accel,
        "profile": item.profile,
        "firmware": item.firmware,
        "stack": item.stack,
        "seed": item.seed if item.faults else None,
        "total_s": round(duration_s, 3),
        "phases": own_durations(events, tracker),
        "net": net_durations(events, tracker),
        "stalled_s": round(busy.stalled_s, 3) if busy else 0.0,
        "idle_s": round(on.idle_s, 3) if on else None,
        "cpu_ratio": calibrated.get("cpu_ratio") if calibrated else None,
        "factor": calibrated.get("factor") if calibrated else None,
        "hook": (item.hook.initramfs_sha256 or "")[:12] or None,
        "version": str(started.get("version")) if started else None,
        "began": str(started.get("wall")) if started else None,
    }
    return {key: value for key, value in record.items() if value is not None}


def code_version() -> str:
    """Return the commit of this checkout, or the release that is installed."""
    try:
        found = subprocess.run(
            ["git", "-C", str(source_root()), "rev-parse", "--short=10", "HEAD"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return __version__
    return found.stdout.strip() or __version__
