"""TFTP packets (RFC 1350) and option extension (RFC 2347): a strict codec."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from harness.errors import DecodeError

SERVER_PORT: Final = 69
DEFAULT_BLOCK_BYTES: Final = 512
_HEAD: Final = struct.Struct("!HH")
_DATA: Final = 3
_ACK: Final = 4
_ACK_HEAD: Final = b"\0\4"


class Opcode(IntEnum):
    """RFC 1350 §5, RFC 2347."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350 appendix; 8 is RFC 2347's."""

    UNDEFINED = 0
    FILE_NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    DISK_FULL = 3
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER = 5
    FILE_EXISTS = 6
    NO_SUCH_USER = 7
    OPTION_REFUSED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """RRQ or WRQ. ``mode`` and the names of options are lower case; both ignore case."""

    opcode: Opcode
    file: str
    mode: str
    options: Mapping[str, str] = field(default_factory=dict)
    """In the order of the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One block; ``block`` is 16 bits wide and wraps to 0."""

    block: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Acknowledges every block up to ``block`` (RFC 7440 §4)."""

    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Ends a transfer. ``code`` may be one the RFCs do not know."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Oack:
    """Says which options the server took."""

    options: Mapping[str, str]


Packet = Request | Data | Ack | Error | Oack


def acknowledged_block(datagram: bytes) -> int | None:
    """Return the block of an ACK, None for any other packet: what comes most, read quickest."""
    if len(datagram) < 4 or not datagram.startswith(_ACK_HEAD):
        return None
    return datagram[2] << 8 | datagram[3]


def ack_packet(block: int) -> bytes:
    """Return an ACK."""
    return _HEAD.pack(_ACK, block)


def data_packet(block: int, payload: bytes | memoryview) -> bytes:
    """Return a DATA packet, its payload copied once."""
    return b"".join((_HEAD.pack(_DATA, block), payload))


def decode(datagram: bytes) -> Packet:
    """Return the packet ``datagram`` holds. Raises ``DecodeError``."""
    if len(datagram) < 4:
        raise DecodeError(f"{len(datagram)} octets are too short for TFTP", rfc="RFC 1350 §5")
    opcode, number = _HEAD.unpack_from(datagram)
    match opcode:
        case Opcode.DATA:
            return Data(block=number, payload=datagram[4:])
        case Opcode.ACK:
            return Ack(block=number)
        case Opcode.ERROR:
            # Some clients leave the closing NUL out.
            return Error(code=number, text=_text(datagram[4:].split(b"\0", 1)[0]))
        case Opcode.RRQ | Opcode.WRQ:
            words = _words(datagram, "file name")
            if len(words) < 2 or not words[0]:
                raise DecodeError("no file name or no mode", offset=2, rfc="RFC 1350 §5")
            return Request(
                opcode=Opcode(opcode),
                file=words[0],
                mode=words[1].lower(),
                options=_pairs(words[2:]),
            )
        case Opcode.OACK:
            return Oack(options=_pairs(_words(datagram, "option")))
        case _:
            raise DecodeError(f"opcode {opcode} is unknown", field="opcode", rfc="RFC 1350 §5")


def encode(packet: Packet) -> bytes:
    """Return ``packet`` as a datagram. Raises ``ValueError`` for text that holds a NUL."""
    match packet:
        case Data():
            return data_packet(packet.block, packet.payload)
        case Ack():
            return ack_packet(packet.block)
        case Error():
            return _HEAD.pack(Opcode.ERROR, packet.code) + _z(packet.text)
        case Request():
            head = packet.opcode.to_bytes(2, "big") + _z(packet.file) + _z(packet.mode)
            return head + _packed_pairs(packet.options)
        case Oack():
            return Opcode.OACK.to_bytes(2, "big") + _packed_pairs(packet.options)


def netascii(content: bytes) -> bytes:
    """Return ``content`` in netascii: LF becomes CR LF, a bare CR becomes CR NUL (RFC 764)."""
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _z(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise ValueError(f"{text!r} holds a NUL")
    return data + b"\0"


def _words(datagram: bytes, what: str) -> list[str]:
    if not datagram.endswith(b"\0"):
        raise DecodeError(
            f"the last {what} is not closed by a NUL", offset=len(datagram), rfc="RFC 1350 §5"
        )
    return [_text(word) for word in datagram[2:-1].split(b"\0")]


def _pairs(words: list[str]) -> dict[str, str]:
    """Return options; a name without a value at the end is dropped, as most servers do."""
    return {
        name.lower(): value for name, value in zip(words[::2], words[1::2], strict=False) if name
    }


def _packed_pairs(options: Mapping[str, str]) -> bytes:
    return b"".join(_z(name) + _z(value) for name, value in options.items())
