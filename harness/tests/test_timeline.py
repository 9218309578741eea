"""The timeline of what runs for days, and lines that are no events."""

from __future__ import annotations

import asyncio

import pytest

from harness.timeline import Event, Timeline


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


@pytest.mark.parametrize(
    "line",
    [
        "null",
        "{}",
        '{"seq":"1","t":0,"source":"x","name":"y"}',
        '{"seq":1,"t":"0","source":"x","name":"y"}',
        '{"seq":1,"t":0,"source":"x","name":2}',
        '{"seq":1,"t":0,"source":null,"name":"y"}',
        '{"seq":1,"t":0,"source":"x","name":"y","fields":[]}',
    ],
)
def test_json_that_is_no_event(line: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        Event.from_json(line)
