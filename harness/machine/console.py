"""A serial console: octets in, clean lines out, any number of readers.

Whoever reads its octets may keep them; here they are split into lines that people and patterns
can read. Firmware and iPXE draw with escape sequences, carriage returns and backspaces:
a line is what a terminal would show when it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.tasks import TaskKeeper
from harness.timeline import Timeline

if TYPE_CHECKING:
    from pexpect.socket_pexpect import SocketSpawn

LINE_LIMIT: Final = 4096
"""Octets after which a line is cut; a guest that prints no newline must not eat our memory."""
QUIET_S: Final = 0.4
"""A partial line is shown after this silence: prompts end in no newline."""

_VISITOR_BACKLOG: Final = 1 << 20
_LONGEST_BREAK: Final = 16
_BREAK: Final = re.compile(rb"\n|\x1b\[\d{0,4}(?:;\d{0,4})?[Hf]|\x1b\[[0-3]?J")
"""What ends a line: newline, cursor positioning, clearing the screen."""
_SEQUENCE: Final = re.compile(
    r"\x1b\[(?P<args>[0-?]*)[ -/]*(?P<final>[@-~])"  # CSI
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC
    r"|\x1b[ -/]*[0-~]"  # anything shorter
)


def rendered(line: str) -> str:
    """Return what a terminal shows after ``line``, without trailing blanks."""
    cells: list[str] = []
    cursor = at = 0
    while at < len(line):
        sequence = _SEQUENCE.match(line, at)
        if sequence:
            at = sequence.end()
            count = int(sequence["args"] or 0) if (sequence["args"] or "0").isdigit() else 0
            if sequence["final"] == "K" and count == 0:
                del cells[cursor:]
            elif sequence["final"] == "C":
                cursor = min(cursor + max(1, count), LINE_LIMIT)
            elif sequence["final"] == "D":
                cursor = max(0, cursor - max(1, count))
            continue
        character = line[at]
        at += 1
        if character == "\r":
            cursor = 0
        elif character == "\b":
            cursor = max(0, cursor - 1)
        elif character.isprintable() or character == "\t":
            cells += " " * (cursor - len(cells))
            cells[cursor : cursor + 1] = character
            cursor += 1
    return "".join(cells).rstrip()


class LineSplitter:
    """Cuts a stream of octets into lines. Where chunks begin and end makes no difference."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completed, rendered, blank ones left out."""
        self._pending += data
        lines: list[str] = []
        at = 0
        while True:
            found = _BREAK.search(self._pending, at)
            if found and found.start() - at <= LINE_LIMIT:
                lines.append(self._clean(self._pending[at : found.start()]))
                at = found.end()
            elif found or len(self._pending) - at >= LINE_LIMIT + _LONGEST_BREAK:
                lines.append(self._clean(self._pending[at : at + LINE_LIMIT]))
                at += LINE_LIMIT
            else:
                break
        self._pending = self._pending[at:]
        return [line for line in lines if line]

    @property
    def partial(self) -> str:
        """The line that is not yet complete, rendered."""
        return self._clean(self._pending)

    @property
    def pending(self) -> bytes:
        """The octets of the line that is not yet complete."""
        return self._pending

    @pending.setter
    def pending(self, octets: bytes) -> None:
        self._pending = octets

    @staticmethod
    def _clean(raw: bytes) -> str:
        return rendered(raw.decode(errors="replace"))


LineReader = Callable[[str, str, bool], None]
"""Called with the console's name, the text, and whether the line is only partial."""
DataReader = Callable[[bytes], None]
_Reader = TypeVar("_Reader")


