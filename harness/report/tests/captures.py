"""Captures made by hand, for the tests of reports: frames as a lab's recorder would have them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from harness.net import pcapng
from harness.wire.commands import Address

BEGAN = datetime(2026, 11, 21, 14, 0, 0, tzinfo=UTC)
"""When the runs of these tests began."""
CLIENT: Address = ("192.168.77.10", 40000)
SERVER = "192.168.77.1"
MACHINE_MAC = bytes.fromhex("525400123456")
SERVER_MAC = bytes.fromhex("020000000001")

Frame = tuple[float, bytes]
"""Seconds since the run began, and octets."""


def _ipv4(protocol: int, source: Address, destination: Address, body: bytes) -> bytes:
    from_machine = source[0] in (CLIENT[0], "0.0.0.0")
    macs = (SERVER_MAC + MACHINE_MAC) if from_machine else (MACHINE_MAC + SERVER_MAC)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0,
        IPv4Address(source[0]).packed, IPv4Address(destination[0]).packed,
    )  # fmt: skip
    return macs + b"\x08\x00" + head + body


def udp(source: Address, destination: Address, data: bytes) -> bytes:
    """Return a frame with a UDP datagram."""
    head = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0)
    return _ipv4(17, source, destination, head + data)


def tcp(
    source: Address, destination: Address, data: bytes = b"", *, flags: int = 16, sequence: int = 1
) -> bytes:
    """Return a frame with a TCP segment."""
    head = struct.pack("!HHIIBBHHH", source[1], destination[1], sequence, 1, 80, flags, 8192, 0, 0)
    return _ipv4(6, source, destination, head + data)


def icmp(source: Address, destination: Address, code: int) -> bytes:
    """Return a frame that says "destination unreachable"."""
    return _ipv4(1, source, destination, bytes([3, code]) + bytes(34))


def write_capture(path: Path, frames: Iterable[Frame]) -> Path:
    """Write a capture; return its path."""
    base_ns = int(BEGAN.timestamp()) * 1_000_000_000
    with path.open("wb") as file:
        file.write(pcapng.section(application="hooklab") + pcapng.interface("hook0"))
        for t, frame in frames:
            file.write(pcapng.packet(base_ns + int(t * 1e9), frame))
    return path
