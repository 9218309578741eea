"""One frame in one line, for people: who to whom, which protocol, how long."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

_ARP, _IPV4, _IPV6, _VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_FLAGS: Final = ((2, "S"), (16, "."), (8, "P"), (1, "F"), (4, "R"))
_ICMPV6_NAMES: Final = {
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
}


def frame_line(frame: bytes) -> str:
    """Return ``10.0.0.1:68 → 10.0.0.2:67 UDP 300``; whatever ``frame`` is, a line comes out."""
    try:
        return _line(frame)
    except (struct.error, ValueError, IndexError):
        return f"cut off, {len(frame)} octets"


def _line(frame: bytes) -> str:
    sender, receiver = frame[6:12].hex(":"), frame[0:6].hex(":")
    (kind,) = struct.unpack_from("!H", frame, 12)
    start, vlan = 14, ""
    if kind == _VLAN:
        tag, kind = struct.unpack_from("!HH", frame, 14)
        start, vlan = 18, f" VLAN {tag & 0xFFF}"
    if kind == _ARP:
        return _arp(frame, start) + vlan
    if kind == _IPV4:
        length = (frame[start] & 15) * 4
        source = str(IPv4Address(frame[start + 12 : start + 16]))
        target = str(IPv4Address(frame[start + 16 : start + 20]))
        (total, fragment) = struct.unpack_from("!H2xH", frame, start + 2)
        if fragment & 0x1FFF:
            return f"{source} → {target} fragment {total - length}{vlan}"
        protocol = frame[start + 9]
        return _transport(frame, start + length, protocol, source, target, total - length) + vlan
    if kind == _IPV6:
        source = str(IPv6Address(frame[start + 8 : start + 24]))
        target = str(IPv6Address(frame[start + 24 : start + 40]))
        (size,) = struct.unpack_from("!H", frame, start + 4)
        source, target = f"[{source}]", f"[{target}]"
        return _transport(frame, start + 40, frame[start + 6], source, target, size) + vlan
    return f"{sender} → {receiver} type 0x{kind:04x} {len(frame)}{vlan}"


def _arp(frame: bytes, start: int) -> str:
    (operation,) = struct.unpack_from("!H", frame, start + 6)
    asking = IPv4Address(frame[start + 14 : start + 18])
    wanted = IPv4Address(frame[start + 24 : start + 28])
    if operation == 1:
        return f"{asking} → ARP who has {wanted}?"
    return f"{asking} → ARP {asking} is at {frame[start + 8 : start + 14].hex(':')}"


def _transport(frame: bytes, start: int, protocol: int, source: str, target: str, size: int) -> str:
    if protocol == _UDP:
        sport, dport = struct.unpack_from("!HH", frame, start)
        return f"{source}:{sport} → {target}:{dport} UDP {size - 8}"
    if protocol == _TCP:
        sport, dport = struct.unpack_from("!HH", frame, start)
        flags = "".join(name for bit, name in _FLAGS if frame[start + 13] & bit)
        data = size - (frame[start + 12] >> 4) * 4
        return f"{source}:{sport} → {target}:{dport} TCP {flags or '-'} {data}"
    if protocol == _ICMPV6:
        what = _ICMPV6_NAMES.get(frame[start], f"type {frame[start]}")
        return f"{source} → {target} ICMPv6 {what}"
    if protocol == _ICMP:
        return f"{source} → {target} ICMP type {frame[start]} code {frame[start + 1]}"
    return f"{source} → {target} protocol {protocol} {size}"