class Console:
    """One serial port of a running machine: the only reader of its line."""

    def __init__(self, *, name: str, machine: str, timeline: Timeline, tasks: TaskKeeper) -> None:
        self.name = name
        self._machine = machine
        self._timeline = timeline
        self._tasks = tasks
        self._splitter = LineSplitter()
        self._shown_partial = ""
        self._line_readers: list[LineReader] = []
        self._data_readers: list[DataReader] = []
        self._reading: asyncio.ReadTransport | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._aside = False

    async def connect(self, reading: io.FileIO, writing: io.FileIO) -> None:
        """Take over our ends of the line, which are pipes', and begin to read."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        self._reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), reading
        )
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), writing
        )
        self._writer = asyncio.StreamWriter(transport, protocol, None, loop)
        self._task = self._tasks.spawn(self._pump(reader), name=f"console {self.name}")

    def state(self) -> dict[str, str]:
        """Return what was begun and not ended, of JSON's types, for ``restore``."""
        pending = self._splitter.pending.decode("latin-1")
        return {"pending": pending, "shown_partial": self._shown_partial}

    def restore(self, state: Mapping[str, str]) -> None:
        """Go on where another console was."""
        self._splitter.pending = state["pending"].encode("latin-1")
        self._shown_partial = state["shown_partial"]

    def read_lines(self, reader: LineReader) -> Callable[[], None]:
        """Call ``reader`` with every later line; returns what ends that."""
        return _subscribe(self._line_readers, reader)

    def read_data(self, reader: DataReader) -> Callable[[], None]:
        """Call ``reader`` with every later chunk of octets; returns what ends that."""
        return _subscribe(self._data_readers, reader)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Tell nobody of lines as long as this lasts: somebody asked for them, and keeps them.

        Readers of octets, and so the console's file, get them all the same.
        """
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    async def write(self, data: bytes) -> None:
        """Type ``data`` on the console. Ignored once the machine is gone."""
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):
                self._writer.write(data)
                await self._writer.drain()

    @contextmanager
    def dialog(self) -> Iterator[SocketSpawn[Any]]:
        """Yield a pexpect object that sees everything the console prints from now on.

        It gets a private copy: any number of dialogs and readers can be open. Use it with
        ``await dialog.expect(…, async_=True)``; type with ``Console.write``, because
        ``dialog.send`` holds up the event loop for 50 ms (pexpect issue 760).
        """
        from pexpect.socket_pexpect import SocketSpawn

        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        def copy(data: bytes) -> None:
            # A dialog nobody reads must not hold up the console: what does not fit is lost to it.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                ours.send(data)

        end = self.read_data(copy)
        spawn = SocketSpawn(theirs, timeout=None)
        try:
            yield spawn
        finally:
            end()
            ours.close()
            # An expect with async_=True leaves its transport behind, which owns the socket then.
            if spawn.async_pw_transport:
                spawn.async_pw_transport[1].close()
            else:
                theirs.close()

    async def serve(self, path: Path) -> None:
        """Let people attach at a unix socket: they see what comes, and what they type goes in.

        Try ``socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:path`` (Ctrl-] leaves). A visitor who
        does not read is sent away.
        """

        async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            def show(data: bytes) -> None:
                if writer.transport.get_write_buffer_size() > _VISITOR_BACKLOG:
                    writer.transport.abort()
                else:
                    writer.write(data)

            end = self.read_data(show)
            try:
                while typed := await _read(reader):
                    await self.write(typed)
            finally:
                end()
                writer.close()

        self._server = await asyncio.start_unix_server(visit, path)

    async def _pump(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        quiet: asyncio.TimerHandle | None = None
        try:
            while data := await _read(reader):
                if quiet is not None:
                    quiet.cancel()
                for data_reader in tuple(self._data_readers):
                    data_reader(data)
                for line in self._splitter.feed(data):
                    self._show(line, partial=False)
                quiet = loop.call_later(QUIET_S, self._show_partial)
        finally:
            if quiet is not None:
                quiet.cancel()
            self._show_partial()

    def _show_partial(self) -> None:
        text = self._splitter.partial
        if text and text != self._shown_partial:
            self._shown_partial = text
            self._show(text, partial=True)

    def _show(self, text: str, *, partial: bool) -> None:
        if not partial:
            shown, self._shown_partial = self._shown_partial, ""
            if text == shown:
                return  # told already, when it was partial
        if self._aside:
            return
        self._timeline.record(
            self._machine,
            "console.line.seen",
            console=self.name,
            text=text,
            partial=partial or None,
        )
        for reader in tuple(self._line_readers):
            reader(self.name, text, partial)

    async def close(self) -> None:
        """Wait for the last octets of a QEMU that ended; idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait({task}, timeout=1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._reading is not None:
            self._reading.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1 << 16)
    except ConnectionError:  # QEMU was killed
        return b""


def _subscribe(readers: list[_Reader], reader: _Reader) -> Callable[[], None]:
    readers.append(reader)
    return lambda: readers.remove(reader) if reader in readers else None
