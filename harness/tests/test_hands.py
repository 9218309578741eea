"""Hands that rest: a lab that came to nothing leaves the run's timeline to the next one."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from harness.documents import load
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
from harness.lab_faults import Hands
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named

MAC = "52:54:00:ab:cd:01"


async def test_who_rests_does_nothing_about_what_happens_later() -> None:
    timeline = Timeline(None)
    fault = FaultReader(
        load("{at: link, when: {event: lab.started}, do: {block: 0 s}}").data
    ).read()
    assert fault is not None
    plan = FaultPlan([fault], record=partial(timeline.record, "faults"), now=timeline.clock.now)
    hands = Hands(plan, timeline=timeline, tasks=TaskKeeper())
    hands.cable(MAC)
    machine: Any = SimpleNamespace()
    hands.take(machine)
    timeline.record("lab", "lab.started", duration_s=1.0)
    assert len(named(timeline, "fault.fired")) == 1
    hands.rest()
    timeline.record("lab", "lab.started", duration_s=1.0)
    assert len(named(timeline, "fault.fired")) == 1
