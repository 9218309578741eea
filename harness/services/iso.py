"""Stands between a machine and the server that has Hook's ISO, and patches what passes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from harness.services.answer import Answer, FilePart
from harness.wire import gohttp
from harness.wire.ipxe import ScriptConfig
from harness.wire.iso import BUFFER_BYTES, MAGIC, REDIRECTS, arguments, is_iso, patched
from harness.wire.netboot import Reservation

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "proxy-connection", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that end at the next machine (RFC 9110 §7.6.1)."""
_NOT_TOLD: Final = frozenset(
    {"host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoSource:
    """What smee's command line says of the ISO."""

    url: str = ""
    """Where the ISO is, http or https; a Hardware may name its own."""
    magic: bytes = MAGIC
    static_ipam: bool = False
    """Write ``ipam=`` too."""


class IsoProxy:
    """Patches the ISO of ``source`` with what ``scripts`` says."""

    def __init__(self, source: IsoSource, scripts: ScriptConfig) -> None:
        self._source = source
        self._scripts = scripts
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop the connections to the ISO's server; may be called twice."""
        session, self._session = self._session, None
        if session:
            await session.close()

    def refusal(
        self, path: str, mac: str | None, found: Reservation | None
    ) -> gohttp.Answer | None:
        """Return why a request gets no ISO, or None. In smee's order: name, MAC, Hardware, URL."""
        if not is_iso(path):
            return gohttp.empty(404)
        if mac is None:
            return gohttp.empty(400)
        if found is None:
            return gohttp.empty(404)
        if urlsplit(self._url(found)).scheme not in ("http", "https"):
            return gohttp.empty(400)
        return None

    def _url(self, reservation: Reservation) -> str:
        return reservation.source_iso or self._source.url

    @asynccontextmanager
    async def fetched(
        self, request: web.BaseRequest, reservation: Reservation
    ) -> AsyncIterator[Answer | gohttp.Answer]:
        """Ask the ISO's server the same, redirects followed; 502 when it can't be asked.

        The answer is whole on this disk before its first octet is sent.
        """
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                connector=aiohttp.TCPConnector(limit=0),
                trust_env=False,
            )
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP_BY_HOP | _NOT_TOLD
        }
        url = self._url(reservation)
        if query := request.query_string:
            url += f"?{query}"
        try:
            response = await self._asked(self._session, request.method, url, headers)
        except (aiohttp.ClientError, OSError, ValueError):
            yield gohttp.empty(502)
            return
        if response is None:
            yield gohttp.empty(502)
            return
        patch = arguments(reservation, self._scripts, static_ipam=self._source.static_ipam)
        told = tuple(
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in _HOP_BY_HOP
        )
        with tempfile.TemporaryFile() as file:
            try:
                size = 0
                if request.method != "HEAD":
                    async for piece in _pieces(response.content):
                        size += file.write(patched(piece, patch, self._source.magic))
                    file.flush()
            except (aiohttp.ClientError, OSError):
                yield gohttp.empty(502)
                return
            finally:
                response.release()
            body = FilePart(stream=file, start=0, length=size) if size else b""
            yield Answer(status=response.status, headers=told, body=body)

    async def _asked(
        self, session: aiohttp.ClientSession, method: str, url: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse | None:
        """Return the response at the end of all redirects, or None when there are too many."""
        for _ in range(REDIRECTS + 1):
            response = await session.request(method, url, headers=headers, allow_redirects=False)
            target = response.headers.get("Location")
            if not 300 <= response.status < 400 or not target:
                return response
            response.release()
            url = urljoin(url, target)
        return None


async def _pieces(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield a body in pieces of ``BUFFER_BYTES``.

    smee's own pieces are what one read of a socket returns, so where one ends depends on the
    network; here only the last is shorter.
    """
    while True:
        try:
            yield await content.readexactly(BUFFER_BYTES)
        except asyncio.IncompleteReadError as rest:
            if rest.partial:
                yield rest.partial
            return
