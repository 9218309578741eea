"""A machine's RAM in a file: independent zstd frames, packed and unpacked by several threads.

::

    a frame per 2 MiB of RAM that holds anything, in any order     zstd, with a checksum
    what else belongs to it (QEMU's devices)                       zstd, with a checksum
    the index: JSON, which says where which frame is               zstd, with a checksum
    where the index begins: 8 octets in a frame that zstd skips    RFC 8878, 3.1.2

What is cut off has no end, what is changed fails a checksum; both raise ``ValueError``. zstd does
its work without Python's lock, so threads are as good as processes here, and nearer.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

CHUNK: Final = 2 << 20
"""A huge page of x86, which is written as a whole, or not at all."""
_LEVEL: Final = -1
"""A tenth larger than with 1, and unpacked a fifth faster."""
_END: Final = struct.Struct("<IIQ")
_SKIPPED: Final = 0x184D2A50
_MOST_ELSE: Final = 1 << 30
T = TypeVar("T")


class GivenUp(Exception):
    """Whoever asked for it wants it no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is where in a file."""

    ram_bytes: int
    """Of the machine."""
    frames: tuple[tuple[int, int, int], ...]
    """Which chunk of the RAM, where in the file, how many octets there."""
    rest: tuple[int, int, int]
    """Where in the file, how many octets there, and how many unpacked."""

    file_bytes: int
    """Of the file."""

    @property
    def filled_bytes(self) -> int:
        """How much of the RAM holds anything."""
        return len(self.frames) * CHUNK


def threads() -> int:
    """Return how many threads are worth while: one for each CPU, up to four."""
    return min(4, len(os.sched_getaffinity(0)))


class Packer:
    """Writes RAM to a file. ``pack`` runs in a thread, and then ``finish``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._frames: list[tuple[int, int, int]] = []
        self._at = 0
        self._ram_bytes = 0

    def stop(self) -> None:
        """Have ``pack`` raise ``GivenUp`` soon, from another thread."""
        self._stop.set()

    def pack(self, ram: int) -> None:
        """Write what the file ``ram`` holds, and nothing for its holes. Raises ``OSError``."""
        self._ram_bytes = os.fstat(ram).st_size
        own, lock = threading.local(), threading.Lock()
        zeros = _packer().compress(bytes(CHUNK))
        with self._path.open("wb", buffering=0) as file:

            def pack(chunk: int) -> None:
                if not hasattr(own, "packer"):
                    own.buffer = memoryview(bytearray(CHUNK))
                    own.packer = _packer()
                # Not mapped: to read a hole there would fill it.
                data = own.buffer[: os.preadv(ram, [own.buffer], chunk * CHUNK)]
                frame = own.packer.compress(data)
                if frame == zeros:
                    return
                with lock:
                    at, self._at = self._at, self._at + len(frame)
                    self._frames.append((chunk, at, len(frame)))
                _write(file.fileno(), frame, at)

            _share_out(_filled(ram), pack, self._stop)

    def finish(self, rest: bytes) -> Contents:
        """Write what else belongs to it, and the index: the file is whole. Raises ``OSError``."""
        packer = _packer()
        with self._path.open("r+b", buffering=0) as file:
            where = self._at, self._put(file, packer.compress(rest)), len(rest)
            index = {"ram_bytes": self._ram_bytes, "frames": self._frames, "rest": where}
            end = _END.pack(_SKIPPED, _END.size - 8, self._at)
            self._put(file, packer.compress(json.dumps(index).encode()))
            self._put(file, end)
        return _contents(index, self._at)

    def _put(self, file: FileIO, frame: bytes) -> int:
        _write(file.fileno(), frame, self._at)
        self._at += len(frame)
        return len(frame)


