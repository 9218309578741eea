"""A file to a socket by the kernel: all of it, what was sent when the client left, no more."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from harness.services.sendfile import FileSender

SIZE = 9_000_001


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


@pytest_asyncio.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
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
