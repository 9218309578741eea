"""A failed boot in words: expected, happened, the nearest events, and where the files are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from harness.facts import nearest
from harness.report.text import event_line, ranges, relative
from harness.scenario.expectations import Outcome
from harness.scenario.item import Item
from harness.timeline import Event
from harness.verdict import PhaseTracker, Verdict


class Result(Protocol):
    """What a run came to, as far as it is told here."""

    @property
    def item(self) -> Item:
        """What was booted."""

    @property
    def outcome(self) -> str:
        """``passed``, ``failed``, ``host too slow``, ``error`` or ``interrupted``."""

    @property
    def verdict(self) -> Verdict:
        """How far it came, and why no further."""

    @property
    def tracker(self) -> PhaseTracker:
        """The phases."""

    @property
    def findings(self) -> Sequence[Outcome]:
        """Every expectation."""

    @property
    def differences(self) -> Sequence[str]:
        """How the verdict differs from the expected one."""

    @property
    def error(self) -> str | None:
        """What went wrong with the lab itself."""

    @property
    def events(self) -> Sequence[Event]:
        """The timeline."""


def failure_sentence(result: Result) -> str:
    """Return in one sentence why a boot did not end as its scenario says."""
    verdict = result.verdict
    if result.error:
        return f"the lab itself failed: {result.error}"
    if result.outcome == "host too slow":
        return f"host too slow: {verdict.because}"
    if result.item.expected_verdict is not None and result.differences:
        return "; ".join(result.differences)
    if verdict.failed_in:
        blame = f" (blame: {verdict.blame})" if verdict.blame else ""
        return f"failed in {verdict.failed_in.words}: {verdict.because}{blame}"
    unmet = [finding for finding in result.findings if not finding.met]
    if unmet:
        one = unmet[0]
        more = f", and {len(unmet) - 1} more" if len(unmet) > 1 else ""
        return f"{one.expectation}: expected {one.expected}, found {one.found}{more}"
    return "; ".join(result.differences) or verdict.because


def failure_text(result: Result) -> str:
    """Return the whole story of a boot that did not end as its scenario says."""
    verdict = result.verdict
    lines = [f"{result.item.id}: {result.item.title}", ""]
    if result.error:
        lines += ["the lab itself failed:", f"    {result.error}", ""]
    if verdict.failed_in:
        lines.append(f"failed in {verdict.failed_in.words}: {verdict.because}")
        lines.append(f"    blame: {verdict.blame}" + _proof(verdict))
        if verdict.hint:
            lines.append(f"    try:   {verdict.hint}")
        lines.append("")
    if result.item.expected_verdict is not None:
        lines += [f"{result.item.expected_verdict.at}: {text}" for text in result.differences]
    unmet = [finding for finding in result.findings if not finding.met]
    for finding in unmet:
        lines += [
            f"{finding.at}: {finding.expectation}",
            f"    expected  {finding.expected}",
            f"    found     {finding.found}",
            *_excerpt(finding.nearest),
            "",
        ]
    if verdict.failed_in and not any(finding.nearest for finding in unmet):
        lines += [*_excerpt(_around(result)), ""]
    lines += [*_phases(result.tracker), ""]
    return "\n".join([*lines, *files(result)])


def _proof(verdict: Verdict) -> str:
    return f", proof: events {ranges(verdict.evidence)}" if verdict.evidence else ""


def _around(result: Result) -> Sequence[Event]:
    proof = result.verdict.evidence
    return nearest(result.events, (), anchor=proof[-1] if proof else None)


def _excerpt(events: Iterable[Event]) -> list[str]:
    lines = [f"        {event_line(event)}" for event in events]
    return ["    nearest events:", *lines] if lines else []


def _phases(tracker: PhaseTracker) -> list[str]:
    parts = [f"{name} {seconds:.1f} s" for name, seconds in tracker.durations().items()]
    return [f"phases: {', '.join(parts) or 'none: the machine was never powered on'}"]


def files(result: object) -> list[str]:
    """Return a line for each file of the run folder that a person would open."""
    run_dir = getattr(result, "run_dir", None)
    if run_dir is None or not run_dir.is_dir():
        return []
    wanted = ("report.html", "timeline.jsonl", "serial-*.log", "*.pcap*", "qemu.cmd", "lab.log")
    found = [path for pattern in wanted for path in sorted(run_dir.glob(pattern))]
    return [f"files: {relative(run_dir)}/", *(f"    {path.name}" for path in found)]
