"""A file to a socket by the kernel: all of it, what was sent when the client left, no more."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from harness.services import sendfile
from harness.services.sendfile import FileSender, _Burst

SIZE = 30_000_001


@dataclass
class Line:
    """A connection whose near end sends ``file`` and whose far end is a plain socket."""

    near: asyncio.Transport
    far: socket.socket
    file: Path
    lost: asyncio.Future[None]
    told: list[int] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, octets: int) -> None:
        self.told.append(octets)
        self.begun.set()

    async def send(self, start: int = 0, end: int = SIZE) -> FileSender:
        with self.file.open("rb") as stream:
            sender = FileSender(self.near, stream.fileno(), start=start, end=end, on_sent=self.tell)
            try:
                await sender.send(self.lost)
            finally:
                assert sender.reached - start == sum(self.told)
        return sender

    async def read(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            data = await asyncio.get_running_loop().sock_recv(self.far, 1 << 20)
            assert data, "the sender closed too early"
            got += data
        return bytes(got)


class _Near(asyncio.Protocol):
    def __init__(self, lost: asyncio.Future[None]) -> None:
        self._lost = lost

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if not self._lost.done():
            self._lost.set_result(None)


@pytest_asyncio.fixture(params=["by the loop", "by threads"])
async def line(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Line]:
    """A connection; with a client that is fast however busy the host is, or never."""
    per_s = 0.0 if request.param == "by threads" else 1e18
    monkeypatch.setattr(sendfile, "_FAST_PER_S", per_s)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(SIZE))
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    far.setblocking(False)
    near, _ = await loop.connect_accepted_socket(lambda: _Near(lost), accepted)
    yield Line(near, far, file, lost)
    near.abort()
    far.close()
    await lost


@pytest.mark.parametrize(("start", "end"), [(0, SIZE), (1, 2), (4096, SIZE - 1)])
async def test_every_octet_of_the_part_arrives_and_no_other(
    line: Line, start: int, end: int
) -> None:
    got, sender = await asyncio.gather(line.read(end - start), line.send(start, end))
    assert got == line.file.read_bytes()[start:end]
    assert sender.reached == end
    with pytest.raises(BlockingIOError):
        line.far.recv(1)


async def test_a_client_that_leaves_in_the_middle_is_told_with_what_was_sent(line: Line) -> None:
    async def leave() -> None:
        await line.read(1 << 20)
        line.far.close()

    with pytest.raises(ConnectionResetError):
        await asyncio.gather(line.send(), leave())
    assert 1 << 20 <= sum(line.told) < SIZE


async def test_a_connection_that_ends_here_ends_the_wait_for_a_client_that_never_reads(
    line: Line,
) -> None:
    sending = asyncio.ensure_future(line.send())  # noqa: TID251 - it ends within this test
    await line.begun.wait()
    line.near.abort()
    with pytest.raises(ConnectionResetError):
        await sending
    assert sum(line.told) < SIZE


async def test_a_file_that_became_shorter_is_no_endless_loop(line: Line) -> None:
    os.truncate(line.file, 1000)
    with pytest.raises(ConnectionAbortedError, match="shorter"):
        await line.send()
    assert sum(line.told) == 1000


async def test_a_handler_that_is_cancelled_leaves_no_thread_at_it(line: Line) -> None:
    sending = asyncio.ensure_future(line.send())  # noqa: TID251 - it ends within this test
    await line.read(8 << 20)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for its threads
    assert 8 << 20 <= sum(line.told) < SIZE


async def test_a_client_that_stops_reading_holds_no_thread_and_gets_the_rest(line: Line) -> None:
    sending = asyncio.ensure_future(line.send())  # noqa: TID251 - it ends within this test
    got = await line.read(8 << 20)
    # While a thread is at the socket, that blocks; none is at it once nothing more gets out.
    at = line.near.get_extra_info("socket").fileno()
    told = -1
    async with asyncio.timeout(20):
        while told != sum(line.told) or os.get_blocking(at):
            told = sum(line.told)
            await asyncio.sleep(5 * sendfile._NO_ROOM_S)
    assert told < SIZE
    got += await line.read(SIZE - len(got))
    await sending
    assert got == line.file.read_bytes()


# -- one thread, one moment


@pytest.fixture
def ends() -> tuple[socket.socket, socket.socket]:
    """Our end, which does not block, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    return near, far


Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_a_thread_sends_what_it_was_told_to_and_leaves_the_socket_as_it_was(
    ends: Ends, file: Path
) -> None:
    near, far = ends
    got = bytearray()

    def read() -> None:
        while data := far.recv(1 << 20):
            got.extend(data)

    with near, far, file.open("rb") as stream:
        client = threading.Thread(target=read)
        client.start()
        at = 1
        while at < SIZE - 1:
            burst = _Burst(near, stream.fileno(), at, SIZE - 1)
            burst.run()
            assert not os.get_blocking(near.fileno())
            at = burst.reached
        near.shutdown(socket.SHUT_WR)
        client.join()
    assert got == file.read_bytes()[1:-1]


def test_a_thread_gives_up_a_client_that_does_not_read(ends: Ends, file: Path) -> None:
    near, far = ends
    with near, far, file.open("rb") as stream:
        burst = _Burst(near, stream.fileno(), 0, SIZE)
        assert burst.run() is False
        assert 0 < burst.reached < SIZE
        assert not os.get_blocking(near.fileno())


def test_a_thread_that_is_stopped_before_it_began_sends_nothing(ends: Ends, file: Path) -> None:
    near, far = ends
    with near, far, file.open("rb") as stream:
        burst = _Burst(near, stream.fileno(), 0, SIZE)
        burst.stop()
        burst.run()
        burst.stop()  # it has ended: no harm
        assert burst.reached == 0
        assert far.recv(1) == b""


def test_a_thread_says_when_the_client_is_gone_or_the_file_shorter(ends: Ends, file: Path) -> None:
    near, far = ends
    with near, file.open("rb") as stream:
        with pytest.raises(ConnectionAbortedError, match="shorter"):
            _Burst(near, stream.fileno(), SIZE, SIZE + 1).run()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()  # with an RST
        with pytest.raises(ConnectionError):
            _Burst(near, stream.fileno(), 0, SIZE).run()
        assert not os.get_blocking(near.fileno())
