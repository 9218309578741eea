"""Connections on which nothing arrives, there or here: TCP alone knows (``TCP_INFO``).

A web server hands its answer to the kernel and believes it sent. Linux counts how often it sent the
oldest octets again, for want of an acknowledgement. And it counts what came: a client that connects
and then is not heard of may have sent what is lost on its way.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

OnUnheard = Callable[[str, int, int], None]
"""Called with the peer (``address:port``), the octets that wait, and how often they were sent;
with 0 times when the peer acknowledged after all."""

OnMute = Callable[[str, float], None]
"""Called with the peer and for how many seconds it has said nothing since it connected."""

_AGAIN: Final = 5
"""0.2, 0.4, 0.8, 1.6 and 3.2 s after the first time: Linux, TCP_RTO_MIN, on a short way."""
_LOOK_EVERY_S: Final = 1.0
_MUTE_S: Final = 15.0
"""Go and iPXE connect when they have something to ask, and do so at once."""
_RETRANSMITS: Final = 2
"""Where ``tcpi_retransmits`` stands (linux/tcp.h): 0 again once an octet was acknowledged."""
_RECEIVED: Final = 128
"""Where ``tcpi_bytes_received`` stands, 8 octets; what came out of order does not count."""


@dataclass(slots=True)
class _Open:
    """What is known of an open connection."""

    since_s: float
    silent: bool = False
    """Whether it was told that nothing is acknowledged."""
    settled: bool = False
    """Whether the client said something, or it was told that it does not."""


class Unheard:
    """Looks at the open connections of a server, and tells of each silence once."""

    def __init__(
        self,
        on_unheard: OnUnheard,
        *,
        on_mute: OnMute = lambda _peer, _seconds: None,
        again: int = _AGAIN,
        mute_s: float = _MUTE_S,
        every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """A connection is silent when its octets were sent ``again`` so often, its client mute when
        it said nothing for ``mute_s``; looks each so many seconds."""
        self._on_unheard = on_unheard
        self._on_mute = on_mute
        self._again = again
        self._mute_s = mute_s
        self._every_s = every_s
        self._open: dict[asyncio.BaseTransport, _Open] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, transport: asyncio.BaseTransport) -> None:
        """Look at a connection from now on."""
        self._open[transport] = _Open(since_s=asyncio.get_running_loop().time())
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
        now = asyncio.get_running_loop().time()
        for transport, line in list(self._open.items()):
            sock = transport.get_extra_info("socket")
            if sock is None or transport.is_closing():
                del self._open[transport]
                continue
            peer = transport.get_extra_info("peername") or ("", 0)
            name = f"{peer[0]}:{peer[1]}"
            again = times_again(sock)
            silent = again >= self._again or (line.silent and again > 0)
            if silent != line.silent:
                line.silent = silent
                self._on_unheard(name, unacknowledged(sock), again + 1 if silent else 0)
            if not line.settled:
                waited_s = now - line.since_s
                count = received(sock)
                line.settled = count != 0 or waited_s >= self._mute_s
                if line.settled and not count:
                    self._on_mute(name, waited_s)
        if self._open:
            self._wait()


def times_again(sock: socket.socket) -> int:
    """Return how often what a peer should have acknowledged was sent again; 0: it did."""
    info = _info(sock)
    return info[_RETRANSMITS] if len(info) > _RETRANSMITS else 0


def received(sock: socket.socket) -> int:
    """Return how many octets came; -1 where that is not to be known."""
    counter = _info(sock)[_RECEIVED : _RECEIVED + 8]
    return int(struct.unpack("=Q", counter)[0]) if len(counter) == 8 else -1


def _info(sock: socket.socket) -> bytes:
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED + 8)
    except OSError:  # it is gone by now
        return b""


def unacknowledged(sock: socket.socket) -> int:
    """Return how many octets the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7))."""
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
