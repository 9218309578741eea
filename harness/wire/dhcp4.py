"""DHCPv4 messages: a strict codec that keeps what it does not know.

Options keep their order and their duplicates, so that a fault can emit what no sane server would.
``Message.option`` gives the aggregate value of RFC 3396 §7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Final, NamedTuple

from harness.errors import DecodeError

SERVER_PORT: Final = 67
CLIENT_PORT: Final = 68
COOKIE: Final = b"\x63\x82\x53\x63"
BOOTP_FLOOR_BYTES: Final = 300
"""RFC 951 §3: relays and firmware drop anything shorter."""
BROADCAST_FLAG: Final = 0x8000

_HEADER: Final = struct.Struct("!4B4sHH4s4s4s4s16s64s128s")
_OPTIONS_AT: Final = _HEADER.size + len(COOKIE)
_MAX_PIECE: Final = 255


class MessageType(IntEnum):
    """Option 53, RFC 2132 §9.6."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Code(IntEnum):
    """The options this lab speaks of; any other number passes through."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    NAME_SERVER = 6
    LOG_SERVER = 7
    HOST_NAME = 12
    DOMAIN_NAME = 15
    BROADCAST_ADDRESS = 28
    TIME_SERVER = 42
    VENDOR_SPECIFIC = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_IDENTIFIER = 54
    PARAMETER_REQUEST = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    VENDOR_CLASS = 60
    CLIENT_IDENTIFIER = 61
    TFTP_SERVER_NAME = 66
    BOOT_FILE_NAME = 67
    USER_CLASS = 77
    RELAY_AGENT = 82
    ARCHITECTURE = 93
    NETWORK_INTERFACE = 94
    MACHINE_IDENTIFIER = 97
    DOMAIN_SEARCH = 119
    CLASSLESS_ROUTES = 121
    IPXE = 175
    END = 255


class Option(NamedTuple):
    """One option or sub-option. More than 255 octets are split on the wire (RFC 3396)."""

    code: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One BOOTP or DHCP message. Addresses are dotted strings."""

    op: int = 1
    """1 BOOTREQUEST, 2 BOOTREPLY."""
    htype: int = 1
    hops: int = 0
    xid: bytes = bytes(4)
    secs: int = 0
    flags: int = 0
    ciaddr: str = "0.0.0.0"
    yiaddr: str = "0.0.0.0"
    siaddr: str = "0.0.0.0"
    giaddr: str = "0.0.0.0"
    chaddr: bytes = bytes(6)
    """The client's hardware address, at most 16 octets."""
    sname: bytes = b""
    """At most 64 octets; trailing NULs are not kept."""
    file: bytes = b""
    """At most 128 octets; trailing NULs are not kept."""
    options: tuple[Option, ...] = ()

    def option(self, code: int) -> bytes | None:
        """Return the joined value of every instance of ``code`` (RFC 3396 §7), or None."""
        pieces = [data for number, data in self.options if number == code]
        return b"".join(pieces) if pieces else None

    @property
    def type(self) -> int | None:
        """Option 53: a ``MessageType``, a plain number for one that is unknown, or None."""
        data = self.option(Code.MESSAGE_TYPE)
        if not data or len(data) != 1:
            return None
        return MessageType(data[0]) if 1 <= data[0] <= MessageType.INFORM else data[0]

    @property
    def mac(self) -> str:
        """``chaddr`` in lower case with colons."""
        return self.chaddr.hex(":")

    @property
    def transaction(self) -> str:
        """``xid`` in hexadecimal, as packet analysers print it."""
        return f"0x{self.xid.hex()}"

    @property
    def boot_file(self) -> str:
        """``file`` up to its first NUL."""
        return self.file.split(b"\0", 1)[0].decode("utf-8", "replace")

    def text(self, code: int) -> str | None:
        """Return an option as text; octets that are no UTF-8 are replaced."""
        data = self.option(code)
        return None if data is None else data.decode("utf-8", "replace")

    def address(self, code: int) -> str | None:
        """Return an option that holds one address as dotted text, or None for any other length."""
        data = self.option(code)
        return _dotted(data) if data and len(data) == 4 else None

    def with_option(self, code: int, data: bytes) -> Message:
        """Return a copy where ``code`` has only this value, in its old place or at the end."""
        kept: list[Option] = []
        put = False
        for option in self.options:
            if option.code != code:
                kept.append(option)
            elif not put:
                kept.append(Option(code, data))
                put = True
        if not put:
            kept.append(Option(code, data))
        return replace(self, options=tuple(kept))


