"""A bootable ISO 9660 image (ECMA-119, El Torito): enough for firmware and GRUB to read.

Names are written in lower case and longer than the standard's letter allows, as everybody does;
no Rock Ridge, no Joliet, no time stamps. The same files give the same octets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import IO, Final

SECTOR: Final = 2048
_SYSTEM_SECTORS: Final = 16
_DIRECTORY: Final = 2
_EL_TORITO: Final = b"EL TORITO SPECIFICATION"
_CHUNK: Final = 1 << 20

Content = bytes | Path


class Platform(IntEnum):
    """Whose firmware a boot image is for (El Torito; UEFI 2.10 §13.3.2.1)."""

    BIOS = 0
    EFI = 0xEF


@dataclass(frozen=True, slots=True, kw_only=True)
class BootImage:
    """What firmware loads, without emulation of a disk."""

    platform: Platform
    file: str
    """Which of the files it is."""
    sectors: int
    """How many sectors of 512 octets the firmware is told to load."""


@dataclass(slots=True, kw_only=True)
class _Node:
    name: str
    parent: _Node | None = None
    content: Content | None = None
    """None: a folder."""
    below: list[_Node] = field(default_factory=list)
    sector: int = 0

    @property
    def size(self) -> int:
        """Octets; a folder takes one sector."""
        if self.content is None:
            return SECTOR
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size

    def records(self) -> bytes:
        """Return what a folder holds (ECMA-119 §9.1): itself, its parent, what is in it."""
        named = [(b"\0", self), (b"\1", self.parent or self), *((_id(n), n) for n in self.below)]
        return b"".join(
            _record(name, node.sector, node.size, folder=node.content is None)
            for name, node in named
        )


def write_iso(
    target: IO[bytes], *, files: Mapping[str, Content], boot: Sequence[BootImage], label: str
) -> None:
    """Write an image with ``files`` (path → octets, or where they are) in that order to ``target``.

    A folder may have as many entries as fit into one sector, about 40.
    """
    root = _tree(files)
    folders = [node for node in _walk(root) if node.content is None]
    leaves = {path: node for path, node in zip(files, _leaves(root, files), strict=True)}
    for number, node in enumerate(folders, _SYSTEM_SECTORS + 6):
        node.sector = number
    place = _SYSTEM_SECTORS + 6 + len(folders)
    for node in leaves.values():
        node.sector = place
        place += -(-node.size // SECTOR)
    first = _SYSTEM_SECTORS
    catalog, path_l, path_m = first + 3, first + 4, first + 5
    little, big = _path_tables(folders)
    target.write(bytes(first * SECTOR))
    for sector in (
        _primary(label, total=place, root=root, table=len(little), at=(path_l, path_m)),
        _boot_record(catalog),
        b"\xffCD001\x01",
        _catalog(boot, leaves),
        little,
        big,
        *(node.records() for node in folders),
    ):
        assert len(sector) <= SECTOR, "a folder or path table is larger than one sector"
        target.write(sector.ljust(SECTOR, b"\0"))
    for node in leaves.values():
        _copy(node, target)


def _tree(files: Mapping[str, Content]) -> _Node:
    root = _Node(name="")
    for path, content in files.items():
        *folders, name = path.split("/")
        here = root
        for folder in folders:
            known = next((node for node in here.below if node.name == folder), None)
            if known is None:
                known = _Node(name=folder, parent=here)
                here.below.append(known)
            here = known
        here.below.append(_Node(name=name, parent=here, content=content))
    for node in _walk(root):
        node.below.sort(key=_id)
    return root


def _walk(root: _Node) -> Iterator[_Node]:
    """Yield a tree level by level, as path tables want it."""
    level = [root]
    while level:
        yield from level
        level = [below for node in level for below in node.below]


def _leaves(root: _Node, files: Iterable[str]) -> Iterator[_Node]:
    for path in files:
        here = root
        for name in path.split("/"):
            here = next(node for node in here.below if node.name == name)
        yield here


def _id(node: _Node) -> bytes:
    return node.name.encode("ascii") + (b"" if node.content is None else b";1")


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _record(name: bytes, sector: int, size: int, *, folder: bool) -> bytes:
    length = 33 + len(name) + (1 - len(name) % 2)
    head = bytes((length, 0)) + _both32(sector) + _both32(size) + bytes(7)
    head += bytes((_DIRECTORY if folder else 0, 0, 0)) + _both16(1) + bytes((len(name),)) + name
    return head.ljust(length, b"\0")


def _path_tables(folders: Sequence[_Node]) -> tuple[bytes, bytes]:
    tables = []
    for order in "<>":
        table = b""
        for node in folders:
            name = node.name.encode("ascii") or b"\0"
            parent = folders.index(node.parent) + 1 if node.parent else 1
            table += struct.pack(f"{order}BBIH", len(name), 0, node.sector, parent) + name
            table += bytes(len(name) % 2)
        tables.append(table)
    return tables[0], tables[1]


def _primary(label: str, *, total: int, root: _Node, table: int, at: tuple[int, int]) -> bytes:
    nothing = b"0" * 16 + b"\0"
    return b"".join(
        (
            b"\x01CD001\x01\0",
            b"".ljust(32),
            label.encode("ascii").ljust(32),
            bytes(8),
            _both32(total),
            bytes(32),
            _both16(1),
            _both16(1),
            _both16(SECTOR),
            _both32(table),
            struct.pack("<II", at[0], 0),
            struct.pack(">II", at[1], 0),
            _record(b"\0", root.sector, SECTOR, folder=True),
            b"".ljust(4 * 128 + 3 * 37),
            4 * nothing,
            b"\x01",
        )
    )


def _boot_record(catalog: int) -> bytes:
    return b"\0CD001\x01" + _EL_TORITO.ljust(64, b"\0") + struct.pack("<I", catalog)


def _catalog(boot: Sequence[BootImage], leaves: Mapping[str, _Node]) -> bytes:
    """Return the boot catalog: one default entry, and a section for each further platform."""
    first, *others = boot
    check = bytearray(struct.pack("<BBH24sHBB", 1, first.platform, 0, b"hooklab", 0, 0x55, 0xAA))
    words = struct.unpack("<16H", check)
    check[28:30] = struct.pack("<H", -sum(words) & 0xFFFF)
    out = bytes(check) + _boot_entry(first, leaves)
    for number, other in enumerate(others, 1):
        last = number == len(others)
        head = struct.pack("<BBH28s", 0x91 if last else 0x90, other.platform, 1, b"hooklab")
        out += head + _boot_entry(other, leaves)
    return out


def _boot_entry(image: BootImage, leaves: Mapping[str, _Node]) -> bytes:
    sector = leaves[image.file].sector
    return struct.pack("<BBHBBHI20x", 0x88, 0, 0, 0, 0, image.sectors, sector)


def _copy(node: _Node, target: IO[bytes]) -> None:
    size = node.size
    if isinstance(node.content, bytes):
        target.write(node.content)
    else:
        assert node.content is not None
        with node.content.open("rb") as source:
            while chunk := source.read(_CHUNK):
                target.write(chunk)
    target.write(bytes(-size % SECTOR))
