"""Layers: tar archives whose bytes depend on what they hold and on nothing else.

Members are sorted, times are 0, owners are what the entry says (0:0 by default); gzip carries no
time and no name. Content is streamed: a layer of any size needs a few megabytes of memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol, cast

from harness.errors import BuildFailed
from harness.wire.oci import Digest, MediaType

_CHUNK: Final = 1 << 20
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no flags, mtime 0, unknown OS


class Compression(StrEnum):
    """How a layer is stored. ``NONE`` is the quickest to write and to read on the same host."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file: its bytes, or the path they are read from."""

    content: bytes | Path
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory. Parents that are not listed are made with the defaults."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Symlink:
    """A symbolic link."""

    target: str
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node: ``kind`` is ``"c"`` or ``"b"``."""

    kind: str
    major: int
    minor: int
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


Entry = File | Directory | Symlink | Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer, stored."""

    content: bytes | Path
    """The blob, or the file that holds it."""
    digest: Digest
    """Of the blob as stored."""
    diff_id: Digest
    """Of the tar archive inside (image-spec config.md, "rootfs")."""
    size: int
    """Of the blob, in bytes."""
    compression: Compression

    @property
    def media_type(self) -> MediaType:
        """The OCI media type of the blob."""
        return {
            Compression.NONE: MediaType.OCI_LAYER,
            Compression.GZIP: MediaType.OCI_LAYER_GZIP,
            Compression.ZSTD: MediaType.OCI_LAYER_ZSTD,
        }[self.compression]


def layer_from_files(
    entries: Mapping[str, Entry],
    *,
    into: Path | None = None,
    compression: Compression = Compression.GZIP,
    level: int = 6,
) -> Layer:
    """Return the layer that holds ``entries``, by their absolute or relative path in the image.

    The blob goes to a file in the folder ``into``, named by its digest; without, into memory.
    Raises ``BuildFailed`` for a path that leaves the image or a file that can't be read.
    """
    members = _with_parents(entries)
    with _blob(into, compression, level) as blob:
        with tarfile.open(
            fileobj=cast(IO[bytes], blob), mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK
        ) as archive:
            for name in sorted(members):
                _add(archive, name, members[name])
        return blob.finish()


def layer_from_tree(
    root: Path,
    *,
    into: Path | None = None,
    compression: Compression = Compression.GZIP,
    level: int = 6,
) -> Layer:
    """Return the layer that holds the folder ``root``, everything owned by 0:0."""
    return layer_from_files(tree_entries(root), into=into, compression=compression, level=level)


def tree_entries(root: Path, at: str = "") -> dict[str, Entry]:
    """Return the entries of the folder ``root``, to be placed at ``at`` in an image.

    Sockets and FIFOs are left out; hard links become copies. Raises ``BuildFailed``.
    """
    if not root.is_dir():
        raise BuildFailed(f"{root} is no folder", hint="a layer is made of a folder's content")
    found: dict[str, Entry] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder) / name
            key = str(PurePosixPath(at) / path.relative_to(root).as_posix())
            info = path.lstat()
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISLNK(info.st_mode):
                found[key] = Symlink(target=os.readlink(path))  # noqa: PTH115 - keeps it verbatim
            elif stat.S_ISDIR(info.st_mode):
                found[key] = Directory(mode=mode)
            elif stat.S_ISREG(info.st_mode):
                found[key] = File(content=path, mode=mode)
            elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
                found[key] = Device(
                    kind="c" if stat.S_ISCHR(info.st_mode) else "b",
                    major=os.major(info.st_rdev),
                    minor=os.minor(info.st_rdev),
                    mode=mode,
                )
    return found


def layer_from_tar(
    source: Path, *, into: Path | None = None, compression: Compression = Compression.GZIP
) -> Layer:
    """Return the layer that holds the uncompressed tar archive ``source``, byte for byte."""
    with _blob(into, compression, 6) as blob, source.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            blob.write(chunk)
        return blob.finish()


