"""What is in an initramfs, whoever built it: cpio archives one after the other, packed or not.

Format: Documentation/driver-api/early-userspace/buffer-format.rst; the cpio is "newc" (cpio(5)).
"""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import BuildFailed

_MAGICS: Final = (b"070701", b"070702")
_HEAD: Final = 110
_TRAILER: Final = "TRAILER!!!"
_WINDOW_BYTES: Final = 1 << 27  # the widest that the kernel unpacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name in an initramfs."""

    mode: int
    data: bytes | None = None
    """What a file says or a link points to, if it was ``wanted``."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


@dataclass(slots=True, kw_only=True)
class Writer:
    """Writes a cpio archive that the kernel unpacks over what is there already."""

    _parts: io.BytesIO
    _count: int = 0

    @classmethod
    def new(cls) -> Writer:
        """Return a writer of an empty archive."""
        return cls(_parts=io.BytesIO())

    def add(self, path: str, mode: int, data: bytes = b"") -> None:
        """Add a name; ``mode`` has its kind, and ``path`` no slash in front."""
        self._count += 1
        name = path.encode() + b"\0"
        fields = (
            self._count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0
        )  # fmt: skip
        self._parts.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        self._pad()
        self._parts.write(data)
        self._pad()

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file in the place of whatever has its name.

        A file that is opened anew keeps its other names (hard links), which would then say the
        same. A link in between makes the kernel remove this one name first.
        """
        self.gone(path)
        self.add(path, stat.S_IFREG | mode, data)

    def gone(self, path: str) -> None:
        """Make ``path`` a name of nothing: opening, running and looking for it say ENOENT."""
        self.add(path, stat.S_IFLNK | 0o777, b"/.gone/" + path.encode())

    def finish(self) -> bytes:
        """Return the archive."""
        self.add(_TRAILER, 0)
        return self._parts.getvalue()

    def _pad(self) -> None:
        self._parts.write(bytes(-self._parts.tell() % 4))


def contents(initramfs: Path, *, wanted: str = "") -> dict[str, Entry]:
    """Return what the kernel finds in ``initramfs``, by path without a slash in front.

    Names that end with ``wanted`` come with their data. Raises ``BuildFailed``.
    """
    found: dict[str, Entry] = {}
    try:
        for archive in _archives(initramfs.read_bytes()):
            for name, entry in _entries(archive, wanted):
                found[name] = entry
    except (OSError, ValueError, EOFError, IndexError, zlib.error, lzma.LZMAError) as error:
        raise BuildFailed(f"{initramfs}: no initramfs that can be read: {error}") from error
    return found


def _archives(data: bytes) -> Iterator[memoryview]:
    """Yield each archive or run of archives, unpacked."""
    while data := data.lstrip(b"\0"):
        if data.startswith(_MAGICS):
            end = _end(memoryview(data))
            yield memoryview(data)[:end]
            data = data[end:]
            continue
        unpacked, data = _unpacked(data)
        yield from _archives(unpacked)


def _unpacked(data: bytes) -> tuple[bytes, bytes]:
    """Return what a packed piece holds, and what follows it."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj()
        try:
            return frame.decompress(data), frame.unused_data
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    if data.startswith(b"\x1f\x8b"):
        piece = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header
        return piece.decompress(data), piece.unused_data
    if data.startswith(b"\xfd7zXZ\0"):
        stream = lzma.LZMADecompressor()
        return stream.decompress(data), stream.unused_data
    if data.startswith(b"BZh"):
        old = bz2.BZ2Decompressor()
        return old.decompress(data), old.unused_data
    raise ValueError(f"it is packed in a way that is not known here ({data[:6].hex(' ')})")


def _end(archive: memoryview) -> int:
    at = 0
    while True:
        name, _mode, at, size = _head(archive, at)
        at = (at + size + 3) & ~3
        if name == _TRAILER:
            return at


def _entries(archive: memoryview, wanted: str) -> Iterator[tuple[str, Entry]]:
    at = 0
    while True:
        name, mode, at, size = _head(archive, at)
        if name == _TRAILER:
            return
        data = bytes(archive[at : at + size]) if wanted and name.endswith(wanted) else None
        yield name.removeprefix("./").strip("/"), Entry(mode=mode, data=data)
        at = (at + size + 3) & ~3


def _head(archive: memoryview, at: int) -> tuple[str, int, int, int]:
    """Return name, mode, and where the data is and how long."""
    head = bytes(archive[at : at + _HEAD])
    if head[:6] not in _MAGICS:
        raise ValueError(f"no cpio header at octet {at}")
    fields = [int(head[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
    first = at + _HEAD
    name = bytes(archive[first : first + fields[11] - 1]).decode(errors="surrogateescape")
    return name, fields[1], (first + fields[11] + 3) & ~3, fields[6]
