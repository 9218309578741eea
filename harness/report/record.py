"""A run as its folder tells it: read back, judged anew, nothing remembered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.errors import ScenarioError
from harness.facts import before_pause
from harness.scenario.expectations import Outcome, check_expectations, check_verdict, hosts_failure
from harness.scenario.item import LOCK_NAME, Item
from harness.scenario.lock import read_lock
from harness.timeline import Event, named, read_timeline
from harness.verdict import PhaseTracker, Verdict, judge, told_to_the_end, track

TIMELINE: Final = "timeline.jsonl"
_CONSOLE_BYTES: Final = 400_000
"""How much of a console's end is shown; the file has all of it."""
_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_]|\([0AB])"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What one serial port printed, readable."""

    name: str
    file: str
    text: str
    lines: int
    cut: bool
    """Whether the beginning was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Everything a report says, from a run folder alone."""

    run_dir: Path
    item: Item
    events: list[Event]
    tracker: PhaseTracker
    verdict: Verdict
    findings: list[Outcome]
    differences: list[str]
    consoles: list[Console]
    hosts: bool = False
    """Whether ``verdict`` blames the host for what is not as expected."""

    @property
    def error(self) -> str | None:
        """What went wrong with the lab itself."""
        return next((str(e.get("error")) for e in named(self.events, "lab.failed")), None)

    @property
    def outcome(self) -> str:
        """``passed``, ``failed``, ``host too slow``, ``error`` or ``interrupted``."""
        if named(self.events, "run.interrupted"):
            return "interrupted"
        if self.error is not None:
            return "error"
        if not named(self.events, "run.finished"):
            return "interrupted"
        if self.is_as_expected:
            return "passed"
        return "host too slow" if self.hosts else "failed"

    @property
    def is_as_expected(self) -> bool:
        """Whether every expectation is met."""
        return all(finding.met for finding in self.findings) and not self.differences

    @property
    def passed(self) -> bool:
        """Whether the run ended as its scenario says."""
        return self.outcome == "passed"


def read_run(run_dir: Path) -> RunRecord:
    """Return the record of a run folder.

    Raises ``ScenarioError`` when it is none, and when its lock or its timeline can't be read.
    """
    timeline = run_dir / TIMELINE
    if not timeline.is_file():
        raise ScenarioError(
            f"{run_dir} is no run folder: it has no {TIMELINE}",
            hint="hooklab run makes run folders below runs/",
        )
    try:
        events = told_to_the_end(before_pause(read_timeline(timeline)))
    except ValueError as error:
        raise ScenarioError(str(error)) from error
    item = read_lock(run_dir / LOCK_NAME)
    with fit_for(run_dir, "judged"):
        return _judged(run_dir, item, events)


@contextmanager
def fit_for(run_dir: Path, what: str) -> Iterator[None]:
    """Raise ``ScenarioError`` when the events of a run have other facts than ours have.

    ``what`` is what is done with them, a participle.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ScenarioError(
            f"{run_dir / TIMELINE} can't be {what}: {type(error).__name__}: {error}",
            hint="is it another hooklab's?",
        ) from error


def _judged(run_dir: Path, item: Item, events: list[Event]) -> RunRecord:
    tracker = track(events)
    verdict = judge(events, tracker)
    run = RunRecord(
        run_dir=run_dir,
        item=item,
        events=events,
        tracker=tracker,
        verdict=verdict,
        findings=check_expectations(item, events),
        differences=check_verdict(
            item,
            failed_in=verdict.failed_in.value if verdict.failed_in else None,
            blame=verdict.blame.value if verdict.blame else None,
            because=verdict.because,
        ),
        consoles=[
            _console(file) for file in sorted(run_dir.glob("serial-*.log")) if file.is_file()
        ],
    )
    if run.outcome != "failed":
        return run
    hosts = hosts_failure(item, run.differences, events, tracker, verdict)
    return replace(run, verdict=hosts, hosts=True) if hosts else run


def _console(file: Path) -> Console:
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _CONSOLE_BYTES))
        raw = stream.read()
    text = readable(raw.decode("utf-8", "replace"))
    return Console(
        name=file.stem.removeprefix("serial-"),
        file=file.name,
        text=text,
        lines=text.count("\n") + (not text.endswith("\n")),
        cut=size > _CONSOLE_BYTES,
    )


def readable(text: str) -> str:
    """Return console output as lines: no escape sequences, and of a redrawn line its last state."""
    plain = _ESCAPES.sub("", text).split("\n")
    return _CONTROL.sub("", "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in plain))
