"""A forward proxy, as a site has that lets nobody out by himself: CONNECT, and plain HTTP.

RFC 9110, sections 9.3.6 (CONNECT) and 11.7 (who may use it); RFC 9112, section 3.2.2 (a request
whose target is a whole URL). One request a connection; what passes a tunnel is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final
from urllib.parse import urlsplit

from harness.services import Identify
from harness.services.tcp import tcp_socket
from harness.services.udp import crash
from harness.tasks import TaskKeeper, together
from harness.timeline import Timeline

PROXY_PORT: Final = 3128
_MOST_HEAD: Final = 1 << 16
_PATIENCE_S: Final = 10.0
_CHUNK: Final = 1 << 16


class _Refused(Exception):
    """The proxy's own answer to a request: status, reason, and headers."""

    def __init__(self, status: str, reason: str, *headers: str) -> None:
        super().__init__(reason)
        lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close", "", ""]
        self.answer = "\r\n".join(lines).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a client asked for."""

    method: str
    target: str
    """``host:port``."""
    forward: bytes
    """What the server is sent first; nothing for a tunnel."""
    credentials: str


def read_head(head: bytes) -> _Wish:
    """Return what a request's head asks for. Raises ``_Refused`` for what no proxy can do."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Refused("400 Bad Request", f"no request line: {lines[0][:80]!r}")
    method, url, version = words
    headers = [line for line in lines[1:] if line]
    told = dict(
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(":") for line in headers)
    )
    credentials = told.get("proxy-authorization", "")
    if method == "CONNECT":
        return _Wish(method=method, target=url, forward=b"", credentials=credentials)
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:  # brackets that don't fit, a port that is none
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname:
        raise _Refused("400 Bad Request", f"not a whole http URL: {url[:80]!r}")
    kept = [
        line
        for line in headers
        if not line.lower().startswith(("proxy-", "connection:", "keep-alive:"))
    ]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
    return _Wish(
        method=method,
        target=f"{parts.hostname}:{port}",
        forward="\r\n".join(request).encode("latin-1"),
        credentials=credentials,
    )


class ProxyService:
    """Lets through who says ``user`` and ``password``; anybody where there are none.

    ``zone`` has the names it knows; it has no name server to ask.
    """

    name = "proxy"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        zone: Mapping[str, str],
        credentials: tuple[str, str] | None = None,
        bind: str = "0.0.0.0",
        port: int = PROXY_PORT,
        identify: Identify | None = None,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._zone = zone
        self._user = credentials[0] if credentials else ""
        token = b64encode(":".join(credentials).encode()).decode() if credentials else ""
        self._wanted = f"Basic {token}" if credentials else ""
        self._bind = bind
        self._port = port
        self._identify = identify or (lambda _: None)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._numbers = itertools.count(1)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        sock = tcp_socket(service=self.name, bind=self._bind, port=self._port)
        self._port = int(sock.getsockname()[1])
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=_MOST_HEAD)
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=self._bind,
            port=self._port,
            transport="tcp",
        )

    async def stop(self) -> None:
        """Stop listening and close every connection; may be called twice."""
        server, self._server = self._server, None
        if server:
            server.close()
            for writer in tuple(self._writers):
                writer.transport.abort()
            await server.wait_closed()
            self._timeline.record(self.name, "service.stopped", service=self.name)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._let_through(reader, writer)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the client is done, silent, or out of reach
        except Exception as error:
            crash(self.name, error, timeline=self._timeline, tasks=self._tasks)
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _let_through(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        address, number = writer.get_extra_info("peername")[:2]
        about = {
            "id": f"p{next(self._numbers)}",
            "mac": self._identify(address),
            "peer": f"{address}:{number}",
        }
        try:
            wish = read_head(head)
            about |= {"method": wish.method, "target": wish.target}
            if self._wanted and wish.credentials != self._wanted:
                why = "other credentials" if wish.credentials else "no credentials"
                ask = 'Proxy-Authenticate: Basic realm="proxy"'
                raise _Refused("407 Proxy Authentication Required", why, ask)
            far = await self._connect(wish.target)
        except _Refused as refused:
            self._timeline.record(self.name, "proxy.request.refused", **about, reason=str(refused))
            writer.write(refused.answer)
            await writer.drain()
            return
        self._timeline.record(self.name, "proxy.request.passed", **about, user=self._user or None)
        far_reader, far_writer = far
        self._writers.add(far_writer)
        try:
            if wish.forward:
                far_writer.write(wish.forward)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with together() as both:
                both.create_task(_copy(reader, far_writer))
                both.create_task(_copy(far_reader, writer))
        finally:
            self._writers.discard(far_writer)
            far_writer.close()

    async def _connect(self, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = target.rpartition(":")
        try:
            address = self._zone.get(host.lower().rstrip(".")) or str(IPv4Address(host))
            async with asyncio.timeout(_PATIENCE_S):
                return await asyncio.open_connection(address, int(port))
        except (ValueError, OverflowError):  # no address, no port
            raise _Refused("502 Bad Gateway", f"{target} is not known here") from None
        except OSError as error:
            why = error.strerror or "no answer"
            raise _Refused("502 Bad Gateway", f"{target}: {why}") from None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until it ends, and the end."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
