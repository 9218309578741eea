"""Where pushed content is kept: uploads and blobs as files of the run's folder."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from harness.wire.oci import Digest
from harness.wire.registry_messages import Keep, Stored
from harness.wire.registry_push import Intake

_READ_BYTES: Final = 1 << 20


class PushStore:
    """Files below ``folder``, which is made when the first octet comes."""

    def __init__(self, folder: Path) -> None:
        self._uploads = folder / "uploads"
        self._blobs = folder / "blobs"

    async def take(self, intake: Intake, chunks: AsyncIterator[bytes]) -> tuple[Stored, bytes]:
        """Store a body; return what there is now, and the body if it was to stay in memory.

        What is removed meanwhile, by another request, has no digest. Raises ``OSError`` when the
        disk does not take it.
        """
        if intake.upload is None:
            body = bytearray()
            async for chunk in chunks:
                body += chunk[: intake.limit + 1 - len(body)]
            overflow = len(body) > intake.limit
            return Stored(upload="", size=len(body), overflow=overflow), bytes(body)
        self._uploads.mkdir(parents=True, exist_ok=True)
        path, left, overflow = self._uploads / intake.upload, intake.limit, False
        with path.open("ab") as file:
            async for chunk in chunks:
                overflow = overflow or len(chunk) > left
                file.write(chunk[:left])
                left -= min(left, len(chunk))
            size = file.tell()
        digest = None
        if intake.algorithm:  # of gigabytes: others are served meanwhile
            digest = await asyncio.to_thread(_hash, path, intake.algorithm)
        return Stored(upload=intake.upload, size=size, digest=digest, overflow=overflow), b""

    def drop(self, uploads: Iterable[str]) -> None:
        """Remove what was begun and will never be finished."""
        for upload in uploads:
            (self._uploads / upload).unlink(missing_ok=True)

    def keep(self, keep: Keep) -> Path | None:
        """Make an upload, or a manifest, the blob that it is; without a digest, drop it."""
        upload = self._uploads / keep.upload if keep.upload else None
        if keep.digest is None:
            if upload:
                upload.unlink(missing_ok=True)
            return None
        path = self._blobs / keep.digest.algorithm / keep.digest.encoded
        path.parent.mkdir(parents=True, exist_ok=True)
        if upload:
            upload.touch()  # an empty blob has sent no octet
            upload.replace(path)
        else:
            path.write_bytes(keep.data)
        return path


def _hash(path: Path, algorithm: str) -> Digest | None:
    found = hashlib.new(algorithm)
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                found.update(data)
    except FileNotFoundError:
        return None
    return Digest(algorithm, found.hexdigest())
