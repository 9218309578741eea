"""A guest of one sector: at each timer tick it prints the next letter, A to P, on ttyS0."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CODE: Final = (
    b"\xfb\x31\xdb"  # sti; bx = 0
    b"\xb4\x00\xcd\x1a\x89\xd6"  # next: int 1Ah, ah = 0: ticks in cx:dx; si = dx
    b"\xb4\x00\xcd\x1a\x39\xf2\x74\xf8"  # until they have changed
    b"\x88\xd8\x04\x41\xba\xf8\x03\xee"  # out 3F8h, 'A' + bl
    b"\xb0\x0a\xee"  # and a newline
    b"\x43\x80\xe3\x0f"  # bl = (bl + 1) & 15
    b"\xeb\xe1"  # jmp next
)


def make_ticker(path: Path) -> Path:
    """Write the disk to ``path``."""
    path.write_bytes(_CODE.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    return path
