"""Lines are what a terminal would show, wherever the chunks begin and end."""

from __future__ import annotations

import asyncio
import io
import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.clock import Deadline
from harness.machine.console import LINE_LIMIT, Console, LineSplitter, rendered
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline

PIECES = st.sampled_from(
    [
        *(b"a", b"Linux", b"\r", b"\n", b"\r\n", b"\b", b"\t", b"\x00"),
        *(b"\x1b[01;01H", b"\x1b[2J", b"\x1b[K", b"\x1b[37;40m"),
        *(b"\x1b", b"[", b"0", b";", b"H", b"\xe2", b"\x82", b"\xac"),
        *(b"x" * (LINE_LIMIT - 1), b"y" * 20),
    ]
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 10_000), max_size=10))
@example(stream=b"\x1b[01;01Hab\x1b[2Jc\n", cuts=[1, 3, 7])
@example(stream=b"x" * (LINE_LIMIT - 1) + b"\x1b[1;1H" + b"y" * 40 + b"\n", cuts=[LINE_LIMIT])
def test_where_chunks_end_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    whole = LineSplitter()
    expected = whole.feed(stream)
    parts = LineSplitter()
    found: list[str] = []
    start = 0
    for end in [*sorted(cut for cut in cuts if cut < len(stream)), len(stream)]:
        found += parts.feed(stream[start:end])
        start = end
    assert found == expected
    assert parts.partial == whole.partial


@given(stream=st.binary(max_size=300))
def test_any_octets_are_lines(stream: bytes) -> None:
    for line in LineSplitter().feed(stream):
        assert line.strip("\t ")
        assert "\x1b" not in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m text", "red text"),
        ("10%\r20%\r100%", "100%"),
        ("long text\rab", "abng text"),
        ("abc\b\b\bxy", "xyc"),
        ("12%\b\b\b   \b\b\bok", "ok"),
        ("text\r\x1b[Knew", "new"),
        ("\x1b[5Cindented", "     indented"),
        ("tail  \r", "tail"),
        ("\x1b]0;title\x07x\x1b(B\x00y", "xy"),
    ],
)
def test_a_line_is_what_a_terminal_shows(raw: str, shown: str) -> None:
    assert rendered(raw) == shown


def test_a_line_without_end_is_cut() -> None:
    splitter = LineSplitter()
    lines = splitter.feed(b"x" * (3 * LINE_LIMIT))
    assert [len(line) for line in lines] == [LINE_LIMIT, LINE_LIMIT]
    assert len(splitter.partial) == LINE_LIMIT


class Far:
    """QEMU's end of a serial line."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out = into, out

    def send(self, data: bytes) -> None:
        os.write(self._out, data)

    async def send_all(self, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            sent += await asyncio.to_thread(os.write, self._out, data[sent:])

    async def typed(self) -> bytes:
        return await asyncio.wait_for(asyncio.to_thread(os.read, self._into, 100), 10)

    def close(self) -> None:
        for descriptor in (self._into, self._out):
            if descriptor >= 0:
                os.close(descriptor)
        self._into = self._out = -1


class Bench:
    """A console whose other end is in the test's hand."""

    def __init__(self) -> None:
        self.timeline = Timeline(None)
        self.tasks = TaskKeeper()
        self.console = Console(name="ttyS0", machine="m1", timeline=self.timeline, tasks=self.tasks)
        reading, out = os.pipe()
        into, writing = os.pipe()
        self.theirs = Far(into, out)
        self._ours = io.FileIO(reading, "r"), io.FileIO(writing, "w")

    async def connect(self) -> None:
        await self.console.connect(*self._ours)

    async def line(self, text: str) -> Event:
        return await self.tasks.race(
            self.timeline.wait_for(lambda event: event.get("text") == text),
            Deadline.after(timedelta(seconds=10)),
            waiting_for=text,
        )

    async def close(self) -> None:
        self.theirs.close()
        await self.console.close()
        await self.tasks.close()


async def test_lines_and_prompts_become_events() -> None:
    bench = Bench()
    await bench.connect()
    bench.theirs.send(b"one\r\ntwo\r\nbox login: ")
    prompt = await bench.line("box login:")
    assert prompt["partial"] is True
    bench.theirs.send(b"\r\n")
    bench.theirs.send(b"last words")
    await bench.close()
    shown = [(event["text"], event.get("partial", False)) for event in bench.timeline]
    assert shown == [
        ("one", False),
        ("two", False),
        ("box login:", True),
        ("last words", True),
    ]


async def test_what_was_asked_for_is_told_to_nobody_else() -> None:
    bench = Bench()
    await bench.connect()
    come = asyncio.Event()
    bench.theirs.send(b"before\r\n")
    await bench.line("before")
    with bench.console.aside():
        bench.console.read_data(lambda data: come.set() if b"\n" in data else None)
        bench.theirs.send(b"sysrq: every task\r\n")
        await asyncio.wait_for(come.wait(), 10)
        # Readers of octets come before those of lines, in one turn of the loop.
        await asyncio.sleep(0)
    bench.theirs.send(b"after\r\n")
    await bench.line("after")
    await bench.close()
    assert [event["text"] for event in bench.timeline] == ["before", "after"]


async def test_several_dialogs_see_everything() -> None:
    bench = Bench()
    await bench.connect()
    with bench.console.dialog() as one, bench.console.dialog() as other:
        waits = [
            asyncio.wait_for(dialog.expect(b"login: ", async_=True, timeout=10), 10)
            for dialog in (one, other)
        ]
        bench.theirs.send(b"noise\r\nbox login: ")
        assert await asyncio.gather(*waits) == [0, 0]
        await bench.console.write(b"root\r")
        assert await bench.theirs.typed() == b"root\r"
    await bench.close()


async def test_a_dialog_nobody_reads_does_not_hold_up_the_console() -> None:
    bench = Bench()
    await bench.connect()
    with bench.console.dialog():
        await asyncio.wait_for(bench.theirs.send_all(b"0123456789\r\n" * 200_000), 20)
        await asyncio.wait_for(bench.theirs.send_all(b"end\r\n"), 20)
        await bench.line("end")
    await bench.close()
    assert len(bench.timeline) == 200_001


async def test_writing_to_a_machine_that_is_gone_is_ignored() -> None:
    bench = Bench()
    await bench.connect()
    bench.theirs.close()
    for _ in range(3):
        await bench.console.write(b"x")
    await bench.close()
    await bench.console.write(b"x")


async def test_people_can_attach_and_type(tmp_path: Path) -> None:
    bench = Bench()
    await bench.connect()
    path = tmp_path / "ttyS0"
    await bench.console.serve(path)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"root\r")
    assert await bench.theirs.typed() == b"root\r"
    await bench.theirs.send_all(b"Password: ")
    assert await asyncio.wait_for(reader.readexactly(10), 10) == b"Password: "
    writer.close()
    await bench.close()


@given(st.binary(max_size=400), st.integers(0, 400))
def test_another_console_goes_on_where_one_was(stream: bytes, at: int) -> None:
    first, second, alone = LineSplitter(), LineSplitter(), LineSplitter()
    lines = first.feed(stream[:at])
    second.pending = first.pending.decode("latin-1").encode("latin-1")
    assert lines + second.feed(stream[at:]) == alone.feed(stream)
    assert second.partial == alone.partial
