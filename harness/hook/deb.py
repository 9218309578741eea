"""Reads one ``.deb``: an ar archive (deb(5)) that holds the files as a compressed tar archive."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

from harness.errors import DecodeError

_AR_MAGIC = b"!<arch>\n"
_HEADER_SIZE = 60


@contextmanager
def open_data(deb: Path) -> Iterator[tarfile.TarFile]:
    """Open the files of ``deb`` as a tar archive that is read once, from its beginning.

    Names in it begin with ``./``. Raises ``DecodeError`` for a file that is no Debian package.
    """
    with deb.open("rb") as stream:
        name, size = _find_data(stream, deb)
        part = _Part(stream, size)
        try:
            with (
                _decompressed(name, cast(IO[bytes], part), deb) as plain,
                tarfile.open(fileobj=plain, mode="r|", bufsize=1 << 20) as archive,
            ):
                yield archive
        except (tarfile.TarError, lzma.LZMAError, zstandard.ZstdError, zlib.error, EOFError) as e:
            raise DecodeError(f"{deb}: {name} is damaged: {e}", rfc="deb(5)") from e


def _find_data(stream: IO[bytes], deb: Path) -> tuple[str, int]:
    if stream.read(8) != _AR_MAGIC:
        raise DecodeError(f"{deb} is no Debian package: no ar archive", rfc="deb(5)")
    while header := stream.read(_HEADER_SIZE):
        if len(header) < _HEADER_SIZE or header[58:60] != b"`\n":
            raise DecodeError(
                f"{deb}: bad ar header", offset=stream.tell() - len(header), rfc="deb(5)"
            )
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        try:
            size = int(header[48:58])
        except ValueError as error:
            raise DecodeError(
                f"{deb}: bad member size", offset=stream.tell() - 12, rfc="deb(5)"
            ) from error
        if name.startswith("data.tar"):
            return name, size
        stream.seek(size + size % 2, 1)
    raise DecodeError(f"{deb} has no data.tar member", rfc="deb(5)")


@contextmanager
def _decompressed(name: str, part: IO[bytes], deb: Path) -> Iterator[IO[bytes]]:
    if name == "data.tar":
        yield part
    elif name == "data.tar.xz":
        with lzma.open(part) as plain:
            yield cast(IO[bytes], plain)
    elif name == "data.tar.zst":
        with zstandard.ZstdDecompressor().stream_reader(part) as reader:
            yield cast(IO[bytes], reader)
    elif name == "data.tar.gz":
        import gzip

        with gzip.open(part) as unzipped:
            yield cast(IO[bytes], unzipped)
    else:
        raise DecodeError(f"{deb}: {name} is compressed in an unknown way", rfc="deb(5)")


class _Part:
    """The next ``size`` bytes of a stream, as a stream of their own."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(wanted)
        self._left -= len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return False
