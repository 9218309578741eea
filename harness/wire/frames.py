"""What an Ethernet frame carries: UDP datagrams and TCP segments over IPv4, nothing else."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from harness.wire.commands import Address

_ETHERTYPE_IPV4: Final = 0x0800
_TCP, _UDP = 6, 17
_MORE_OR_OFFSET: Final = 0x3FFF
FIN, SYN, RST = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """A UDP datagram on its way."""

    mac: str
    """The sender's, lower case with colons."""
    source: Address
    destination: Address
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A TCP segment on its way."""

    mac: str
    source: Address
    destination: Address
    sequence: int
    flags: int
    data: bytes


def decode(frame: bytes) -> Datagram | Segment | None:
    """Return what ``frame`` carries; None for anything else, fragments and cut frames included."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[14] >> 4 != 4:
        return None
    total, fragment = struct.unpack_from("!H2xH", frame, 16)
    start, end = 14 + (frame[14] & 15) * 4, 14 + total
    if fragment & _MORE_OR_OFFSET or end > len(frame) or start + 8 > end:
        return None
    mac = frame[6:12].hex(":")
    source, destination = str(IPv4Address(frame[26:30])), str(IPv4Address(frame[30:34]))
    sport, dport = struct.unpack_from("!HH", frame, start)
    if frame[23] == _UDP:
        (length,) = struct.unpack_from("!H", frame, start + 4)
        if length < 8 or start + length > end:
            return None
        return Datagram(
            mac=mac,
            source=(source, sport),
            destination=(destination, dport),
            data=frame[start + 8 : start + length],
        )
    if frame[23] != _TCP or start + 20 > end:
        return None
    (sequence,) = struct.unpack_from("!I", frame, start + 4)
    return Segment(
        mac=mac,
        source=(source, sport),
        destination=(destination, dport),
        sequence=sequence,
        flags=frame[start + 13],
        data=frame[start + (frame[start + 12] >> 4) * 4 : end],
    )
