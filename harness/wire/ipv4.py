"""IPv4 and UDP headers (RFC 791, RFC 768), for datagrams that claim another sender."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Final

from harness.wire.commands import Address

_IP: Final = struct.Struct("!BBHHHBBH4s4s")
_UDP: Final = struct.Struct("!HHHH")
_PROTOCOL_UDP: Final = 17


def encode_udp(data: bytes, *, source: Address, destination: Address) -> bytes:
    """Return an IPv4 packet with one UDP datagram; both checksums are set.

    Raises ``ValueError`` for what is no address, and for more octets than fit.
    """
    sender = IPv4Address(source[0]).packed
    receiver = IPv4Address(destination[0]).packed
    length = _UDP.size + len(data)
    if _IP.size + length > 0xFFFF:
        raise ValueError(f"{len(data)} octets do not fit into a datagram")
    bare = _UDP.pack(source[1], destination[1], length, 0)
    pseudo = sender + receiver + struct.pack("!BBH", 0, _PROTOCOL_UDP, length)
    total = checksum(pseudo + bare + data) or 0xFFFF  # RFC 768: 0 means that there is none
    udp = _UDP.pack(source[1], destination[1], length, total) + data
    head = _IP.pack(0x45, 0, _IP.size + length, 0, 0, 64, _PROTOCOL_UDP, 0, sender, receiver)
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + udp


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071); 0 for data that carries the right one."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