def decode(datagram: bytes, *, overload: bool = True) -> Message:
    """Return the message that ``datagram`` holds.

    Strict as RFC 2131 §2 asks: the magic cookie and the END option must be there, and no option
    may run over its field. Without ``overload``, options in ``file`` and ``sname`` are not looked
    for (RFC 2132 §9.3), as smee's library never does. Raises ``DecodeError``.
    """
    if len(datagram) < _OPTIONS_AT:
        raise DecodeError(
            f"{len(datagram)} octets are too short for DHCP's {_OPTIONS_AT}",
            offset=len(datagram), field="cookie", rfc="RFC 2131 §2",
        )  # fmt: skip
    header = _HEADER.unpack_from(datagram)
    op, htype, hlen, hops, xid, secs, flags, *addresses_in_header, chaddr, sname, file = header
    ciaddr, yiaddr, siaddr, giaddr = map(_dotted, addresses_in_header)
    if datagram[_HEADER.size : _OPTIONS_AT] != COOKIE:
        raise DecodeError(
            "the magic cookie is missing", offset=_HEADER.size, field="cookie", rfc="RFC 2131 §3"
        )
    options = list(decode_options(datagram[_OPTIONS_AT:], offset=_OPTIONS_AT))
    used = next((o.data for o in options if o.code == Code.OVERLOAD), b"")
    if overload and len(used) == 1 and 1 <= used[0] <= 3:
        options = [option for option in options if option.code != Code.OVERLOAD]
        if used[0] & 1:
            options += decode_options(file, offset=108)
            file = b""
        if used[0] & 2:
            options += decode_options(sname, offset=44)
            sname = b""
    return Message(
        op=op,
        htype=htype,
        hops=hops,
        xid=xid,
        secs=secs,
        flags=flags,
        ciaddr=ciaddr,
        yiaddr=yiaddr,
        siaddr=siaddr,
        giaddr=giaddr,
        chaddr=chaddr[:hlen],
        sname=sname.rstrip(b"\0"),
        file=file.rstrip(b"\0"),
        options=tuple(_joined(options)),
    )


def encode(message: Message, *, max_bytes: int | None = None) -> bytes:
    """Return ``message`` as a datagram, padded to 300 octets.

    With ``max_bytes``, options that do not fit go into ``file`` and ``sname`` where these are
    empty (option overload, RFC 2132 §9.3). Raises ``ValueError`` for what does not fit at all.
    """
    sname, file = _fixed("sname", message.sname, 64), _fixed("file", message.file, 128)
    options = encode_options(message.options) + b"\xff"
    if max_bytes is not None and _OPTIONS_AT + len(options) > max_bytes:
        options, file, sname = _overloaded(message, max_bytes - _OPTIONS_AT)
    if len(message.chaddr) > 16 or len(message.xid) != 4:
        raise ValueError("chaddr has at most 16 octets and xid exactly 4")
    header = _HEADER.pack(
        message.op, message.htype, len(message.chaddr), message.hops, message.xid,
        message.secs, message.flags,
        packed(message.ciaddr), packed(message.yiaddr), packed(message.siaddr),
        packed(message.giaddr), message.chaddr, sname, file,
    )  # fmt: skip
    return (header + COOKIE + options).ljust(BOOTP_FLOOR_BYTES, b"\0")


def decode_options(
    field: bytes, *, offset: int = 0, end_required: bool = True, padded: bool = True
) -> list[Option]:
    """Return the options in ``field``, in order and with duplicates.

    ``padded`` says that 0 and 255 are PAD and END rather than codes; option 82 has neither
    (RFC 3046 §2.0). Raises ``DecodeError``; ``offset`` is where ``field`` starts in its message.
    """
    options: list[Option] = []
    at = 0
    while at < len(field):
        code = field[at]
        if padded and code == Code.PAD:
            at += 1
            continue
        if padded and code == Code.END:
            return options
        if at + 1 >= len(field) or at + 2 + field[at + 1] > len(field):
            raise DecodeError(
                f"option {code} runs over the end of its field",
                offset=offset + at, field=f"option {code}", rfc="RFC 2132 §2",
            )  # fmt: skip
        end = at + 2 + field[at + 1]
        options.append(Option(code, field[at + 2 : end]))
        at = end
    if end_required and padded:
        raise DecodeError(
            "the END option is missing", offset=offset + at, field="END", rfc="RFC 2131 §4.1"
        )
    return options


