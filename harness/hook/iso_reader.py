"""What is in somebody's ISO 9660 image (ECMA-119), by Joliet's or Rock Ridge's names if it has any.

Only as much as is needed to take a kernel and an initramfs out of it; nothing is mounted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from harness.errors import BuildFailed
from harness.hook.iso9660 import SECTOR

_DESCRIPTORS: Final = 16
"""The sector of the first volume descriptor (ECMA-119 §6.2.1)."""
_STANDARD: Final = b"CD001"
_PRIMARY, _SUPPLEMENTARY, _LAST = 1, 2, 255
_JOLIET: Final = (b"%/@", b"%/C", b"%/E")
"""Escape sequences that say UCS-2: Joliet §2.1."""
_ROOT: Final = 156
"""Where a volume descriptor has its root's record."""
_FOLDER, _GOES_ON = 0x02, 0x80
_MOST_FOLDERS: Final = 10_000
_LARGEST_FOLDER: Final = 16 << 20
_COPIED: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoFile:
    """A file of an image."""

    path: str
    """From the image's root on, without a leading slash."""
    offset: int
    """Where it begins, in octets."""
    size: int


def is_iso(path: Path) -> bool:
    """Whether a file looks like an ISO 9660 image. Raises ``OSError``."""
    with path.open("rb") as file:
        file.seek(_DESCRIPTORS * SECTOR + 1)
        return file.read(len(_STANDARD)) == _STANDARD


def files_of(path: Path) -> list[IsoFile]:
    """Return the files of an image. Raises ``BuildFailed`` where it is damaged, and ``OSError``."""
    with path.open("rb") as file:
        try:
            root, joliet = _root(file)
            return list(_walk(file, root, joliet))
        except (struct.error, IndexError, ValueError) as error:
            raise BuildFailed(
                f"{path} is a damaged ISO image: {error}", hint="compare it with its source"
            ) from error


def copy_file(path: Path, file: IsoFile, target: Path) -> None:
    """Write a file of the image at ``path`` to ``target``. Raises ``BuildFailed``, ``OSError``."""
    with path.open("rb") as image, target.open("wb") as out:
        image.seek(file.offset)
        left = file.size
        while left:
            data = image.read(min(left, _COPIED))
            if not data:
                raise BuildFailed(f"{path} is cut off in the middle of {file.path}")
            out.write(data)
            left -= len(data)


def _root(image: IO[bytes]) -> tuple[bytes, bool]:
    """Return the root's record, and whether its names are Joliet's."""
    found: bytes | None = None
    for sector in range(_DESCRIPTORS, _DESCRIPTORS + 64):
        descriptor = _sector(image, sector)
        kind = descriptor[0]
        if descriptor[1:6] != _STANDARD or kind == _LAST:
            break
        record = descriptor[_ROOT : _ROOT + 34]
        if kind == _SUPPLEMENTARY and descriptor[88:91] in _JOLIET:
            return record, True
        if kind == _PRIMARY and found is None:
            found = record
    if found is None:
        raise ValueError("it has no volume")
    return found, False


def _walk(image: IO[bytes], root: bytes, joliet: bool) -> Iterator[IsoFile]:
    """Yield the files of a volume, the upper folders' first."""
    waiting, seen = [("", root)], set[int]()
    while waiting:
        above, folder = waiting.pop(0)
        start, size = _place(folder)
        if start in seen:
            continue
        seen.add(start)
        if len(seen) > _MOST_FOLDERS or size > _LARGEST_FOLDER:
            raise ValueError("it has more folders than it can have")
        for record in _records(_read(image, start * SECTOR, size)):
            name = _name(record, joliet)
            if not name or "/" in name or name in (".", ".."):
                continue
            if record[25] & _FOLDER:
                waiting.append((f"{above}{name}/", record))
            elif not record[25] & _GOES_ON:  # in parts, each below 4 GiB: no kernel is
                at, length = _place(record)
                yield IsoFile(path=above + name, offset=at * SECTOR, size=length)


def _records(folder: bytes) -> Iterator[bytes]:
    """Yield the records of a folder; none of them crosses a sector (ECMA-119 §6.8.1.1)."""
    at = 0
    while at < len(folder):
        length = folder[at]
        if not length:
            at = (at // SECTOR + 1) * SECTOR
            continue
        record = folder[at : at + length]
        if length < 34 or len(record) < length or 33 + record[32] > length:
            raise ValueError(f"a folder's record of {length} octets")
        yield record
        at += length


def _place(record: bytes) -> tuple[int, int]:
    """Return sector and length."""
    (sector,) = struct.unpack_from("<I", record, 2)
    (size,) = struct.unpack_from("<I", record, 10)
    return int(sector), int(size)


def _name(record: bytes, joliet: bool) -> str:
    """Return the name as people know it; empty for a folder itself and the one above."""
    raw = record[33 : 33 + record[32]]
    if raw in (b"\0", b"\1"):
        return ""
    if joliet:
        name = raw.decode("utf-16-be", "replace")
    elif rock := _rock_ridge(record):
        return rock
    else:
        name = raw.decode("ascii", "replace").lower()
    return name.partition(";")[0].rstrip(".")


def _rock_ridge(record: bytes) -> str:
    """Return the NM entries' name (RRIP 1.12 §4.1.4), without what continues elsewhere."""
    at = 33 + record[32] + (1 - record[32] % 2)
    name = b""
    while at + 4 <= len(record) and record[at + 2] >= 4:
        length = record[at + 2]
        if record[at : at + 2] == b"NM":
            name += record[at + 5 : at + length]
        at += length
    return name.decode("utf-8", "replace")


def _sector(image: IO[bytes], number: int) -> bytes:
    return _read(image, number * SECTOR, SECTOR)


def _read(image: IO[bytes], offset: int, size: int) -> bytes:
    image.seek(offset)
    data = image.read(size)
    if len(data) < size:
        raise ValueError("it is cut off")
    return data
