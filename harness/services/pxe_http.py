"""What TFTP serves beside iPXE, by the same names over HTTP: pxelinux.cfg and the asset folder.

For clients such as u-boot, whose ``pxe`` command can fetch by wget.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from harness.services.tftp import TftpFiles
from harness.wire import gohttp
from harness.wire.netboot import Reservations

PREFIX: Final = "/tftp/"
_SNIFFED: Final = 512
_FAILED: Final = gohttp.Answer(
    status=500,
    body=b"internal server error\n",
    content_type=gohttp.TEXT,
    headers=(("X-Content-Type-Options", "nosniff"),),
)


class PxeHttp:
    """Answers requests below ``PREFIX``."""

    def __init__(self, *, reservations: Reservations, assets: Path | None) -> None:
        self._files = TftpFiles(binaries={}, reservations=reservations, assets=assets)

    def answer(self, method: str, path: str) -> gohttp.Answer:
        """Return what is at ``path``; as in smee a range of it can't be had."""
        if method not in ("GET", "HEAD"):
            return gohttp.NOT_ALLOWED
        name = path.removeprefix(PREFIX).removeprefix("/")
        content = self._files.pxelinux(name)
        if content is None and (file := self._files.asset(name)):
            with contextlib.suppress(OSError):
                content = file.read_bytes()
        if content is None:  # smee opens a folder, and can't read it
            return _FAILED if name and self._files.has_folder(name) else gohttp.NOT_FOUND
        kind = _kind(content) if content and method == "GET" else None
        return gohttp.Answer(body=content, content_type=kind)


def _kind(content: bytes) -> str:
    """Return what Go's HTTP server takes ``content`` for; it also knows magic numbers."""
    head = content[:_SNIFFED]
    binary = any(byte <= 8 or byte == 11 or 14 <= byte <= 26 or 28 <= byte <= 31 for byte in head)
    return "application/octet-stream" if binary else gohttp.TEXT