def encode_options(options: Iterable[Option]) -> bytes:
    """Return options without END; values of more than 255 octets are split (RFC 3396 §5)."""
    out = bytearray()
    for code, data in options:
        for start in range(0, len(data) or 1, _MAX_PIECE):
            piece = data[start : start + _MAX_PIECE]
            out += bytes((code, len(piece))) + piece
    return bytes(out)


def decode_suboptions(data: bytes, *, padded: bool = True) -> list[Option]:
    """Return the sub-options of option 43 or 175, or of 82 (``padded=False``).

    An END is not required there (RFC 2132 §8.4). Raises ``DecodeError``.
    """
    return decode_options(data, end_required=False, padded=padded)


def _dotted(octets: bytes) -> str:
    return "%d.%d.%d.%d" % tuple(octets)  # noqa: UP031 - a fifth of the time of IPv4Address


@lru_cache(maxsize=4096)
def packed(address: str) -> bytes:
    """Return a dotted address as 4 octets. Raises ``ValueError`` when it is none."""
    return IPv4Address(address).packed


def addresses(values: Sequence[str]) -> bytes:
    """Return a list of addresses as the value of an option."""
    return b"".join(packed(value) for value in values)


def unpack_addresses(data: bytes) -> list[str]:
    """Return the addresses of an option. Raises ``DecodeError`` unless all have 4 octets."""
    if len(data) % 4:
        raise DecodeError("a list of addresses has a length that is no multiple of 4")
    return [_dotted(data[at : at + 4]) for at in range(0, len(data), 4)]


def domain_search(names: Sequence[str]) -> bytes:
    """Return option 119 without compression pointers (RFC 3397 §2 allows that)."""
    out = bytearray()
    for name in names:
        for label in name.strip(".").encode("idna" if not name.isascii() else "ascii").split(b"."):
            if not 1 <= len(label) <= 63:
                raise ValueError(f"{name!r} is no domain name")
            out += bytes((len(label),)) + label
        out += b"\0"
    return bytes(out)


def classless_routes(routes: Sequence[tuple[str, str]]) -> bytes:
    """Return option 121 for pairs of destination network and router (RFC 3442)."""
    out = bytearray()
    for destination, router in routes:
        network = IPv4Network(destination, strict=False)
        significant = (network.prefixlen + 7) // 8
        out += bytes((network.prefixlen,))
        out += network.network_address.packed[:significant] + packed(router)
    return bytes(out)


def _joined(options: Iterable[Option]) -> list[Option]:
    """Undo the splitting of RFC 3396: a full piece and its neighbour of the same code are one.

    Two short instances stay two: that is a duplicate, not a long option.
    """
    joined: list[Option] = []
    full = False
    for code, data in options:
        if full and joined[-1].code == code:
            joined[-1] = Option(code, joined[-1].data + data)
        else:
            joined.append(Option(code, data))
        full = len(data) == _MAX_PIECE
    return joined


def _fixed(name: str, value: bytes, size: int) -> bytes:
    if len(value) > size:
        raise ValueError(f"{name} has room for {size} octets, not {len(value)}")
    return value


def _overloaded(message: Message, room: int) -> tuple[bytes, bytes, bytes]:
    """Return the option fields ``options``, ``file`` and ``sname`` with option 52 set.

    Fields are filled in the order they are read back: options, file, sname (RFC 3396 §6).
    """
    rooms = [(0, room - 4), (1, 128 - 1), (2, 64 - 1)]  # END each; option 52 takes 3 octets more
    if message.file:
        rooms.remove((1, 127))
    if message.sname:
        rooms.remove((2, 63))
    fields = {0: b"", 1: b"", 2: b""}
    waiting = [encode_options([option]) for option in message.options]
    for field, free in rooms:
        while waiting and len(fields[field]) + len(waiting[0]) <= free:
            fields[field] += waiting.pop(0)
    if waiting:
        raise ValueError("the options do not fit, not even with option overload")
    used = (1 if fields[1] else 0) | (2 if fields[2] else 0)
    mark = bytes((Code.OVERLOAD, 1, used)) if used else b""
    return (
        mark + fields[0] + b"\xff",
        fields[1] + b"\xff" if fields[1] else message.file,
        fields[2] + b"\xff" if fields[2] else message.sname,
    )
