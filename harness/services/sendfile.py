"""A part of a file to a connected socket, by the kernel.

A client takes what there is room for, one wake-up of the loop for each full buffer. One that is
fast gets the rest from a thread that blocks in ``sendfile``: nothing of Python runs between one
buffer and the next, and the loop is free meanwhile. A thread serves a client for moments only, and
only while it stays fast: slow and stalled ones cost the loop a wake-up and hold no thread.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

_PIECE_BYTES: Final = 4 << 20
"""At most this much at a time in the loop; a buffer that is full ends it earlier."""
_FAST_PER_S: Final = 100e6
"""Octets a second of a client that is fast: no guest's, but that of a program on this host."""
_TELLING_BYTES: Final = 1 << 17
"""Less than this tells nothing of how fast a client is."""
_WORTH_A_THREAD: Final = 4 << 20
"""What is left to send of a file for which a thread pays."""
_FIRST_BYTES: Final = 1 << 20
_LARGEST_BYTES: Final = 8 << 20
_BURST_S: Final = 0.05
"""How long a thread serves one client before others get their turn, and progress is told."""
_NO_ROOM_S: Final = 0.02
"""A client that makes no room for so long is no longer fast."""
_NO_DATA_S: Final = 0.001
_LEFT: Final = "the client left"
_SHORTER: Final = "the file became shorter while it was sent"


class FileSender:
    """Sends octets ``start`` … ``end`` of ``file``; ``reached`` is where it has got to.

    Nothing else may write to the transport meanwhile, and its own buffer must be empty.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        file: int,
        *,
        start: int,
        end: int,
        on_sent: Callable[[int], None],
    ) -> None:
        """``on_sent`` gets the number of octets whenever some were sent."""
        self.reached = start
        self._transport = transport
        self._file = file
        self._end = end
        self._on_sent = on_sent
        self._loop = asyncio.get_running_loop()
        self._room: asyncio.Future[None] = self._loop.create_future()
        """Done when all is sent, or when a thread should send the rest."""
        self._turned_s: float | None = None
        """When room was last filled, on CLOCK_MONOTONIC."""

    async def send(self, lost: asyncio.Future[None]) -> None:
        """Send all of it; ``lost`` is done when the connection is gone.

        Raises ``ConnectionResetError`` when the client left and ``ConnectionAbortedError`` when
        the file has become shorter.
        """
        # asyncio lets nobody watch a transport's own descriptor
        with self._transport.get_extra_info("socket").dup() as out:
            while self.reached < self._end:
                await self._send_as_there_is_room(out, lost)
                fast = self.reached < self._end
                while fast:
                    fast = await self._send_in_a_thread(out, lost) and self.reached < self._end

    def _took(self, sent: int) -> None:
        if sent:
            self.reached += sent
            self._on_sent(sent)

    # -- any client

    async def _send_as_there_is_room(self, out: socket.socket, lost: asyncio.Future[None]) -> None:
        """Return when all is sent, or when the client turns out to be fast."""
        self._room = self._loop.create_future()
        self._turned_s = None
        lost.add_done_callback(self._lost)
        self._loop.add_writer(out, self._writable, out)
        try:
            self._writable(out)
            await self._room
        finally:
            self._loop.remove_writer(out)
            lost.remove_done_callback(self._lost)

    def _writable(self, out: socket.socket) -> None:
        if self._room.done():
            return
        if self._transport.is_closing():
            self._fail(ConnectionResetError(_LEFT))
            return
        try:
            size = min(_PIECE_BYTES, self._end - self.reached)
            sent = os.sendfile(out.fileno(), self._file, self.reached, size)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            left = ConnectionResetError(_LEFT)
            left.__cause__ = error
            self._fail(left)
            return
        if not sent:
            self._fail(ConnectionAbortedError(_SHORTER))
            return
        self._took(sent)
        before_s, self._turned_s = self._turned_s, time.monotonic()
        if self.reached == self._end or (
            before_s is not None
            and self._end - self.reached >= _WORTH_A_THREAD
            and sent >= max(_TELLING_BYTES, (self._turned_s - before_s) * _FAST_PER_S)
        ):
            self._room.set_result(None)

    def _lost(self, lost: asyncio.Future[None]) -> None:
        del lost
        self._fail(ConnectionResetError(_LEFT))

    def _fail(self, error: ConnectionError) -> None:
        if not self._room.done():
            self._room.set_exception(error)

    # -- a fast one

    async def _send_in_a_thread(self, out: socket.socket, lost: asyncio.Future[None]) -> bool:
        """Send for a moment; return whether the client is still fast."""
        burst = _Burst(out, self._file, self.reached, self._end)

        def stop(_: asyncio.Future[None]) -> None:
            burst.stop()

        lost.add_done_callback(stop)
        running = self._loop.run_in_executor(None, burst.run)
        try:
            # shielded: a thread that has not begun must begin, to close what it was given
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            burst.stop()
            await asyncio.wait([running])  # no time at all, and what it had sent is told
            raise
        except ConnectionAbortedError:
            raise
        except OSError as error:
            raise ConnectionResetError(_LEFT) from error
        finally:
            lost.remove_done_callback(stop)
            self._took(burst.reached - self.reached)


class _Burst:
    """What one thread sends, with descriptors of its own: it may outlive who waits for it.

    The socket is a blocking one for that time, which asyncio does not notice: it reads when there
    is something to read, and writes nothing meanwhile.
    """

    def __init__(self, out: socket.socket, file: int, start: int, end: int) -> None:
        self.reached = start
        self._end = end
        self._stopped = False
        self._out = out.dup()
        try:
            for option, seconds in (
                (socket.SO_SNDTIMEO, _NO_ROOM_S),
                (socket.SO_RCVTIMEO, _NO_DATA_S),  # should that ever be wrong of asyncio
            ):
                value = struct.pack("@ll", 0, round(seconds * 1e6))
                self._out.setsockopt(socket.SOL_SOCKET, option, value)
            self._file = os.dup(file)
        except OSError:
            self._out.close()
            raise

    def stop(self) -> None:
        """End the connection, which wakes the thread from wherever it blocks."""
        self._stopped = True
        try:
            self._out.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended itself
            return

    def run(self) -> bool:
        """Send until the moment is over, all is sent, or the client is no longer fast.

        Returns whether it still is. Raises ``ConnectionAbortedError`` when the file has become
        shorter, else the ``OSError`` of a connection that is gone.
        """
        try:
            os.set_blocking(self._out.fileno(), True)
            try:
                return self._run()
            finally:
                os.set_blocking(self._out.fileno(), False)
        finally:
            self._out.close()
            os.close(self._file)

    def _run(self) -> bool:
        now_s = time.monotonic()
        until_s = now_s + _BURST_S
        size = _FIRST_BYTES
        while self.reached < self._end and now_s < until_s and not self._stopped:
            wanted = min(size, self._end - self.reached)
            try:
                sent = os.sendfile(self._out.fileno(), self._file, self.reached, wanted)
            except BlockingIOError:  # SO_SNDTIMEO
                return False
            if not sent:
                raise ConnectionAbortedError(_SHORTER)
            self.reached += sent
            before_s, now_s = now_s, time.monotonic()
            if sent < (now_s - before_s) * _FAST_PER_S:
                return False
            size = min(2 * size, _LARGEST_BYTES)
        return True
