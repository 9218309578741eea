"""Run one item in a sealed process tree, and judge what it left behind.

The sealed child (``harness.sealed``) does the work and writes the timeline; this side passes its
events on as they come, and afterwards computes verdict and report from them alone, so that a run
which was cut off still gets both.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from harness.brief import brief_of, write_brief
from harness.clock import Deadline
from harness.errors import SetupFailed
from harness.scenario.expectations import Outcome as Finding
from harness.scenario.expectations import check_expectations, check_verdict
from harness.scenario.item import LOCK_NAME, Item
from harness.scenario.lock import write_lock
from harness.seal import SealedProcess, seal
from harness.timeline import Event, named
from harness.verdict import PhaseTracker, Verdict, judge, track

Listener = Callable[[Event], None]

_STOP_WITHIN: Final = timedelta(seconds=10)
"""How long a lab may take to stop before its tree is killed."""


class Outcome(StrEnum):
    """How a run ended, seen from its scenario."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """The lab itself went wrong: nothing is known about the machine."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to."""

    item: Item
    outcome: Outcome
    verdict: Verdict
    tracker: PhaseTracker
    findings: tuple[Finding, ...]
    """Every expectation, met or not."""
    differences: tuple[str, ...]
    """How the verdict differs from the one the scenario expects; empty when it does not."""
    error: str | None
    """What went wrong with the lab itself."""
    duration_s: float
    run_dir: Path
    events: tuple[Event, ...]

    @property
    def passed(self) -> bool:
        """Whether the run ended as its scenario says."""
        return self.outcome is Outcome.PASSED

    def to_data(self) -> dict[str, Any]:
        """Return the result in the form of ``--json``."""
        unmet = [
            f"{finding.expectation}: expected {finding.expected}, found {finding.found}"
            for finding in self.findings
            if not finding.met
        ]
        failures = [*([self.error] if self.error else []), *self.differences, *unmet]
        return {
            "scenario": self.item.id,
            "outcome": self.outcome.value,
            "verdict": self.verdict.to_data(),
            "durations": {**self.tracker.durations(), "total": round(self.duration_s, 3)},
            "run_dir": str(self.run_dir),
            "failures": failures,
        }


async def run_item(item: Item, *, runs: Path, listener: Listener | None = None) -> RunResult:
    """Run ``item`` in a new folder below ``runs`` and return what it came to.

    ``listener`` gets every event as it happens. When this is cancelled, the lab is stopped
    cleanly, the run folder completed, and ``CancelledError`` raised on. Raises ``SetupFailed``
    when the sealed child could not begin, and ``OSError`` when the run folder can't be written.
    """
    started_s = time.monotonic()
    run_dir = new_run_dir(runs, item)
    write_lock(item, run_dir / LOCK_NAME)
    events: list[Event] = []

    def on_line(line: str) -> None:
        try:
            event = Event.from_json(line)
        except ValueError:
            return  # a library that prints; the timeline file has only events
        events.append(event)
        if listener:
            listener(event)

    brief = write_brief(brief_of(item, origin_s=started_s))
    try:
        argv = [sys.executable, "-m", "harness.sealed", str(run_dir), str(brief)]
        process = await seal(argv, run_dir=run_dir, on_line=on_line, pass_fds=[brief])
    finally:
        os.close(brief)
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        await _stop(process)
        conclude(item, events, run_dir, time.monotonic() - started_s, interrupted=True)
        raise
    if not events or not named(events, "run.finished", "lab.failed"):
        words = process.last_words()
        raise SetupFailed(
            f"the lab ended with status {status} before the run did"
            + (f":\n{words}" if words else ""),
            hint=f"see {run_dir / 'lab.log'}",
        )
    return conclude(item, events, run_dir, time.monotonic() - started_s)


async def _stop(process: SealedProcess) -> None:
    """Stop the lab even while this task is being cancelled once more."""
    stopping = asyncio.ensure_future(  # noqa: TID251 - awaited right here
        process.stop(Deadline.after(_STOP_WITHIN))
    )
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        process.kill()
        await stopping


def conclude(
    item: Item,
    events: list[Event],
    run_dir: Path,
    duration_s: float,
    *,
    interrupted: bool = False,
) -> RunResult:
    """Judge ``events`` and write ``verdict.json`` and ``report.html`` into ``run_dir``."""
    tracker = track(events)
    verdict = judge(events, tracker)
    findings = check_expectations(item, events)
    differences = check_verdict(
        item,
        failed_in=verdict.failed_in.value if verdict.failed_in else None,
        blame=verdict.blame.value if verdict.blame else None,
        because=verdict.because,
    )
    error = next((str(event.get("error")) for event in named(events, "lab.failed")), None)
    if interrupted:
        outcome = Outcome.INTERRUPTED
    elif error is not None:
        outcome = Outcome.ERROR
    elif differences or not all(finding.met for finding in findings):
        outcome = Outcome.FAILED
    else:
        outcome = Outcome.PASSED
    result = RunResult(
        item=item,
        outcome=outcome,
        verdict=verdict,
        tracker=tracker,
        findings=tuple(findings),
        differences=tuple(differences),
        error=error,
        duration_s=duration_s,
        run_dir=run_dir,
        events=tuple(events),
    )
    verdict.write(run_dir / "verdict.json")
    return result


def new_run_dir(runs: Path, item: Item) -> Path:
    """Make and return ``<runs>/<name>-<variant>-NNNN``, the next free number.

    Safe against other processes that do the same: ``mkdir`` decides. Raises ``OSError``.
    """
    runs.mkdir(parents=True, exist_ok=True)
    prefix = f"{item.name}-{item.variant}-"
    taken = [
        int(path.name.removeprefix(prefix))
        for path in runs.glob(f"{prefix}*")
        if path.name.removeprefix(prefix).isdecimal()
    ]
    number = max(taken, default=0)
    while True:
        number += 1
        run_dir = runs / f"{prefix}{number:04}"
        try:
            run_dir.mkdir()
        except FileExistsError:
            continue
        return run_dir
