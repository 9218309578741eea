"""Read a pcapng capture of ours back: frame by frame, without copying what nobody looks at.

Little-endian files with nanosecond stamps, as ``harness.net.recorder`` writes them. A file that
was cut off is read up to its last whole block.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_SECTION: Final = b"\x0a\x0d\x0d\x0a"
_ENHANCED_PACKET: Final = 6
_FRAME_AT: Final = 28
"""Where the frame begins within its block."""
_BLOCK: Final = struct.Struct("<IIIIIII")
"""kind, size, interface, upper and lower half of the time, octets captured, octets on the wire."""
_BYTE_ORDER: Final = b"\x4d\x3c\x2b\x1a"


class Frame(NamedTuple):
    """One frame's place in the file."""

    number: int
    """Counts from 1, as packet analysers do."""
    time_ns: int
    """Since 1970."""
    block_at: int
    """Where the frame's block begins."""
    block_bytes: int
    at: int
    """Where the frame itself begins."""
    bytes: int
    """How much of it was captured."""

    @property
    def options_at(self) -> int:
        """Where the block's options begin."""
        return self.at + self.bytes + -self.bytes % 4

    @property
    def options_bytes(self) -> int:
        """How long the options are; 0 when there are none."""
        return self.block_at + self.block_bytes - 4 - self.options_at


class CapturedFrames:
    """A capture file, mapped. Use as a context manager; ``data`` is the whole file."""

    def __init__(self, path: Path) -> None:
        """Map ``path``. Raises ``OSError``, and ``ValueError`` when it is no capture of ours."""
        with path.open("rb") as file:
            head = file.read(12)
            if len(head) < 12 or head[:4] != _SECTION or head[8:] != _BYTE_ORDER:
                raise ValueError(f"{path} is no little-endian pcapng")
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> CapturedFrames:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BufferError):  # a view of it is still about: freed with that
            self.data.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame, in the file's order."""
        return self.since(0)

    def since(self, time_ns: int) -> Iterator[Frame]:
        """Yield the first frame that is not earlier, and all after it.

        What comes before is passed over, which takes a third of the time.
        """
        data, at, number = self.data, 0, 0
        end = len(data) - _FRAME_AT
        unpack = _BLOCK.unpack_from
        while at <= end:
            kind, size, _, high, low, captured, _ = unpack(data, at)
            if size < 12 or size % 4 or at + size > len(data):
                return  # cut off here
            if kind == _ENHANCED_PACKET and captured <= size - _FRAME_AT - 4:
                number += 1
                if high << 32 | low >= time_ns:
                    time_ns = 0
                    yield Frame(number, high << 32 | low, at, size, at + _FRAME_AT, captured)
            at += size

    def frame(self, frame: Frame) -> bytes:
        """Return a frame's octets."""
        return self.data[frame.at : frame.at + frame.bytes]
