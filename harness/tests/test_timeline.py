"""The timeline of what runs for days."""

from __future__ import annotations

import asyncio

from harness.timeline import Timeline


async def test_only_the_latest_events_are_kept() -> None:
    timeline = Timeline(None, keep=10)
    for number in range(95):
        timeline.record("x", "run.interrupted", reason=str(number))
    assert (timeline.last_seq, timeline.events[-1].seq) == (95, 95)
    assert 10 <= len(timeline) <= 20
    later = await timeline.wait_for(lambda event: True, since=93)
    assert later.seq == 94
    waiting = asyncio.ensure_future(timeline.wait_for(lambda event: True, since=95))  # noqa: TID251
    await asyncio.sleep(0)
    assert not waiting.done()
    timeline.record("x", "run.interrupted", reason="now")
    assert (await waiting)["reason"] == "now"
