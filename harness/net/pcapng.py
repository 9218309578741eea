"""Write pcapng, the capture format Wireshark prefers (draft-ietf-opsawg-pcapng).

Pure: every function returns the bytes of one block, little-endian, times in nanoseconds.
"""

from __future__ import annotations

import struct
from typing import Final

_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_LINKTYPE_ETHERNET: Final = 1

_OPT_END: Final = 0
_OPT_COMMENT: Final = 1
_OPT_USER_APPLICATION: Final = 4
_OPT_IF_NAME: Final = 2
_OPT_IF_TSRESOL: Final = 9
_OPT_ISB_RECEIVED: Final = 4
_OPT_ISB_DROPPED: Final = 5
_NANOSECONDS: Final = b"\x09"

_LONGEST_COMMENT: Final = 60_000
"""An option's length has 16 bits."""

_PACKET_HEAD: Final = struct.Struct("<IIIIIII")
_SIZE: Final = struct.Struct("<I")
_PADDING: Final = (b"", b"\0", b"\0\0", b"\0\0\0")


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _options(pairs: list[tuple[int, bytes]]) -> bytes:
    return b"".join(_option(code, value) for code, value in pairs) + (
        _option(_OPT_END, b"") if pairs else b""
    )


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + size + body + size


def section(*, application: str, comment: str | None = None) -> bytes:
    """Return the block that begins a file."""
    pairs = [(_OPT_USER_APPLICATION, application.encode())]
    if comment:
        pairs.append((_OPT_COMMENT, comment.encode()))
    head = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(_SECTION_HEADER, head + _options(pairs))


def interface(name: str, *, comment: str | None = None) -> bytes:
    """Return the block that describes an Ethernet interface; the first has number 0."""
    pairs = [(_OPT_IF_NAME, name.encode()), (_OPT_IF_TSRESOL, _NANOSECONDS)]
    if comment:
        pairs.append((_OPT_COMMENT, comment.encode()))
    return _block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_ETHERNET, 0, 0) + _options(pairs))


def packet(
    time_ns: int,
    frame: bytes | memoryview,
    *,
    length: int | None = None,
    interface_number: int = 0,
    comment: str | None = None,
) -> bytes:
    """Return the block of one frame.

    ``time_ns`` counts from 1970; ``length`` is the frame's size on the wire when it was cut.
    """
    options = comment_option(comment) if comment else b""
    return b"".join(packet_parts(time_ns, frame, length or len(frame), interface_number, options))


def comment_option(comment: str) -> bytes:
    """Return the options of a block that has a comment and nothing else."""
    return _options([(_OPT_COMMENT, comment.encode()[:_LONGEST_COMMENT])])


def packet_parts(
    time_ns: int,
    frame: bytes | memoryview,
    length: int,
    interface_number: int = 0,
    options: bytes = b"",
) -> tuple[bytes, bytes | memoryview, bytes]:
    """Return what ``packet`` returns in three parts, without copying the frame."""
    captured = len(frame)
    padding = -captured % 4
    total = 32 + captured + padding + len(options)
    head = _PACKET_HEAD.pack(
        _ENHANCED_PACKET,
        total,
        interface_number,
        time_ns >> 32,
        time_ns & 0xFFFFFFFF,
        captured,
        length,
    )
    return head, frame, _PADDING[padding] + options + _SIZE.pack(total)


def statistics(time_ns: int, *, received: int, dropped: int, interface_number: int = 0) -> bytes:
    """Return the block that closes an interface: frames seen, and lost for want of room."""
    body = struct.pack("<III", interface_number, time_ns >> 32, time_ns & 0xFFFFFFFF)
    pairs = [
        (_OPT_ISB_RECEIVED, struct.pack("<Q", received)),
        (_OPT_ISB_DROPPED, struct.pack("<Q", dropped)),
    ]
    return _block(_STATISTICS, body + _options(pairs))
