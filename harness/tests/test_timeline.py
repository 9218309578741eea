"""The timeline of what runs for days, and lines that are no events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.clock import Clock
from harness.timeline import Event, Timeline, read_timeline


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


def _numbered(timeline: Timeline) -> list[tuple[int, str]]:
    return [(event.seq, event["reason"]) for event in timeline.events]


def test_what_is_held_can_still_become_another_story(tmp_path: Path) -> None:
    file = tmp_path / "timeline.jsonl"
    timeline = Timeline(file)
    timeline.record("x", "run.interrupted", reason="written")
    timeline.hold()
    timeline.record("x", "run.interrupted", reason="came to nothing")
    assert [event["reason"] for event in read_timeline(file)] == ["written"]
    saved = [
        Event(seq=70 + n, t=50.0 + n, source="x", name="run.interrupted", fields={"reason": reason})
        for n, reason in enumerate(("saved", "saved, too"))
    ]
    timeline.replace([timeline.events[0], *saved])
    timeline.record("x", "run.interrupted", reason="later")
    timeline.release()
    timeline.record("x", "run.interrupted", reason="at once")
    story = [(1, "written"), (2, "saved"), (3, "saved, too"), (4, "later"), (5, "at once")]
    assert _numbered(timeline) == story
    timeline.close()
    assert [(event.seq, event["reason"]) for event in read_timeline(file)] == story


def test_what_was_held_is_written_in_the_end(tmp_path: Path) -> None:
    file = tmp_path / "timeline.jsonl"
    timeline = Timeline(file)
    timeline.hold()
    timeline.record("x", "run.interrupted", reason="held")
    timeline.release()
    assert [event["reason"] for event in read_timeline(file)] == ["held"]
    timeline.close()


def test_a_clock_that_is_held_stands_still_and_goes_on_from_there() -> None:
    clock = Clock()
    clock.hold()
    at = clock.now()
    assert at == clock.now() >= 0
    clock.go_on()
    assert at <= clock.now() < at + 5
    then = datetime(2030, 1, 2, tzinfo=UTC)
    clock.hold(1000.0, started_at=then)
    assert clock.now() == 1000.0
    clock.go_on()
    clock.go_on()
    assert 1000.0 <= clock.now() < 1005.0
    assert clock.wall(1000.0) == datetime(2030, 1, 2, 0, 16, 40, tzinfo=UTC)


def test_text_that_is_no_utf_8_is_told_with_escapes(tmp_path: Path) -> None:
    """A file name by TFTP, say, that a bad cable has changed."""
    timeline = Timeline(tmp_path / "t")
    name = b"pxe\xff.efi".decode("utf-8", "surrogateescape")
    event = timeline.record("tftp", "tftp.error.sent", file=name, text="läufe \ud800")
    timeline.record("machine", "qmp.event.seen", event="X", data={"path": name})
    timeline.close()
    assert event["file"] == "pxe\\xff.efi"
    first, second = read_timeline(tmp_path / "t")
    assert (first["file"], first["text"]) == ("pxe\\xff.efi", "läufe \\xed\\xa0\\x80")
    assert second["data"] == {"path": name}
