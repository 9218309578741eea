"""The registry: container images for the docker engine in the machine, from image layouts.

What is answered is decided in ``harness.wire.registry``; here are sockets, files and events.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from harness.oci.content import Content, Mount, load_content
from harness.services import Identify
from harness.services.door import Door, tls_context
from harness.services.http import tcp_socket
from harness.services.http_log import aiohttp_logger
from harness.services.udp import crash
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.commands import Note
from harness.wire.registry import Registry
from harness.wire.registry_auth import Auth
from harness.wire.registry_messages import BlobRange, Request, Response

if TYPE_CHECKING:
    from aiohttp import web

PORT: Final = 5000
_SLICE_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 18
_PROGRESS_EVERY_S: Final = 0.5
_STOP_WITHIN_S: Final = 0.5
_FORM_LIMIT: Final = 1 << 16

Rewrite = Callable[[Request, Response], Response]
"""Stands between decision and wire; a fault is one that changes the response.

A body shorter than the response's ``Content-Length`` is sent and then cut off.
"""


class RegistryService:
    """Serves the images of some layouts. ``repositories`` says what there is, once started."""

    name = "registry"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        layouts: Sequence[Path | Mount],
        bind: str = "0.0.0.0",
        port: int = PORT,
        tls: tuple[Path, Path] | None = None,
        auth: Auth | None = None,
        identify: Identify | None = None,
        rewrite: Rewrite | None = None,
    ) -> None:
        """Serve ``layouts``; ``tls`` is certificate chain and key (PEM), None for plain HTTP."""
        self._timeline = timeline
        self._tasks = tasks
        self._mounts = [
            layout if isinstance(layout, Mount) else Mount(layout=layout) for layout in layouts
        ]
        self._bind = bind
        self._port = port
        self._tls = tls
        self._auth = auth or Auth()
        self._identify = identify or (lambda _: None)
        self._rewrite = rewrite or (lambda _request, response: response)
        self._content = Content(repositories={}, blobs={})
        self._core = Registry(repositories={}, new_token=_new_token)
        self._server: web.Server | None = None
        self._door: Door | None = None
        self._requests = 0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return "https" if self._tls else "http"

    @property
    def repositories(self) -> dict[str, list[str]]:
        """The tags of each repository."""
        return {name: sorted(found.tags) for name, found in self._content.repositories.items()}

    async def start(self) -> None:
        """Read the layouts and listen. Raises ``SetupFailed``."""
        from aiohttp import web  # 0.5 s of import: paid when a lab starts, not for --help

        self._content = load_content(self._mounts)
        self._core = Registry(
            repositories=self._content.repositories, auth=self._auth, new_token=_new_token
        )
        context = tls_context(*self._tls) if self._tls else None
        sock = tcp_socket(service=self.name, bind=self._bind, port=self._port)
        self._port = int(sock.getsockname()[1])
        self._server = web.Server(
            self._handle,
            logger=aiohttp_logger(self._malformed, self._crashed),
            access_log=None,
            handler_cancellation=False,
        )
        self._door = Door(
            sock=sock,
            service=self.name,
            tasks=self._tasks,
            protocol=self._server,
            tls=context,
            on_failure=self._refused,
        )
        self._door.open()
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=self._bind,
            port=self._port,
            transport=self.scheme,
        )

    async def stop(self) -> None:
        """Stop listening and cut what still runs; may be called twice."""
        door, self._door = self._door, None
        server, self._server = self._server, None
        if door:
            await door.close()
        if server:
            server.pre_shutdown()
            await server.shutdown(_STOP_WITHIN_S)
            self._timeline.record(self.name, "service.stopped", service=self.name)

    def _refused(self, peer: str, reason: str) -> None:
        self._timeline.record(self.name, "registry.tls.failed", peer=peer, reason=reason)

    def _malformed(self, peer: str, reason: str) -> None:
        self._timeline.record(self.name, "registry.malformed", peer=peer, reason=reason)

    def _crashed(self, error: Exception) -> None:
        crash(self.name, error, timeline=self._timeline, tasks=self._tasks)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._requests += 1
        exchange = _Exchange(
            request=request,
            id=f"r{self._requests}",
            mac=self._identify(request.remote or ""),
            timeline=self._timeline,
            content=self._content,
        )
        exchange.received()
        try:
            asked = await _describe(request, self.scheme, self._timeline.clock.now())
            return await exchange.answer(self._rewrite(asked, self._core.respond(asked)))
        except (ConnectionError, asyncio.CancelledError):
            exchange.aborted()
            raise


class _Exchange:
    """One request and its answer, and the events between."""

    def __init__(
        self,
        *,
        request: web.BaseRequest,
        id: str,
        mac: str | None,
        timeline: Timeline,
        content: Content,
    ) -> None:
        self._request = request
        self._id = id
        self._mac = mac
        self._timeline = timeline
        self._content = content
        self._path = _printable(request.path)
        self._sent = 0
        self._length = 0

    def _record(self, name: str, /, **fields: object) -> None:
        self._timeline.record("registry", name, id=self._id, **fields)

    def received(self) -> None:
        """Record the request's head."""
        transport = self._request.transport
        peer = transport.get_extra_info("peername") if transport else None
        self._record(
            "registry.request.received",
            mac=self._mac,
            peer=f"{peer[0]}:{peer[1]}" if peer else None,
            method=self._request.method,
            path=self._path,
            agent=_printable(self._request.headers.get("User-Agent", "")) or None,
        )

    def aborted(self) -> None:
        """Record that the client left, and after how many octets."""
        self._record(
            "registry.request.aborted",
            mac=self._mac,
            method=self._request.method,
            path=self._path,
            bytes=self._sent,
            length=self._length,
        )

    async def answer(self, response: Response) -> web.StreamResponse:
        """Send ``response``."""
        from aiohttp import web

        for note in response.notes:
            self._note(note)
        head_only = self._request.method == "HEAD"
        self._length = 0 if head_only else response.length
        answer = web.StreamResponse(status=response.status)
        for name, value in response.headers:
            answer.headers.add(name, value)
        await answer.prepare(self._request)
        if self._length:
            if isinstance(response.body, BlobRange):
                await self._send_blob(answer, response.body)
            else:
                await answer.write(response.body)
                self._sent = len(response.body)
        if response.served:
            self._note(response.served, bytes=self._sent)
        if not head_only and self._sent < _declared(response):
            # A rewritten response promises more than it has: the client must see the end of the
            # connection instead of waiting for the rest.
            answer.force_close()
            if self._request.transport:
                self._request.transport.close()
        else:
            await answer.write_eof()
        return answer

    def _note(self, note: Note, **more: object) -> None:
        with_mac = (
            {} if note.name.startswith(("registry.auth", "registry.token")) else {"mac": self._mac}
        )
        self._record(note.name, **with_mac, **note.fields, **more)

    async def _send_blob(self, answer: web.StreamResponse, body: BlobRange) -> None:
        """Send a stored blob: by the kernel where the connection is plain, else in slices."""
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client left")
        told_at = self._timeline.clock.now()
        with self._content.blobs[body.digest].open("rb") as stream:
            stream.seek(body.start)
            while self._sent < body.length:
                size = min(_SLICE_BYTES, body.length - self._sent)
                if transport.get_extra_info("sslcontext"):
                    await self._send_copied(answer, stream, size)
                else:
                    await self._send_from_kernel(transport, stream, body.start, size)
                now = self._timeline.clock.now()
                if now - told_at >= _PROGRESS_EVERY_S and self._sent < body.length:
                    told_at = now
                    self._record(
                        "registry.blob.progressed",
                        digest=str(body.digest),
                        bytes=self._sent,
                        length=body.length,
                    )

    async def _send_copied(self, answer: web.StreamResponse, stream: IO[bytes], size: int) -> None:
        while size:
            data = stream.read(min(_READ_BYTES, size))
            if not data:
                raise ConnectionAbortedError("the blob's file became shorter")
            await answer.write(data)
            self._sent += len(data)
            size -= len(data)

    async def _send_from_kernel(
        self, transport: asyncio.Transport, stream: IO[bytes], start: int, size: int
    ) -> None:
        offset = start + self._sent
        try:
            await asyncio.get_running_loop().sendfile(transport, stream, offset, size)
        finally:  # asyncio leaves the file where it stopped, also when the client left
            reached = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
            self._sent = max(self._sent, reached - start)


def _declared(response: Response) -> int:
    found = [value for name, value in response.headers if name == "Content-Length"]
    return int(found[0]) if found and response.status != 304 else 0


async def _describe(request: web.BaseRequest, scheme: str, now: float) -> Request:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key, text = name.lower(), _printable(value)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    body = b""
    if request.method == "POST":
        while len(body) < _FORM_LIMIT and (chunk := await request.content.readany()):
            body += chunk
    return Request(
        method=request.method,
        target=_printable(request.raw_path),
        headers=headers,
        body=body[:_FORM_LIMIT],
        now=now,
        scheme=scheme,
    )


def _printable(text: str) -> str:
    """Return ``text`` without the lone surrogates that aiohttp makes of octets above 127."""
    return text.encode("utf-8", "replace").decode()


def _new_token() -> str:
    return secrets.token_urlsafe(24)
