"""Router Solicitations and Advertisements (RFC 4861) as whole Ethernet frames.

A lab has no IPv6. iPXE asks for a router all the same and waits; an advertisement with a lifetime
of 0 and no prefix says "no router here" and ends that wait.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from harness.errors import DecodeError

ETHERTYPE: Final = 0x86DD
ALL_NODES: Final = IPv6Address("ff02::1")
_ALL_NODES_LINK: Final = bytes.fromhex("333300000001")
_ETHERNET: Final = struct.Struct("!6s6sH")
_IPV6: Final = struct.Struct("!IHBB16s16s")
_ICMPV6: Final = 58
_SOLICITATION: Final = 133
_ADVERTISEMENT: Final = 134
_ON_LINK_AUTONOMOUS: Final = 0xC0
_DAY: Final = 86_400
_HOP_LIMIT: Final = 255
"""RFC 4861 §6.1: anything else came from another link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solicitation:
    """A machine looks for a router."""

    mac: str
    source: str
    """``::`` where the machine has no address yet."""


def decode_solicitation(frame: bytes) -> Solicitation | None:
    """Return the solicitation in ``frame``, or None when it is something else.

    Raises ``DecodeError`` for one that breaks a rule of RFC 4861 §6.1.1.
    """
    if len(frame) < 14 + 40 + 8:
        return None
    _, source_link, ethertype = _ETHERNET.unpack_from(frame)
    first, length, next_header, hop_limit, source, destination = _IPV6.unpack_from(frame, 14)
    if ethertype != ETHERTYPE or first >> 28 != 6 or next_header != _ICMPV6:
        return None
    body = frame[54 : 54 + length]
    if not body or body[0] != _SOLICITATION:
        return None
    rule = "RFC 4861 §6.1.1"
    if len(body) != length or length < 8:
        raise DecodeError("a Router Solicitation is cut off", offset=len(frame), rfc=rule)
    if hop_limit != _HOP_LIMIT or body[1] != 0:
        raise DecodeError(
            f"a Router Solicitation has hop limit {hop_limit}, code {body[1]}", offset=21, rfc=rule
        )
    if _checksum(source, destination, body) != 0:
        raise DecodeError("a Router Solicitation has a wrong checksum", offset=56, rfc=rule)
    return Solicitation(mac=source_link.hex(":"), source=str(IPv6Address(source)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """What a router says of itself (RFC 4861 §4.2). As it is: there is no router here."""

    lifetime_s: int = 0
    """How long it is a default router, up to 65535; 0: it is none."""
    managed: bool = False
    """Addresses come by DHCPv6."""
    other: bool = False
    """Other things come by DHCPv6."""
    hop_limit: int = 64
    prefix: str | None = None
    """Machines make addresses of it (RFC 4862), as ``2001:db8::/64``."""
    mtu: int | None = None


def encode_advertisement(*, mac: bytes, said: Advertisement | None = None) -> bytes:
    """Return a frame to all nodes from the interface ``mac``; without ``said``: no router.

    Raises ``ValueError`` and ``struct.error`` for what fits into no advertisement.
    """
    said = said or Advertisement()
    source = link_local(mac).packed
    flags = said.managed << 7 | said.other << 6
    # type, code, checksum, hop limit, flags, lifetime, reachable and retransmission time
    body = struct.pack(
        "!BBHBBHII", _ADVERTISEMENT, 0, 0, said.hop_limit, flags, said.lifetime_s, 0, 0
    )
    body += b"\x01\x01" + mac
    if said.mtu is not None:
        body += struct.pack("!BBHI", 5, 1, 0, said.mtu)
    if said.prefix is not None:
        prefix = IPv6Network(said.prefix)
        head = struct.pack("!BBBBIII", 3, 4, prefix.prefixlen, _ON_LINK_AUTONOMOUS, _DAY, _DAY, 0)
        body += head + prefix.network_address.packed
    checksum = _checksum(source, ALL_NODES.packed, body)
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    header = _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOP_LIMIT, source, ALL_NODES.packed)
    return _ETHERNET.pack(_ALL_NODES_LINK, mac, ETHERTYPE) + header + body


def link_local(mac: bytes) -> IPv6Address:
    """Return the link-local address made of a MAC (RFC 4291 appendix A)."""
    identifier = bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def _checksum(source: bytes, destination: bytes, body: bytes) -> int:
    """Return the ICMPv6 checksum (RFC 4443 §2.3); 0 for a body that carries the right one."""
    data = source + destination + struct.pack("!II", len(body), _ICMPV6) + body
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
