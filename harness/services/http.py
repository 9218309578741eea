"""HTTP: iPXE scripts and binaries as smee serves them, and Hook's kernel and initramfs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from harness.errors import SetupFailed
from harness.services import Identify
from harness.services.http_log import aiohttp_logger
from harness.services.udp import cannot_listen, crash
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.http_range import Unsatisfiable, parse_range
from harness.wire.ipxe import BadScript, ScriptConfig, script_for, static_script
from harness.wire.netboot import Reservation, Reservations, parse_mac, without_trace

if TYPE_CHECKING:
    from aiohttp import web

PORT: Final = 7080
"""Tinkerbell's own since 2026; before that smee had 7171 and 8080."""
HOOK_PREFIX: Final = "/hook"
"""Where Hook's files are: ``<base>/hook/vmlinuz-x86_64``."""
_SLICE_BYTES: Final = 1 << 20
_PROGRESS_EVERY_S: Final = 0.5
_STOP_WITHIN_S: Final = 0.5


class HttpService:
    """Serves scripts, binaries and artifacts.

    ``artifacts`` maps a file's name to its place; it is served as ``/hook/<name>``. Paths of
    Tinkerbell since 2026 and of smee and boots before are both understood.
    """

    name = "http"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        reservations: Reservations,
        scripts: ScriptConfig,
        binaries: Mapping[str, Path],
        artifacts: Mapping[str, Path],
        bind: str = "0.0.0.0",
        port: int = PORT,
        identify: Identify | None = None,
        static_scripts: bool = False,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._reservations = reservations
        self._scripts = scripts
        self._binaries = binaries
        self._artifacts = artifacts
        self._bind = bind
        self._port = port
        self._identify = identify or (lambda _: None)
        self._static_scripts = static_scripts
        self._runner: web.ServerRunner | None = None
        self._requests = 0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        from aiohttp import web  # 0.5 s of import: paid when a lab starts, not for --help

        sock = tcp_socket(service=self.name, bind=self._bind, port=self._port)
        self._port = int(sock.getsockname()[1])
        server = web.Server(
            self._handle,
            logger=aiohttp_logger(self._malformed, self._crashed),
            access_log=None,
            handler_cancellation=False,
        )
        self._runner = web.ServerRunner(
            server, handle_signals=False, shutdown_timeout=_STOP_WITHIN_S
        )
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=self._bind,
            port=self._port,
            transport="tcp",
        )

    async def stop(self) -> None:
        """Stop listening and cut what still runs; may be called twice."""
        if self._runner:
            runner, self._runner = self._runner, None
            await runner.cleanup()
            self._timeline.record(self.name, "service.stopped", service=self.name)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._requests += 1
        exchange = _Exchange(
            id=f"h{self._requests}",
            mac=self._mac(request.remote or ""),
            request=request,
            timeline=self._timeline,
        )
        exchange.record("http.request.received", **exchange.head())
        try:
            return await self._answer(exchange)
        except (ConnectionError, asyncio.CancelledError):
            exchange.aborted()
            raise

    def _malformed(self, address: str, reason: str) -> None:
        self._timeline.record(self.name, "http.malformed", peer=address, reason=reason)

    def _crashed(self, error: Exception) -> None:
        crash(self.name, error, timeline=self._timeline, tasks=self._tasks)

    def _mac(self, address: str) -> str | None:
        if mac := self._identify(address):
            return mac
        reservation = self._reservations.by_address(address)
        return reservation.mac if reservation else None

    async def _answer(self, exchange: _Exchange) -> web.StreamResponse:
        path = exchange.request.path
        base = path.rpartition("/")[2]
        if path in ("/healthz", "/readyz"):
            return await exchange.text(200, "ok")
        if base == "auto.ipxe":
            return await self._script(exchange, path)
        file = self._file(path, base)
        if file is None:
            return await exchange.text(404, "404 page not found\n")
        if exchange.request.method not in ("GET", "HEAD"):
            return await exchange.text(405, "Method not allowed\n")
        return await exchange.file(file)

    def _file(self, path: str, base: str) -> Path | None:
        if path.startswith(("/ipxe/binary/", "/ipxe/")):
            return self._binaries.get(without_trace(base))
        if path == f"{HOOK_PREFIX}/{base}":
            return self._artifacts.get(base)
        return None

    async def _script(self, exchange: _Exchange, path: str) -> web.StreamResponse:
        """Serve a machine's script: MAC from the path, else the sender's address."""
        elements = path.split("/")
        mac = parse_mac(elements[-2]) if len(elements) > 1 else None
        found: Reservation | None
        if mac is not None:
            found = self._reservations.by_mac(mac)
        else:
            found = self._reservations.by_address(exchange.request.remote or "")
        if found is None and self._static_scripts:
            script = static_script(self._scripts)
        elif found is None or not found.allow_pxe:
            return await exchange.text(404, "")
        else:
            try:
                script = script_for(found, self._scripts)
            except BadScript:
                return await exchange.text(500, "")
        exchange.record("http.script.served", mac=exchange.mac or mac, path=path, script=script)
        return await exchange.text(200, script)


