"""Connections on which nothing arrives: what was sent again and again, and never acknowledged.

A web server hands its answer to the kernel and believes it sent. Whether the client's side has any
of it, TCP alone knows: Linux counts how often it sent the oldest octets again (``TCP_INFO``).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Final

OnUnheard = Callable[[str, int, int], None]
"""Called with the peer (``address:port``), the octets that wait, and how often they were sent;
with 0 times when the peer acknowledged after all."""

_AGAIN: Final = 5
"""0.2, 0.4, 0.8, 1.6 and 3.2 s after the first time: Linux, TCP_RTO_MIN, on a short way."""
_LOOK_EVERY_S: Final = 1.0
_TCP_INFO_BYTES: Final = 8
_RETRANSMITS: Final = 2
"""Where ``tcpi_retransmits`` stands (linux/tcp.h): 0 again once an octet was acknowledged."""


class Unheard:
    """Looks at the open connections of a server, and tells of each silence once."""

    def __init__(
        self, on_unheard: OnUnheard, *, again: int = _AGAIN, every_s: float = _LOOK_EVERY_S
    ) -> None:
        """A connection is silent when its octets were sent ``again`` so often; looks each so many
        seconds."""
        self._on_unheard = on_unheard
        self._again = again
        self._every_s = every_s
        self._open: dict[asyncio.BaseTransport, bool] = {}
        """Connection → whether its silence was told."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, transport: asyncio.BaseTransport) -> None:
        """Look at a connection from now on."""
        self._open[transport] = False
        if self._timer is None:
            self._wait()

    def discard(self, transport: asyncio.BaseTransport | None) -> None:
        """Look at it no more."""
        if transport is not None:
            self._open.pop(transport, None)

    def close(self) -> None:
        """Look at nothing any more."""
        self._open.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)

    def _look(self) -> None:
        self._timer = None
        for transport, told in list(self._open.items()):
            sock = transport.get_extra_info("socket")
            if sock is None or transport.is_closing():
                del self._open[transport]
                continue
            again = times_again(sock)
            silent = again >= self._again or (told and again > 0)
            self._open[transport] = silent
            if silent != told:
                peer = transport.get_extra_info("peername") or ("", 0)
                times = again + 1 if silent else 0
                self._on_unheard(f"{peer[0]}:{peer[1]}", unacknowledged(sock), times)
        if self._open:
            self._wait()


def times_again(sock: socket.socket) -> int:
    """Return how often what a peer should have acknowledged was sent again; 0: it did."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:  # it is gone by now
        return 0
    return info[_RETRANSMITS] if len(info) > _RETRANSMITS else 0


def unacknowledged(sock: socket.socket) -> int:
    """Return how many octets the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7))."""
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
