"""A part of a file to a connected socket: by the kernel, with one wake-up for each full buffer.

``loop.sendfile`` asks the kernel's poll twice for every piece and detaches the connection's
transport each time, which took more CPU time than sending did.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Callable
from typing import Final

_PIECE_BYTES: Final = 4 << 20
"""At most this much at a time; a buffer that is full ends it earlier."""
_AT_ONCE_S: Final = 0.0005
"""A client that has made room so soon does so again: that is not worth a turn of the loop."""
_HELD_S: Final = 0.002
"""How long such a client may hold the loop."""


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
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._out = -1
        self._room = select.poll()
        self._full_at_s = 0.0
        """When the buffer was last full, on CLOCK_MONOTONIC."""

    async def send(self, lost: asyncio.Future[None]) -> None:
        """Send all of it; ``lost`` is done when the connection is gone.

        Raises ``ConnectionResetError`` when the client left and ``ConnectionAbortedError`` when
        the file has become shorter.
        """
        loop = asyncio.get_running_loop()
        # asyncio lets nobody watch a transport's own descriptor
        self._out = os.dup(self._transport.get_extra_info("socket").fileno())
        self._room.register(self._out, select.POLLOUT)
        lost.add_done_callback(self._lost)
        loop.add_writer(self._out, self._writable)
        try:
            self._writable()
            await self._done
        finally:
            loop.remove_writer(self._out)
            os.close(self._out)
            lost.remove_done_callback(self._lost)

    def _writable(self) -> None:
        began_s = now_s = time.monotonic()
        at_once = began_s - self._full_at_s < _AT_ONCE_S
        while self._send_piece() and at_once and now_s - began_s < _HELD_S:
            if not self._room.poll(1):
                break
            now_s = time.monotonic()
        self._full_at_s = time.monotonic()

    def _send_piece(self) -> bool:
        """Send what fits into the buffer; return whether there is more to send."""
        if self._done.done():
            return False
        if self._transport.is_closing():
            self._fail(ConnectionResetError("the client left"))
            return False
        try:
            size = min(_PIECE_BYTES, self._end - self.reached)
            sent = os.sendfile(self._out, self._file, self.reached, size)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError as error:
            left = ConnectionResetError("the client left")
            left.__cause__ = error
            self._fail(left)
            return False
        if not sent:
            self._fail(ConnectionAbortedError("the file became shorter while it was sent"))
            return False
        self.reached += sent
        self._on_sent(sent)
        if self.reached == self._end:
            self._done.set_result(None)
        return self.reached < self._end

    def _lost(self, lost: asyncio.Future[None]) -> None:
        del lost
        self._fail(ConnectionResetError("the client left"))

    def _fail(self, error: ConnectionError) -> None:
        if not self._done.done():
            self._done.set_exception(error)
