"""What a graphics card shows, as a PNG: QEMU's own dump is a PPM."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

_HEAD: Final = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")
_MOST_PIXELS: Final = 4096 * 4096


def png_of_ppm(ppm: bytes) -> bytes:
    """Return a binary PPM (P6, 8 bits a colour) as a PNG. Raises ``ValueError`` for another."""
    head = _HEAD.match(ppm)
    if head is None:
        raise ValueError("this is no binary PPM with 8 bits a colour")
    width, height = int(head[1]), int(head[2])
    pixels = ppm[head.end() :]
    if not 0 < width * height <= _MOST_PIXELS or len(pixels) < width * height * 3:
        raise ValueError(f"this PPM of {width}×{height} has {len(pixels)} octets of pixels")
    row = width * 3
    # A zero before each row: filter type None (PNG specification, §9.2).
    rows = b"".join(b"\0" + pixels[y * row : (y + 1) * row] for y in range(height))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(rows, 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack("!I", zlib.crc32(kind + data))
    return struct.pack("!I", len(data)) + kind + data + check
