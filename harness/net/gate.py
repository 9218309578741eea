"""Hold machines' TCP connections off: their SYNs are dropped, and seen.

A listening socket with a socket filter that keeps nothing drops every SYN without a word, and the
client's own TCP sends it again (RFC 9293 §3.8.1). So a moment before a connection can be made to
last as long as somebody likes, and the client needs to know nothing of it.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SO_ATTACH_FILTER: Final = 26
_SO_DETACH_FILTER: Final = 27
_ETH_P_IP: Final = 0x0800
_PACKET_OUTGOING: Final = 4
_SOURCE: Final = 0xFFF0_0000 + 12  # SKF_NET_OFF: of the IP header, whatever comes before
# Classic BPF (linux/filter.h) on an Ethernet frame: IPv4, TCP, no fragment, SYN without ACK.
_ONLY_SYN: Final = (
    (0x28, 0, 0, 12),  # ldh [12]: EtherType
    (0x15, 0, 9, 0x0800),
    (0x30, 0, 0, 23),  # ldb [23]: protocol
    (0x15, 0, 7, 6),
    (0x28, 0, 0, 20),  # ldh [20]: fragment offset
    (0x45, 5, 0, 0x1FFF),
    (0xB1, 0, 0, 14),  # ldxb 4*([14]&0xf): length of the IP header
    (0x50, 0, 0, 27),  # ldb [x+27]: TCP's flags
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)
_TABLE: Final = Path("/proc/net/tcp")
_TCP_STATES: Final = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0B": "CLOSING",
}
"""States in which the other end may still have a connection (include/net/tcp_states.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syn:
    """A connection that a machine wants."""

    mac: str
    address: str
    """The machine's."""
    port: int
    """The server's."""


def shut(listener: socket.socket, own: Collection[str]) -> None:
    """Drop every later SYN to ``listener`` but from ``own`` addresses. Raises ``OSError``."""
    program = [(0x20, 0, 0, _SOURCE)]  # ld [net + 12]
    for left, address in zip(range(len(own), 0, -1), sorted(own), strict=True):
        number = int.from_bytes(socket.inet_aton(address), "big")
        program.append((0x15, left, 0, number))  # jeq: to the last instruction
    _attach(listener, [*program, (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF)])


def reopen(listener: socket.socket) -> None:
    """Let SYNs to ``listener`` in again. Idempotent."""
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError:
        return  # there is no filter, or no socket any more


def _attach(sock: socket.socket, program: Iterable[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)


class SynWatcher:
    """Tells of each SYN that arrives on ``interface`` for one of ``ports``."""

    def __init__(
        self, interface: str, ports: Collection[int], on_syn: Callable[[Syn], None]
    ) -> None:
        """Begin to watch. Raises ``OSError``."""
        self._ports = frozenset(ports)
        self._on_syn = on_syn
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setblocking(False)
            _attach(self._socket, _ONLY_SYN)
            self._socket.bind((interface, _ETH_P_IP))
        except BaseException:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                frame, sender = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:  # the interface is gone
                self.close()
                return
            at = 14 + 4 * (frame[14] & 15)
            port = int.from_bytes(frame[at + 2 : at + 4], "big")
            if sender[2] != _PACKET_OUTGOING and port in self._ports:
                address = socket.inet_ntoa(frame[26:30])
                self._on_syn(Syn(mac=frame[6:12].hex(":"), address=address, port=port))

    def close(self) -> None:
        """Watch no more. Idempotent."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()


def connections(own: Collection[str], *, table: Path = _TABLE) -> list[str]:
    """Return each TCP connection of this network with somebody else, ``own`` being our addresses.

    Those that the other end has closed for good are left out.
    """
    found = []
    for line in table.read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        address = _address(remote)
        if state in _TCP_STATES and address.rpartition(":")[0] not in {*own, "127.0.0.1"}:
            found.append(f"{_address(local)} with {address} ({_TCP_STATES[state]})")
    return found


def _address(text: str) -> str:
    address, _, port = text.partition(":")
    octets = struct.pack("=I", int(address, 16))  # as it is in memory
    return f"{socket.inet_ntoa(octets)}:{int(port, 16)}"
