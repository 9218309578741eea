"""Disk images with holes, as a file of what is in them: a checkpoint of an empty disk is empty."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MAGIC: Final = b"hooklab extents\n"
_SIZE: Final = struct.Struct("<Q")
_EXTENT: Final = struct.Struct("<QQ")
_CHUNK: Final = 1 << 20


def pack(image: Path, target: Path) -> None:
    """Write to ``target`` what ``image`` holds. Raises ``OSError``."""
    with image.open("rb") as source, target.open("xb") as file:
        size = os.fstat(source.fileno()).st_size
        file.write(_MAGIC + _SIZE.pack(size))
        for start, end in _extents(source.fileno(), size):
            for at in range(start, end, _CHUNK):
                source.seek(at)
                data = source.read(min(_CHUNK, end - at))
                if data.strip(b"\0"):
                    file.write(_EXTENT.pack(at, len(data)) + data)


def unpack(file: Path, image: Path) -> None:
    """Make ``image`` as it was packed. Raises ``OSError`` and ``ValueError``."""
    with file.open("rb") as source, image.open("xb") as target:
        head = source.read(len(_MAGIC) + _SIZE.size)
        if len(head) != len(_MAGIC) + _SIZE.size or not head.startswith(_MAGIC):
            raise ValueError(f"{file.name} holds no disk")
        target.truncate(_SIZE.unpack(head[len(_MAGIC) :])[0])
        while extent := source.read(_EXTENT.size):
            if len(extent) != _EXTENT.size:
                raise ValueError(f"{file.name} was cut off")
            at, length = _EXTENT.unpack(extent)
            data = source.read(length)
            if len(data) != length:
                raise ValueError(f"{file.name} was cut off")
            target.seek(at)
            target.write(data)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, at
