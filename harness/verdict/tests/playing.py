"""Plays tapes to the watch."""

from __future__ import annotations

from collections.abc import Callable, Collection

from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict import Ending, Watch

LATEST = 600.0


def play(
    tape: Tape,
    *,
    workflow: bool = True,
    disk: bool = False,
    ways: int = 1,
    unsettled: Callable[[float], Collection[str]] = lambda now: (),
    until: float = LATEST,
) -> tuple[float, Ending] | None:
    """Return when and why the watch ends the run; after the tape's last event nothing happens."""
    watch = Watch(deadline_s=600, workflow=workflow, disk=disk, ways=ways)
    events = list(tape.events)
    now = 0.0
    while now < until:
        while events and events[0].t <= now:
            watch.feed(events.pop(0))
        if ending := watch.look(now, unsettled(now)):
            return now, ending
        now += 0.5
    return None


def ended(tape: Tape, rule: str, *, by: float, workflow: bool = True) -> Ending:
    """Assert that ``rule`` ends the run within a second of ``by``."""
    found = play(tape, workflow=workflow)
    assert found is not None, "it waits for its deadline"
    now, ending = found
    assert ending.rule == rule
    assert by - 0.5 <= now <= by + 1.0
    assert ending.because
    assert ending.evidence
    return ending


def working() -> Tape:
    """Return a boot up to its worker's start."""
    return good_boot().until("guest.worker.started")
