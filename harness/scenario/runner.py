"""Run one item in a sealed process tree, and judge what it left behind.

The sealed child (``harness.sealed``) does the work and writes the timeline; this side passes its
events on as they come, and afterwards computes verdict and report from them alone, so that a run
which was cut off still gets both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from harness.brief import Hold, HostPace, brief_of, write_brief
from harness.checkpoint.store import LIMIT_VARIABLE, store_in
from harness.clock import Deadline
from harness.errors import LabError
from harness.facts import before_pause
from harness.host import history
from harness.host.budgets import budgets_of
from harness.host.calibration import calibrate
from harness.host.capacity import Capacity, Need, runtime_folder
from harness.host.durations import record_duration
from harness.paths import CHECKPOINTS, cache_root
from harness.report.html import write_report
from harness.report.remembered import code_version, record_of
from harness.report.touched import comment_on_faults
from harness.scenario.expectations import Outcome as Finding
from harness.scenario.expectations import check_expectations, check_verdict, hosts_failure
from harness.scenario.item import LOCK_NAME, Item
from harness.scenario.lock import write_lock
from harness.seal import SealedProcess, Starter, seal
from harness.timeline import Event, named
from harness.verdict import (
    PhaseTracker,
    Verdict,
    judge,
    told_to_the_end,
    track,
)

Listener = Callable[[Event], None]


class RunInterrupted(asyncio.CancelledError):
    """A run was cancelled; carries what it had come to."""

    def __init__(self, result: RunResult) -> None:
        super().__init__()
        self.result = result


_STOP_WITHIN: Final = timedelta(seconds=10)
"""How long a lab may take to stop before its tree is killed."""


class Outcome(StrEnum):
    """How a run ended, seen from its scenario."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """The lab itself went wrong: nothing is known about the machine."""
    INTERRUPTED = "interrupted"
    HOST_TOO_SLOW = "host too slow"
    """It did not end as the scenario says, and the host withheld the time it needed: nothing is
    known about the machine."""


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
        resumed = named(self.events, "lab.resumed")
        failures = [*([self.error] if self.error else []), *self.differences, *unmet]
        return {
            "scenario": self.item.id,
            "seed": self.item.seed,
            "outcome": self.outcome.value,
            "verdict": self.verdict.to_data(),
            "durations": {**self.tracker.durations(), "total": round(self.duration_s, 3)},
            "run_dir": str(self.run_dir),
            "failures": failures,
            **({"resumed": dict(resumed[0].fields)} if resumed else {}),
        }


async def run_item(
    item: Item,
    *,
    runs: Path,
    listener: Listener | None = None,
    hold: Hold = "never",
    on_wait: Callable[[str], None] | None = None,
    start: Starter | None = None,
) -> RunResult:
    """Run ``item`` in a new folder below ``runs`` and return what it came to.

    It begins when this host has room for one more lab; ``on_wait`` is told what is waited for.
    ``listener`` gets every event as it happens. When this is cancelled, the lab is stopped
    cleanly, the run folder completed, and ``RunInterrupted`` raised. With ``hold`` the lab may
    outlive its run (``run.paused``); to be cancelled then is its normal end, and nothing
    is raised. ``start`` starts its sealed process, ``Zygote.start`` for one of many. Raises
    ``OSError`` when the run folder can't be made.
    """
    async with Capacity(runtime_folder()).admitted(need_of(item), on_wait=on_wait):
        result = await _run(item, runs=runs, listener=listener, hold=hold, start=start)
    if hold == "never" and result.outcome is not Outcome.ERROR:
        await asyncio.to_thread(record_duration, item.id, result.duration_s)
    if hold == "never":
        await asyncio.to_thread(_remember, result)
    return result


def _know_host(item: Item) -> tuple[HostPace, dict[str, Any]]:
    """Return how fast this host is, and what each phase of ``item`` usually takes here."""
    found = calibrate(cache_root())
    factor = found.factor(item.accel)
    budgets = budgets_of(
        history.read("run"),
        item=item.id,
        accel=item.accel,
        profile=item.profile,
        firmware=item.firmware,
        factor=factor,
        guess=not item.faults and item.expected_verdict is None and item.accel == "tcg",
    )
    host = HostPace(cpu_ratio=found.cpu_ratio, disk_mb_s=found.disk_mb_s, factor=factor)
    return host, budgets


def _remember(result: RunResult) -> None:
    """Add a run to the history."""
    record = record_of(
        result.item,
        result.events,
        result.tracker,
        result.verdict,
        outcome=result.outcome.value,
        duration_s=result.duration_s,
    )
    history.append("run", {**record, "code": code_version(), "run_dir": str(result.run_dir)})


def need_of(item: Item) -> Need:
    """Return what the lab of ``item`` may take of the host."""
    return Need.of_guest(item.id, memory_mib=item.memory_mib, cpus=item.vcpus, accel=item.accel)


async def _run(
    item: Item, *, runs: Path, listener: Listener | None, hold: Hold, start: Starter | None
) -> RunResult:
    host, budgets = await asyncio.to_thread(_know_host, item)
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

    process: SealedProcess | None = None
    status: int | None = None
    store = store_in(cache_root() / CHECKPOINTS)
    made = replace(
        brief_of(item, origin_s=started_s, hold=hold),
        host=host,
        budgets=budgets,
        # Whoever keeps a lab to work with it wants a machine that was just powered on.
        checkpoints=store.folder if hold != "always" and store.limit_bytes else None,
    )
    brief = write_brief(made)
    try:
        argv = [sys.executable, "-m", "harness.sealed", str(run_dir), str(brief)]
        process = await seal(
            argv,
            run_dir=run_dir,
            on_line=on_line,
            env={LIMIT_VARIABLE: str(store.limit_bytes)},
            pass_fds=[brief],
            start=start,
        )
        status = await process.wait()
    except asyncio.CancelledError:
        if process is not None:
            await _stop(process)
        duration_s = time.monotonic() - started_s
        if not named(events, "run.paused"):
            raise RunInterrupted(
                conclude(item, events, run_dir, duration_s, interrupted=True)
            ) from None
        this = asyncio.current_task()
        while this is not None and this.cancelling():
            this.uncancel()
    finally:
        os.close(brief)
    error = None
    duration_s = time.monotonic() - started_s
    if named(events, "run.paused"):
        events = before_pause(events)
        duration_s = events[-1].t
    if not named(events, "run.finished"):
        words = process.last_words() if process is not None else ""
        error = f"the lab ended with status {status} before the run did"
        error += f":\n{words}" if words else f"; see {run_dir / 'lab.log'}"
    return conclude(item, events, run_dir, duration_s, error=error)


async def _stop(process: SealedProcess) -> None:
    """Stop the lab even while this task is being cancelled once more."""
    stopping = asyncio.ensure_future(  # noqa: TID251 - awaited right here
        process.stop(Deadline.after(_STOP_WITHIN))
    )
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        process.kill()
        await asyncio.shield(stopping)


def conclude(
    item: Item,
    events: list[Event],
    run_dir: Path,
    duration_s: float,
    *,
    interrupted: bool = False,
    error: str | None = None,
) -> RunResult:
    """Judge ``events`` and write ``verdict.json`` and ``report.html`` into ``run_dir``.

    ``error`` is what went wrong with the lab when its events don't tell. A folder that can't be
    written is an error of the lab, too, and not raised.
    """
    if error is not None and not named(events, "lab.failed"):
        events = [*events, _lab_failed(events, error)]
    elif interrupted:
        events = told_to_the_end(events)
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
        hosts = hosts_failure(item, differences, events, tracker, verdict)
        outcome = Outcome.HOST_TOO_SLOW if hosts else Outcome.FAILED
        verdict = hosts or verdict
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
    try:
        verdict.write(run_dir / "verdict.json")
        with contextlib.suppress(ValueError):  # cut off before its first block
            comment_on_faults(run_dir / "capture.pcapng", events)
        write_report(run_dir)
    except (LabError, OSError, ValueError) as problem:
        if result.outcome in (Outcome.INTERRUPTED, Outcome.ERROR):
            return result  # there is something better to say
        return _unwritten(result, problem)
    return result


def _lab_failed(events: list[Event], error: str) -> Event:
    """Return the event that a lab which was cut off could not record itself."""
    last = events[-1] if events else None
    return Event(
        seq=last.seq + 1 if last else 1,
        t=last.t if last else 0.0,
        source="lab",
        name="lab.failed",
        fields={"error": error, "kind": "SetupFailed"},
    )


def _unwritten(result: RunResult, problem: Exception) -> RunResult:
    """Return ``result`` as one of a lab whose last files could not be written."""
    reason = problem.strerror if isinstance(problem, OSError) else str(problem)
    error = f"the verdict can't be written to {result.run_dir}: {reason}"
    events = [*result.events, _lab_failed(list(result.events), error)]
    return replace(
        result,
        outcome=Outcome.ERROR,
        error=error,
        verdict=replace(result.verdict, because=error, hint="is the disk full?"),
        events=tuple(events),
    )


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