class Unpacker:
    """Reads such a file. Use as ``with Unpacker(path) as unpacker``; raises ``OSError``."""

    def __init__(self, path: Path) -> None:
        """Raise ``ValueError`` for a file that is not whole."""
        self._stop = threading.Event()
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.contents = self._read_index()
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Have ``unpack`` raise ``GivenUp`` soon, from another thread."""
        self._stop.set()

    def unpack(self, ram: int) -> None:
        """Fill the file ``ram``, which is all holes, as the one was that is in here.

        Raises ``ValueError`` when anything is damaged, or ``ram`` has another size.
        """
        import zstandard

        size = os.fstat(ram).st_size
        if size != self.contents.ram_bytes:
            raise ValueError(f"it is of {self.contents.ram_bytes} octets of RAM, not {size}")
        own = threading.local()

        def unpack(frame: tuple[int, int, int]) -> None:
            if not hasattr(own, "unpacker"):
                own.unpacker = zstandard.ZstdDecompressor()
                own.buffer = memoryview(bytearray(CHUNK))
            chunk, at, count = frame
            data = own.buffer[: min(CHUNK, size - chunk * CHUNK)]
            _unpack_into(own.unpacker, os.pread(self._file, count, at), data)
            _write(ram, data, chunk * CHUNK)  # not mapped: a host that is full is an error here

        _share_out(self.contents.frames, unpack, self._stop)

    def rest(self) -> bytes:
        """Return what else is in the file. Raises ``ValueError`` when it is damaged."""
        import zstandard

        at, count, size = self.contents.rest
        if not 0 <= size <= _MOST_ELSE:
            raise ValueError("damaged: its index is wrong")
        data = bytearray(size)
        frame = os.pread(self._file, count, at)
        _unpack_into(zstandard.ZstdDecompressor(), frame, memoryview(data))
        return bytes(data)

    def close(self) -> None:
        """Close the file; idempotent."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_index(self) -> Contents:
        import zstandard

        end = os.fstat(self._file).st_size - _END.size
        if end < 0:
            raise ValueError("damaged: it is cut off")
        magic, size, at = _END.unpack(os.pread(self._file, _END.size, end))
        if (magic, size) != (_SKIPPED, _END.size - 8) or not 0 <= at < end:
            raise ValueError("damaged: it is cut off, or of another format")
        try:
            frame = os.pread(self._file, end - at, at)
            index = json.loads(zstandard.ZstdDecompressor().decompress(frame))
            contents = _contents(index, end + _END.size)
        except (zstandard.ZstdError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"damaged: its index can't be read: {error}") from None
        if any(not 0 <= chunk * CHUNK < contents.ram_bytes for chunk, _, _ in contents.frames):
            raise ValueError("damaged: its index is wrong")
        return contents


def _packer() -> ZstdCompressor:
    import zstandard

    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)


def _contents(index: dict[str, Any], file_bytes: int) -> Contents:
    at, count, size = index["rest"]
    return Contents(
        ram_bytes=int(index["ram_bytes"]),
        frames=tuple((int(chunk), int(where), int(much)) for chunk, where, much in index["frames"]),
        rest=(int(at), int(count), int(size)),
        file_bytes=file_bytes,
    )


def _filled(ram: int) -> Iterator[int]:
    """Yield the chunks that are no holes."""
    size, at = os.fstat(ram).st_size, 0
    while at < size:
        try:
            begin = os.lseek(ram, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        chunk = begin // CHUNK
        yield chunk
        at = (chunk + 1) * CHUNK


def _share_out(items: Iterable[T], do: Callable[[T], None], stop: threading.Event) -> None:
    """Do it with each item, in several threads. Raises what the first of them raised."""
    todo, lock = iter(items), threading.Lock()

    def work() -> None:
        try:
            while not stop.is_set():
                with lock:
                    item = next(todo, None)
                if item is None:
                    return
                do(item)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(threads(), thread_name_prefix="frames") as pool:
        for working in [pool.submit(work) for _ in range(threads())]:
            working.result()
    if stop.is_set():
        raise GivenUp


def _unpack_into(unpacker: Any, frame: bytes, target: memoryview) -> None:
    """Unpack a frame, which fills ``target``. Raises ``ValueError``."""
    import zstandard

    try:
        with unpacker.stream_reader(frame) as reader:
            done = 0
            while done < len(target) and (count := reader.readinto(target[done:])):
                done += count
            if done != len(target) or reader.read(1):  # the checksum is read with the end
                raise ValueError(f"damaged: a frame is of {done} octets, not {len(target)}")
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged: {error}") from None


def _write(file: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, at)
        view, at = view[done:], at + done
