"""A FAT16 file system with a few files: what UEFI boots from on a CD (fatgen103).

One sector a cluster, short names only, everything contiguous, no time stamps: the same files give
the same octets.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from harness.errors import BuildFailed

SECTOR: Final = 512
_ROOT_ENTRIES: Final = 512
_FEWEST_CLUSTERS: Final = 4085
_MOST_CLUSTERS: Final = 65_524
_MEDIA: Final = 0xF8
_END: Final = 0xFFFF
_FOLDER, _FILE = 0x10, 0x20
_FIRST_CLUSTER: Final = 2


def fat16(files: Mapping[str, bytes]) -> bytes:
    """Return a file system with ``files``: path with slashes (``EFI/BOOT/BOOTX64.EFI``) → content.

    Raises ``BuildFailed`` for a name that is not 8.3 in capitals, and for more than 32 MB.
    """
    return _Fat(files).image()


class _Fat:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._data = bytearray()
        self._table: list[int] = [0xFF00 | _MEDIA, _END]
        tree: dict[str, object] = {}
        for path, content in files.items():
            *folders, name = path.split("/")
            here = tree
            for folder in folders:
                below = here.setdefault(folder, {})
                assert isinstance(below, dict)
                here = below
            here[name] = content
        self._root = self._entries(tree, own=0, parent=None)
        if len(self._root) > _ROOT_ENTRIES * 32:
            raise BuildFailed("too many files in the root of a FAT file system")

    def image(self) -> bytes:
        clusters = max(len(self._table) - _FIRST_CLUSTER, _FEWEST_CLUSTERS)
        if clusters > _MOST_CLUSTERS:
            raise BuildFailed(f"{clusters * SECTOR} octets are too many for a FAT16 file system")
        table_sectors = -(-(clusters + _FIRST_CLUSTER) * 2 // SECTOR)
        root_sectors = _ROOT_ENTRIES * 32 // SECTOR
        total = 1 + 2 * table_sectors + root_sectors + clusters
        boot = struct.pack(
            "<3s8sHBHBHHBHHHII BBBI11s8s",
            b"\xeb\x3c\x90", b"HOOKLAB ", SECTOR, 1, 1, 2, _ROOT_ENTRIES,
            total if total < 0x10000 else 0, _MEDIA, table_sectors, 32, 64, 0,
            0 if total < 0x10000 else total,
            0x80, 0, 0x29, 0x686F6F6B, b"HOOKLAB    ", b"FAT16   ",
        )  # fmt: skip
        table = struct.pack(f"<{len(self._table)}H", *self._table)
        return b"".join(
            (
                boot.ljust(SECTOR - 2, b"\0") + b"\x55\xaa",
                2 * table.ljust(table_sectors * SECTOR, b"\0"),
                bytes(self._root).ljust(_ROOT_ENTRIES * 32, b"\0"),
                bytes(self._data).ljust(clusters * SECTOR, b"\0"),
            )
        )

    def _allocate(self, length: int) -> int:
        """Return the first cluster of a new chain for ``length`` octets."""
        first = len(self._table)
        count = max(1, -(-length // SECTOR))
        self._table += [*range(first + 1, first + count), _END]
        self._data += bytes(count * SECTOR)
        return first

    def _write(self, cluster: int, content: bytes) -> None:
        at = (cluster - _FIRST_CLUSTER) * SECTOR
        self._data[at : at + len(content)] = content

    def _entries(self, tree: Mapping[str, object], *, own: int, parent: int | None) -> bytes:
        entries = b""
        if parent is not None:
            entries += _entry(b".".ljust(11), _FOLDER, own, 0)
            entries += _entry(b"..".ljust(11), _FOLDER, parent, 0)
        for name, content in tree.items():
            short = _short(name)
            if isinstance(content, bytes):
                cluster = self._allocate(len(content)) if content else 0
                if content:
                    self._write(cluster, content)
                entries += _entry(short, _FILE, cluster, len(content))
            else:
                assert isinstance(content, dict)
                cluster = self._allocate((len(content) + 2) * 32)
                self._write(cluster, self._entries(content, own=cluster, parent=own))
                entries += _entry(short, _FOLDER, cluster, 0)
        return entries


def _entry(name: bytes, attributes: int, cluster: int, size: int) -> bytes:
    return struct.pack("<11sB14xHI", name, attributes, cluster, size)


def _short(name: str) -> bytes:
    stem, _, extension = name.partition(".")
    allowed = (stem + extension).replace("_", "").isalnum() and name == name.upper()
    if not allowed or not 1 <= len(stem) <= 8 or len(extension) > 3:
        raise BuildFailed(f"{name!r} is no name for a FAT file system: 8.3 in capitals")
    return (stem.ljust(8) + extension.ljust(3)).encode("ascii")
