"""The verdict: one sentence on a run, with the events that prove it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.facts import workflow_state
from harness.phases import Party, Phase
from harness.timeline import Event, named
from harness.verdict.haste import overdue, too_hasty
from harness.verdict.phases import PhaseTracker, track
from harness.verdict.rules import Case, Finding, find
from harness.verdict.rules.anywhere import of_the_host

_MOST_EVIDENCE = 20
_MOST_STALLS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far a boot came and, if it failed, who is to blame and why."""

    reached: Phase
    failed_in: Phase | None
    blame: Party | None
    because: str
    """One sentence."""
    evidence: tuple[int, ...] = ()
    """Sequence numbers of the events that prove it."""
    hint: str | None = None
    """What to try, when that follows from the evidence."""
    ended: str | None = None
    """Why the run did not go on to its deadline, when it did not have to."""
    conclusive: bool = False
    """Whether an answer that was given proves it, so that no host's speed excuses it."""

    @property
    def passed(self) -> bool:
        """Whether the workflow came to its good end."""
        return self.failed_in is None

    def to_data(self) -> dict[str, Any]:
        """Return the verdict in JSON's types, keys as the run's contract has them."""
        return {
            "reached": self.reached.value,
            "failed_in": self.failed_in.value if self.failed_in else None,
            "blame": self.blame.value if self.blame else None,
            "because": self.because,
            "evidence": list(self.evidence),
        }

    def write(self, file: Path) -> None:
        """Write ``verdict.json``. Raises ``OSError``."""
        file.write_text(json.dumps(self.to_data(), indent=2, ensure_ascii=False) + "\n", "utf-8")


def told_to_the_end(events: Sequence[Event]) -> list[Event]:
    """Return ``events`` with a last one that says so when the run was cut off: by SIGKILL, say."""
    if named(events, "run.finished", "run.interrupted", "lab.failed"):
        return list(events)
    last = events[-1] if events else None
    ending = Event(
        seq=last.seq + 1 if last else 1,
        t=last.t if last else 0.0,
        source="run",
        name="run.interrupted",
        fields={"reason": "it was killed before its end"},
    )
    return [*events, ending]


def judge(events: Sequence[Event], tracker: PhaseTracker | None = None) -> Verdict:
    """Return the verdict on a run, or on what is left of one that was cut off.

    Declared faults are out of sight: it must come to the same for a run nobody sabotaged.
    """
    events = _until_decided(events)
    tracker = tracker or track(events)
    reached = tracker.phase
    if reached is Phase.DONE:
        changes = named(events, "tink.workflow.changed")
        booted = named(events, "guest.disk.booted") if tracker.awaits_disk else []
        after = f"; the machine booted from {booted[-1].get('disk')}" if booted else ""
        return Verdict(
            reached=reached,
            failed_in=None,
            blame=None,
            because=(
                f"workflow {changes[-1].get('workflow_id')} ended {workflow_state(events)}{after}"
            ),
            evidence=(changes[-1].seq, *(event.seq for event in booted[-1:])),
        )
    met = named(events, "expectations.met")
    if met and not named(events, "lab.failed"):
        return Verdict(
            reached=reached,
            failed_in=None,
            blame=None,
            because="everything that the scenario expects was seen",
            evidence=(met[-1].seq,),
        )
    decided = named(events, "run.decided")
    finding = _finding(Case(events=events, tracker=tracker, phase=reached))
    return Verdict(
        reached=reached,
        failed_in=reached,
        blame=finding.blame,
        because=finding.because,
        evidence=tuple(event.seq for event in finding.evidence[-_MOST_EVIDENCE:]),
        hint=finding.hint,
        ended=str(decided[-1].get("because")) if decided else None,
        conclusive=finding.conclusive,
    )


def _finding(case: Case) -> Finding:
    """Return what is to blame: what came from outside, unless an answer proves otherwise."""
    events = case.events
    outside = _from_outside(events)
    if outside is None:
        inside = find(case)
        if not any(event.get("outcome") == "deadline" for event in named(events, "run.finished")):
            return inside
        hasty = None if inside.conclusive else too_hasty(case, inside)
        return hasty or _then(inside, "the deadline passed")
    if named(events, "host.too_slow") and outside.blame is Party.HOST:
        inside = find(case)
        return inside if inside.conclusive else outside
    if named(events, "run.interrupted") and outside.blame is Party.UNKNOWN:
        inside = find(case)
        # Whoever waited for longer than it takes, and gave up, wants to know for what.
        return _then(inside, outside.because) if inside.conclusive or overdue(case) else outside
    return outside


def _then(finding: Finding, words: str) -> Finding:
    return replace(finding, because=f"{finding.because}; then {words}")


_STAYS: Final = (
    "run.",
    "lab.",
    "host.",
    "expectations.",
    "service.crashed",
    "disk.",
    "machine.exited",
)


def _until_decided(events: Sequence[Event]) -> list[Event]:
    """Leave out faults, and what came only of looking into a run that was over.

    SysRq prints on the consoles, and a server that is stopped ends its transfers.
    """
    over = next((e.seq for e in events if e.name in ("run.decided", "dossier.begun")), float("inf"))
    return [
        event
        for event in events
        if not event.name.startswith("fault.")
        and (event.seq <= over or event.name.startswith(_STAYS))
    ]


def _from_outside(events: Sequence[Event]) -> Finding | None:
    """Return why a run ended that neither the machine nor the network is to blame for."""
    for event in named(events, "service.crashed"):
        because = f"the lab's {event.get('service')} service crashed: {event.get('error')}"
        return Finding(blame=Party.LAB, because=because, evidence=[event])
    lost = {"QemuExited", "MonitorLost", "GuestPanic", "DeadlineExpired", "ExpectationFailed"}
    for event in named(events, "lab.failed"):
        if event.get("kind") not in lost:
            because = f"the lab failed: {event.get('error')}"
            blame = of_the_host(str(event.get("error"))) or Party.LAB
            return Finding(blame=blame, because=because, evidence=[event])
    for event in named(events, "host.too_slow"):
        because = (
            f"the host is too slow: in {event.get('duration_s', 0):.0f} s it granted"
            f" {event.get('granted_s', 0):.0f} of the {event.get('given_s', 0):.0f} s that a quiet"
            f" host has for {event.get('waited_for')}"
        )
        stalls = named(events, "host.stalled")
        return Finding(
            blame=Party.HOST,
            because=because,
            evidence=[*stalls[-_MOST_STALLS:], event],
            hint="run it on a host that is less busy, or fewer labs at once; hooklab doctor tells"
            " how fast this one is",
        )
    for event in named(events, "run.interrupted"):
        because = f"the run was stopped: {event.get('reason')}"
        return Finding(blame=Party.UNKNOWN, because=because, evidence=[event])
    return None