class _Exchange:
    """One request and its answer, and the events between."""

    def __init__(
        self, *, id: str, mac: str | None, request: web.BaseRequest, timeline: Timeline
    ) -> None:
        self.mac = mac
        self.request = request
        self._id = id
        self._timeline = timeline
        self._began = timeline.clock.now()
        self._sent = 0
        self._length: int | None = None
        self._closed = False

    def record(self, event: str, /, **fields: object) -> None:
        self._timeline.record("http", event, id=self._id, **fields)

    def head(self) -> dict[str, object]:
        transport = self.request.transport
        peer = transport.get_extra_info("peername") if transport else None
        return {
            "mac": self.mac,
            "peer": f"{peer[0]}:{peer[1]}" if peer else None,
            "method": self.request.method,
            "path": self.request.path,
            "range": self.request.headers.get("Range"),
            "agent": self.request.headers.get("User-Agent"),
        }

    def aborted(self) -> None:
        if not self._closed:
            self._closed = True
            self.record(
                "http.response.aborted",
                mac=self.mac,
                path=self.request.path,
                bytes=self._sent,
                length=self._length,
            )

    async def text(self, status: int, text: str) -> web.StreamResponse:
        from aiohttp import web

        body = text.encode()
        response = web.Response(status=status, body=body, content_type="text/plain")
        self._started(status, len(body))
        await response.prepare(self.request)
        await response.write_eof()
        self._sent = 0 if self.request.method == "HEAD" else len(body)
        self._finished(status)
        return response

    async def file(self, path: Path) -> web.StreamResponse:
        """Send a file or a range of it, with sendfile: no octet passes through Python."""
        try:
            with path.open("rb") as file:
                return await self._send(file)
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            return await self.text(404, "404 page not found\n")

    async def _send(self, file: IO[bytes]) -> web.StreamResponse:
        from aiohttp import web

        size, mtime_ns = _size_and_mtime(file)
        etag = f"{mtime_ns:x}-{size:x}"
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{etag}"',
            "Content-Type": "application/octet-stream",
        }
        known = self.request.headers.get("If-None-Match", "")
        if known.strip() == "*" or f'"{etag}"' in known:
            return await self._no_body(304, headers)
        try:
            asked = self.request.headers.get("Range")
            if_range = self.request.headers.get("If-Range")
            if if_range is not None and if_range != f'"{etag}"':
                asked = None
            span = parse_range(asked, size)
        except Unsatisfiable:
            return await self._no_body(416, {"Content-Range": f"bytes */{size}"})
        start, end = span or (0, size)
        if span:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        status = 206 if span else 200
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        self._started(status, end - start)
        await response.prepare(self.request)
        if self.request.method != "HEAD":
            await self._slices(file, start, end)
        await response.write_eof()
        self._finished(status)
        return response

    async def _slices(self, file: IO[bytes], start: int, end: int) -> None:
        """Send ``file`` from ``start`` to ``end``. Raises ``ConnectionError`` if the peer left."""
        loop = asyncio.get_running_loop()
        progress_at = self._began
        while start < end:
            transport = self.request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client left")
            count = min(_SLICE_BYTES, end - start)
            try:
                sent = await loop.sendfile(transport, file, start, count, fallback=False)
            except asyncio.SendfileNotAvailableError as error:
                # What asyncio calls a write that failed before its first octet: EPIPE or ECONNRESET
                raise ConnectionResetError("the client left") from error
            if sent == 0:
                raise ConnectionResetError("the file became shorter while it was sent")
            start += sent
            self._sent += sent
            now = self._timeline.clock.now()
            if now - progress_at >= _PROGRESS_EVERY_S and start < end:
                progress_at = now
                self.record(
                    "http.transfer.progressed",
                    path=self.request.path,
                    bytes=self._sent,
                    length=self._length,
                )

    async def _no_body(self, status: int, headers: Mapping[str, str]) -> web.StreamResponse:
        from aiohttp import web

        response = web.Response(status=status, headers=headers)
        self._started(status, 0)
        await response.prepare(self.request)
        await response.write_eof()
        self._finished(status)
        return response

    def _started(self, status: int, length: int) -> None:
        self._length = length
        self.record("http.response.started", path=self.request.path, status=status, length=length)

    def _finished(self, status: int) -> None:
        self._closed = True
        self.record(
            "http.response.finished",
            mac=self.mac,
            path=self.request.path,
            status=status,
            bytes=self._sent,
            duration_s=round(self._timeline.clock.now() - self._began, 6),
        )


def _size_and_mtime(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def tcp_socket(*, service: str, bind: str, port: int) -> socket.socket:
    """Return a bound TCP socket. Raises ``SetupFailed``."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bind, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        failure: SetupFailed = cannot_listen(service, bind, port, error, transport="TCP")
        raise failure from error
    return sock
