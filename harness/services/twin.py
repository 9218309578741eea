"""A second socket on a UDP port, for one of its peers: connected.

The kernel gives it what the peer sends to the port and leaves the rest to the first socket. No
address is built for what comes and none is looked up for what goes, which is a tenth of what a
short exchange costs.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from harness.wire.commands import Address

_SHORTEST_WAIT: Final = struct.pack("@ll", 0, 1)
"""As ``struct timeval``; the kernel makes one or two ticks of it."""
_MAX_DATAGRAM: Final = 65_535


@dataclass(slots=True)
class Twin:
    """One peer's socket. A read without MSG_DONTWAIT waits for the shortest time there is."""

    sock: socket.socket
    early: list[tuple[bytes, Address]]
    """What came, and from whom, while it was not yet connected: from anybody, as to the first."""
    used: bool = True
    """Whether something came since somebody looked."""
    slow_rounds: int = 0
    """How many more rounds of its peer are not waited for."""


def twin_of(first: socket.socket, peer: Address) -> Twin:
    """Return a twin of ``first`` that hears ``peer`` only. Raises ``OSError``."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # the kernel gives twice what is asked
            sock.setsockopt(
                socket.SOL_SOCKET, option, first.getsockopt(socket.SOL_SOCKET, option) // 2
            )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _SHORTEST_WAIT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared = first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(first.getsockname())
        finally:  # for anybody else the port is taken as before
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, shared)
        sock.connect(peer)
        return Twin(sock, _early(sock))
    except BaseException:
        sock.close()
        raise


def _early(sock: socket.socket) -> list[tuple[bytes, Address]]:
    early: list[tuple[bytes, Address]] = []
    while True:
        try:
            data, sender = sock.recvfrom(_MAX_DATAGRAM, socket.MSG_DONTWAIT)
        except OSError:  # there is nothing (more)
            return early
        early.append((data, (sender[0], sender[1])))
