"""The last frames of a capture that is still being written, without reading the rest."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final

_ENHANCED_PACKET: Final = 6
_HEAD: Final = struct.Struct("<IIIIIII")
_LARGEST: Final = 1 << 18


def last_frames(file: Path, most: int) -> list[tuple[int, bytes]]:
    """Return up to ``most`` frames, oldest first, with their time in nanoseconds since 1970.

    Blocks of pcapng end in their length, so that they can be walked from the end. Stops at the
    first thing that is no block: at once when the last one is not complete yet. Raises ``OSError``.
    """
    frames: list[tuple[int, bytes]] = []
    with file.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end > 12 and len(frames) < most:
            stream.seek(end - 4)
            (size,) = struct.unpack("<I", stream.read(4))
            if not 12 <= size <= min(end, _LARGEST) or size % 4:
                break
            stream.seek(end - size)
            block = stream.read(size)
            if struct.unpack_from("<I", block, 4) != (size,):
                break
            end -= size
            if len(block) >= _HEAD.size + 4 and _HEAD.unpack_from(block)[0] == _ENHANCED_PACKET:
                _, _, _, high, low, captured, _ = _HEAD.unpack_from(block)
                data = block[_HEAD.size : _HEAD.size + captured]
                frames.append((high << 32 | low, data))
    return frames[::-1]