def _with_parents(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    members: dict[str, Entry] = {}
    for raw, entry in entries.items():
        path = PurePosixPath(raw.lstrip("/"))
        if ".." in path.parts or not path.parts:
            raise BuildFailed(f"{raw!r} is no path inside an image")
        members[str(path)] = entry
    for name in list(members):
        for parent in PurePosixPath(name).parents:
            if parent.parts:
                found = members.setdefault(str(parent), Directory())
                if isinstance(found, File | Device):
                    raise BuildFailed(f"{name!r} lies below {str(parent)!r}, which is a file")
    return members


def _add(archive: tarfile.TarFile, name: str, entry: Entry) -> None:
    info = tarfile.TarInfo(name)
    info.uid, info.gid = entry.uid, entry.gid
    match entry:
        case Directory():
            info.type, info.mode = tarfile.DIRTYPE, entry.mode
            archive.addfile(info)
        case Symlink():
            info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, entry.target
            archive.addfile(info)
        case Device():
            info.type = tarfile.CHRTYPE if entry.kind == "c" else tarfile.BLKTYPE
            info.mode, info.devmajor, info.devminor = entry.mode, entry.major, entry.minor
            archive.addfile(info)
        case File(content=bytes(content)):
            info.mode, info.size = entry.mode, len(content)
            archive.addfile(info, io.BytesIO(content))
        case File(content=Path() as path):
            try:
                with path.open("rb") as stream:
                    info.mode, info.size = entry.mode, os.fstat(stream.fileno()).st_size
                    archive.addfile(info, stream)
            except OSError as error:
                raise BuildFailed(f"can't read {path} for {name}: {error}") from error


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Gzip:
    """RFC 1952 with nothing in the header that changes from run to run."""

    def __init__(self, level: int) -> None:
        self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._head: bytes = _GZIP_HEAD
        self._crc = 0
        self._length = 0

    def compress(self, data: bytes, /) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._length += len(data)
        head, self._head = self._head, b""
        return head + self._deflate.compress(data)

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        tail = self._crc.to_bytes(4, "little") + (self._length & 0xFFFFFFFF).to_bytes(4, "little")
        return head + self._deflate.flush() + tail


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _compressor(compression: Compression, level: int) -> _Compressor:
    match compression:
        case Compression.GZIP:
            return _Gzip(level)
        case Compression.ZSTD:
            import zstandard

            return zstandard.ZstdCompressor(level=level).compressobj()
        case Compression.NONE:
            return _Plain()


class _Blob:
    """Takes a tar stream; hashes it, compresses it, hashes that, and stores it."""

    def __init__(
        self, sink: IO[bytes], folder: Path | None, compression: Compression, level: int
    ) -> None:
        self._sink = sink
        self._folder = folder
        self._compression = compression
        self._compressor = _compressor(compression, level)
        self._inner = hashlib.sha256()
        self._outer = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> int:
        """Take the next bytes of the tar archive."""
        self._inner.update(data)
        self._store(self._compressor.compress(data))
        return len(data)

    def _store(self, data: bytes) -> None:
        self._outer.update(data)
        self._size += len(data)
        self._sink.write(data)

    def finish(self) -> Layer:
        """Return the stored layer; nothing may be written afterwards."""
        self._store(self._compressor.flush())
        digest = Digest("sha256", self._outer.hexdigest())
        content: bytes | Path
        if self._folder is None:
            self._sink.seek(0)
            content = self._sink.read()
        else:
            self._sink.flush()
            content = self._folder / digest.encoded
            Path(self._sink.name).replace(content)
        return Layer(
            content=content,
            digest=digest,
            diff_id=Digest("sha256", self._inner.hexdigest()),
            size=self._size,
            compression=self._compression,
        )


@contextmanager
def _blob(folder: Path | None, compression: Compression, level: int) -> Iterator[_Blob]:
    if folder is None:
        with io.BytesIO() as memory:
            yield _Blob(memory, None, compression, level)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".layer-", delete=False) as sink:
        try:
            Path(sink.name).chmod(0o644)
            yield _Blob(cast(IO[bytes], sink), folder, compression, level)
        finally:
            Path(sink.name).unlink(missing_ok=True)
