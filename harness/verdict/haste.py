"""Runs that ended before anybody could know: the deadline was too short, or somebody was quicker.

A boot that is on its way looks, at any moment, like one that stopped there: Hook has not asked for
an address *yet*. What a phase usually takes (``run.budgeted``) tells the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.facts import action_reports, state_of
from harness.phases import Party, Phase
from harness.timeline import Event, named
from harness.verdict.durations import budgets, overruns, span, stalled_between, start_of
from harness.verdict.phases import PhaseTracker
from harness.verdict.rules import Case, Finding

_JUST_S: Final = 15.0
"""An action that began so long ago may still be anything: small ones take a few seconds here."""
_FAILURES: Final = ("guest.error.seen", "guest.panicked", "machine.reset", "machine.shutdown")
"""What does not happen in a phase that goes as usual."""


def too_hasty(case: Case, finding: Finding) -> Finding | None:
    """Return that the deadline came while the boot went as usual.

    None when it did not: what the deadline is for has gone wrong; or when nobody knows what is
    usual here. ``finding`` is what would be to blame otherwise.
    """
    going = None if case.in_phase(*_FAILURES) else _as_usual(case) or _at_work(case, finding)
    if going is None:
        return None
    words = f"the deadline{_given(case.events)} passed while nothing was wrong yet: {going}"
    long = overruns(case.events, case.tracker)
    if long:
        words += f"; what took long was {', '.join(one.words for one in long)}"
    return Finding(
        blame=Party.UNKNOWN if long else Party.SCENARIO,
        because=words,
        evidence=list(case.here[:1] + case.here[-1:]),
        hint="give the scenario a longer deadline" if not long else None,
    )


def _as_usual(case: Case) -> str | None:
    """Return how long the phase has lasted, when it usually lasts that long."""
    usual = _usual(case.events, case.phase)
    lasted_s = _lasted_s(case.events, case.tracker)
    if usual is None or lasted_s > float(usual["high_s"]):
        return None
    words = span(float(usual["low_s"]), float(usual["high_s"]))
    return f"{case.phase.words} had taken {lasted_s:.0f} s and usually takes {words}"


def _at_work(case: Case, finding: Finding) -> str | None:
    """Return what the workflow had just come to; how long that takes only its actions know."""
    if finding.blame not in (Party.ACTION, Party.WORKER):
        return None
    calls = case.in_phase("tink.rpc.received")
    reports = action_reports(case.in_phase("tink.action.reported"))
    news = reports[-1:] or calls[:1]  # it may well ask for work for ever
    since_s = max(0.0, _end_s(case.events) - news[0].t) if news else _JUST_S + 1
    if since_s > _JUST_S:
        return None
    if not reports:
        return f"the worker called Tinkerbell for the first time {since_s:.0f} s before"
    if state_of(reports[-1]) not in ("RUNNING", "SUCCESS"):
        return None
    state = "began" if state_of(reports[-1]) == "RUNNING" else "succeeded"
    return f"action '{reports[-1].get('action')}' {state} {since_s:.0f} s before"


def overdue(case: Case) -> bool:
    """Whether the phase that the boot is in lasts longer than it ever should have."""
    usual = _usual(case.events, case.phase)
    return usual is not None and _lasted_s(case.events, case.tracker) > float(usual["most_s"])


def _usual(events: Sequence[Event], phase: Phase) -> Mapping[str, Any] | None:
    """Return the budget of ``phase``: that of runs which began where this one did, if known."""
    for start in (start_of(events), "cold"):
        if (usual := budgets(events, start).get(phase.value)) is not None:
            return usual
    return None


def _lasted_s(events: Sequence[Event], tracker: PhaseTracker) -> float:
    """Return how long the phase that the run ended in lasted, without what the host took."""
    began = tracker.power_on_s or 0.0
    start = began + (tracker.span.start_s if tracker.span else 0.0)
    end = _end_s(events)
    return max(0.0, end - start - stalled_between(events, start, end))


def _end_s(events: Sequence[Event]) -> float:
    """Return when the run was over, on its clock."""
    over = named(events, "run.decided", "dossier.begun", "run.interrupted", "run.finished")
    return over[0].t if over else events[-1].t


def _given(events: Sequence[Event]) -> str:
    """Return how long the deadline was, in words that follow it."""
    for event in named(events, "host.calibrated")[-1:]:
        return f" of {float(event['deadline_s']):g} s"
    return ""
