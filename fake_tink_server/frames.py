"""HTTP/2 frames, as far as one has to know them to stand in the middle (RFC 9113 §4.1). Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every client begins with, RFC 9113 §3.4."""
HEADER_OCTETS: Final = 9
_STREAM: Final = 0x7FFFFFFF
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4


class FrameType(IntEnum):
    """The frame types that matter here, RFC 9113 §6."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    CONTINUATION = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. ``type`` may be one that nobody knows."""

    type: int
    flags: int
    stream: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the octets of the frame. Raises ``OverflowError`` when a field has no room."""
        return (
            len(self.payload).to_bytes(3, "big")
            + bytes((self.type, self.flags))
            + self.stream.to_bytes(4, "big")
            + self.payload
        )


SETTINGS: Final = Frame(FrameType.SETTINGS, 0, 0).encode()
SETTINGS_ACK: Final = Frame(FrameType.SETTINGS, ACK, 0).encode()


def goaway(last_stream: int, code: int, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame, RFC 9113 §6.8."""
    payload = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + debug
    return Frame(FrameType.GOAWAY, 0, 0, payload).encode()


def rst_stream(stream: int, code: int) -> bytes:
    """Return an RST_STREAM frame, RFC 9113 §6.4."""
    return Frame(FrameType.RST_STREAM, 0, stream, code.to_bytes(4, "big")).encode()


class FrameSplitter:
    """Cuts a stream of octets (after the preface) into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self.between = True
        """Whether a frame of one's own may follow what was returned so far: not inside a header
        block, RFC 9113 §4.3."""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now; the rest waits for more octets."""
        rest = self._rest
        rest += data
        frames: list[Frame] = []
        position = 0
        while len(rest) - position >= HEADER_OCTETS:
            end = position + HEADER_OCTETS + int.from_bytes(rest[position : position + 3], "big")
            if len(rest) < end:
                break
            frame = Frame(
                rest[position + 3],
                rest[position + 4],
                int.from_bytes(rest[position + 5 : position + 9], "big") & _STREAM,
                bytes(rest[position + HEADER_OCTETS : end]),
            )
            frames.append(frame)
            if frame.type in (FrameType.HEADERS, FrameType.PUSH_PROMISE, FrameType.CONTINUATION):
                self.between = bool(frame.flags & END_HEADERS)
            position = end
        del rest[:position]
        return frames
