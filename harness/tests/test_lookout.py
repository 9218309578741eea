"""The watch is asked at every event and at least twice a second, and ends what waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from harness.clock import Deadline
from harness.errors import Decided
from harness.lookout import until_decided
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.verdict import Watch


def give_up(timeline: Timeline) -> None:
    timeline.record("machine", "firmware.gave_up", line="No bootable device.", console="ttyS0")


@pytest.mark.parametrize("before", [True, False])
async def test_the_deciding_event_ends_every_wait(before: bool) -> None:
    timeline, tasks = Timeline(None), TaskKeeper()
    timeline.record("machine", "machine.powered_on", machine="machine")
    if before:
        give_up(timeline)
    watch = Watch(deadline_s=600, workflow=True)
    tasks.spawn(until_decided(watch, timeline, set), name="watch")
    asyncio.get_running_loop().call_later(0.05, give_up, timeline)
    began = timeline.clock.now()
    with pytest.raises(Decided, match="No bootable device") as raised:
        await tasks.race(
            asyncio.Event().wait(), Deadline.after(timedelta(seconds=20)), waiting_for="nothing"
        )
    assert timeline.clock.now() - began < 2
    assert raised.value.hang
    decided = next(event for event in timeline if event.name == "run.decided")
    assert decided["rule"] == "firmware-gave-up"
    assert timeline.events[decided["evidence"][0] - 1].name == "firmware.gave_up"
    await tasks.close()


async def test_something_that_is_to_change_is_waited_for() -> None:
    timeline, tasks = Timeline(None), TaskKeeper()
    timeline.record("machine", "machine.powered_on", machine="machine")
    give_up(timeline)
    unsettled = {"machine"}
    watching = tasks.spawn(
        until_decided(Watch(deadline_s=600, workflow=True), timeline, lambda: unsettled),
        name="watch",
    )
    await asyncio.wait({watching}, timeout=0.2)
    assert not watching.done()
    unsettled.clear()
    await asyncio.wait({watching}, timeout=5)
    assert isinstance(watching.exception(), Decided)
    await tasks.close()
