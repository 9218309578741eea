"""NTP (RFC 5905): the 48-octet header, and a server that tells a time that may be wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from harness.errors import DecodeError
from harness.wire.commands import Address, Command, Note, Send

SERVER_PORT: Final = 123
_HEADER: Final = struct.Struct("!BBbbII4sQQQQ")
_UNIX_TO_NTP_S: Final = 2_208_988_800
"""Seconds from 1900-01-01 to 1970-01-01 (RFC 5905 figure 4)."""
_FRACTION: Final = 1 << 32


class Mode(IntEnum):
    """RFC 5905 figure 10."""

    SYMMETRIC_ACTIVE = 1
    SYMMETRIC_PASSIVE = 2
    CLIENT = 3
    SERVER = 4
    BROADCAST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpPacket:
    """One packet. Time stamps are 64-bit numbers: seconds of an era, and their fraction."""

    leap: int = 0
    """0 no warning, 3 not synchronised."""
    version: int = 4
    mode: int = Mode.CLIENT
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    reference_id: bytes = bytes(4)
    """A kiss code where ``stratum`` is 0."""
    reference: int = 0
    origin: int = 0
    received: int = 0
    transmitted: int = 0
    rest: bytes = b""
    """Extension fields and MAC, as they are."""


def decode(datagram: bytes) -> NtpPacket:
    """Return the packet ``datagram`` holds. Raises ``DecodeError``."""
    if len(datagram) < _HEADER.size:
        raise DecodeError(
            f"{len(datagram)} octets are too short for NTP's {_HEADER.size}",
            offset=len(datagram), rfc="RFC 5905 §7.3",
        )  # fmt: skip
    first, *numbers = _HEADER.unpack_from(datagram)
    names = (
        "stratum", "poll", "precision", "root_delay", "root_dispersion", "reference_id",
        "reference", "origin", "received", "transmitted",
    )  # fmt: skip
    return NtpPacket(
        leap=first >> 6,
        version=first >> 3 & 7,
        mode=first & 7,
        rest=datagram[_HEADER.size :],
        **dict(zip(names, numbers, strict=True)),
    )


def encode(packet: NtpPacket) -> bytes:
    """Return ``packet`` as a datagram. Raises ``struct.error`` for a field out of its range."""
    return (
        _HEADER.pack(
            packet.leap << 6 | packet.version << 3 | packet.mode,
            packet.stratum, packet.poll, packet.precision,
            packet.root_delay, packet.root_dispersion, packet.reference_id,
            packet.reference, packet.origin, packet.received, packet.transmitted,
        )
        + packet.rest
    )  # fmt: skip


def timestamp(unix_s: float) -> int:
    """Return the NTP time stamp of a Unix time; later eras wrap (RFC 5905 §6)."""
    return round((unix_s + _UNIX_TO_NTP_S) * _FRACTION) % (1 << 64)


def unix_time(stamp: int) -> float:
    """Return the Unix time, within era 0 (until 2036), of an NTP time stamp."""
    return stamp / _FRACTION - _UNIX_TO_NTP_S


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpPolicy:
    """What the server claims."""

    offset_s: float = 0.0
    """Added to the true time; may be negative."""
    stratum: int = 2
    leap: int = 0
    reference_id: bytes = b"\xc0\xa8\x4d\x01"


class NtpServer:
    """Answers clients. ``unix_at`` turns the run's clock into Unix seconds."""

    def __init__(
        self,
        *,
        unix_at: Callable[[float], float],
        policy: NtpPolicy | None = None,
        identify: Callable[[str], str | None] | None = None,
    ) -> None:
        self.policy = policy or NtpPolicy()
        self._unix_at = unix_at
        self._identify = identify or (lambda _: None)

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Answer a client or a symmetric peer; anything else is only noted."""
        asked = decode(datagram)
        where = f"{peer[0]}:{peer[1]}"
        received = Note(
            name="ntp.request.received",
            fields={
                "mac": self._identify(peer[0]),
                "peer": where,
                "version": asked.version,
                "mode": asked.mode,
            },
        )
        if asked.mode not in (Mode.CLIENT, Mode.SYMMETRIC_ACTIVE):
            return [received]
        policy = self.policy
        stamp = timestamp(self._unix_at(now) + policy.offset_s)
        answer = NtpPacket(
            leap=policy.leap,
            version=asked.version,
            mode=Mode.SERVER if asked.mode == Mode.CLIENT else Mode.SYMMETRIC_PASSIVE,
            stratum=policy.stratum,
            poll=asked.poll,
            precision=-20,
            reference_id=policy.reference_id,
            reference=stamp,
            origin=asked.transmitted,
            received=stamp,
            transmitted=stamp,
        )
        sent = Note(name="ntp.answer.sent", fields={"peer": where, "stratum": policy.stratum})
        return [received, Send(data=encode(answer), destination=peer), sent]

    def timer(self, name: str, now: float) -> list[Command]:
        """Do nothing: this server sets no timers."""
        del name, now
        return []
