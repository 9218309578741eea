"""HTTP: iPXE scripts and binaries as smee serves them, and Hook's kernel and initramfs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from harness.errors import SetupFailed
from harness.faults.deeds import Deed
from harness.faults.plan import Strike, no_strike
from harness.services import Identify
from harness.services.answer import Answer, FilePart, status_among, status_number, treat
from harness.services.udp import cannot_listen, crash
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.http_range import Unsatisfiable, parse_range
from harness.wire.ipxe import BadScript, ScriptConfig, script_for, static_script
from harness.wire.netboot import Reservation, Reservations, parse_mac, without_trace

if TYPE_CHECKING:
    from aiohttp import web

    from harness.services.http_server import HttpServer

PORT: Final = 7080
"""Tinkerbell's own since 2026; before that smee had 7171 and 8080."""
HOOK_PREFIX: Final = "/hook"
"""Where Hook's files are: ``<base>/hook/vmlinuz-x86_64``."""


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
        strike: Strike | None = None,
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
        self._strike = strike or no_strike
        self._server: HttpServer | None = None
        self._requests = 0

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        from harness.services.http_server import HttpServer  # aiohttp: 0.5 s, not for --help

        sock = tcp_socket(service=self.name, bind=self._bind, port=self._port)
        self._port = int(sock.getsockname()[1])
        self._server = HttpServer(
            sock=sock,
            service=self.name,
            tasks=self._tasks,
            handle=self._handle,
            on_refused=lambda peer, why: self._malformed(peer.rpartition(":")[0], why),
            on_malformed=self._malformed,
            on_bug=self._crashed,
            strike=self._strike,
            identify=self._mac,
        )
        self._server.open()
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
        server, self._server = self._server, None
        if server:
            await server.close()
            self._timeline.record(self.name, "service.stopped", service=self.name)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        from harness.services.delivery import Cut, Delivery

        self._requests += 1
        exchange = _Exchange(
            id=f"h{self._requests}",
            mac=self._mac(request.remote or ""),
            request=request,
            timeline=self._timeline,
        )
        server = self._server
        assert server is not None
        delivery = Delivery(
            request,
            clock=self._timeline.clock,
            lost=lambda: server.lost(request),
            on_progress=exchange.progressed,
        )
        exchange.record("http.request.received", **exchange.head())
        try:
            with self._opened(exchange) as answer:
                how = None
                if deeds := self._struck(exchange, answer):
                    if refusal := status_among(deeds):
                        number = status_number(refusal.code)
                        answer = _text(number, refusal.message or _reason(number))
                    answer, how = treat(answer, deeds)
                exchange.started(answer.status, answer.length)
                sent = await delivery.send(answer, how)
            exchange.finished(answer.status, delivery.sent)
            return sent
        except Cut as cut:
            exchange.ended("cut", delivery.sent, how=str(cut.how))
            raise
        except (ConnectionError, asyncio.CancelledError):
            exchange.ended("aborted", delivery.sent)
            raise

    def _struck(self, exchange: _Exchange, answer: Answer) -> tuple[Deed, ...]:
        if self._strike is no_strike:
            return ()
        head = exchange.head()
        return self._strike(
            "request",
            **{key: head[key] for key in ("mac", "method", "path", "range", "agent")},
            file=_kind(exchange.request.path),
            status=answer.status,
        )

    def _malformed(self, address: str, reason: str) -> None:
        self._timeline.record(self.name, "http.malformed", peer=address, reason=reason)

    def _crashed(self, error: Exception) -> None:
        crash(self.name, error, timeline=self._timeline, tasks=self._tasks)

    def _mac(self, address: str) -> str | None:
        if mac := self._identify(address):
            return mac
        reservation = self._reservations.by_address(address)
        return reservation.mac if reservation else None

    @contextmanager
    def _opened(self, exchange: _Exchange) -> Iterator[Answer]:
        """Return what is answered, with the file it takes open."""
        found = self._answer(exchange)
        if isinstance(found, Answer):
            yield found
            return
        try:
            file = found.open("rb")
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            yield _text(404, "404 page not found\n")
            return
        with file:
            yield _of_file(file, exchange.request.headers)

    def _answer(self, exchange: _Exchange) -> Answer | Path:
        path = exchange.request.path
        base = path.rpartition("/")[2]
        if path in ("/healthz", "/readyz"):
            return _text(200, "ok")
        if base == "auto.ipxe":
            return self._script(exchange, path)
        file = self._file(path, base)
        if file is None:
            return _text(404, "404 page not found\n")
        if exchange.request.method not in ("GET", "HEAD"):
            return _text(405, "Method not allowed\n")
        return file

    def _file(self, path: str, base: str) -> Path | None:
        if path.startswith(("/ipxe/binary/", "/ipxe/")):
            return self._binaries.get(without_trace(base))
        if path == f"{HOOK_PREFIX}/{base}":
            return self._artifacts.get(base)
        return None

    def _script(self, exchange: _Exchange, path: str) -> Answer:
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
            return _text(404, "")
        else:
            try:
                script = script_for(found, self._scripts)
            except BadScript:
                return _text(500, "")
        exchange.record("http.script.served", mac=exchange.mac or mac, path=path, script=script)
        return _text(200, script)


class _Exchange:
    """The events of one request and its answer."""

    def __init__(
        self, *, id: str, mac: str | None, request: web.BaseRequest, timeline: Timeline
    ) -> None:
        self.mac = mac
        self.request = request
        self._id = id
        self._timeline = timeline
        self._began = timeline.clock.now()
        self._length: int | None = None

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

    def started(self, status: int, length: int) -> None:
        self._length = length
        self.record("http.response.started", path=self.request.path, status=status, length=length)

    def progressed(self, sent: int, length: int) -> None:
        self.record("http.transfer.progressed", path=self.request.path, bytes=sent, length=length)

    def finished(self, status: int, sent: int) -> None:
        self.record(
            "http.response.finished",
            mac=self.mac,
            path=self.request.path,
            status=status,
            bytes=sent,
            duration_s=round(self._timeline.clock.now() - self._began, 6),
        )

    def ended(self, by: str, sent: int, **more: object) -> None:
        """Record an end before the end: ``aborted`` by the client, ``cut`` by the server."""
        self.record(
            f"http.response.{by}",
            mac=self.mac,
            path=self.request.path,
            bytes=sent,
            length=self._length,
            **more,
        )


def _text(status: int, text: str) -> Answer:
    body = text.encode()
    headers = (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
    )
    return Answer(status=status, headers=headers, body=body)


def _reason(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}\n"
    except ValueError:
        return f"{status}\n"


def _kind(path: str) -> str:
    """Return what a path is, as faults name it."""
    base = path.rpartition("/")[2]
    if base == "auto.ipxe":
        return "script"
    if path.startswith("/ipxe/"):
        return "binary"
    for kind, start in (("kernel", "vmlinuz"), ("initramfs", "initramfs")):
        if base.startswith(start):
            return kind
    return "other"


def _of_file(file: IO[bytes], asked: Mapping[str, str]) -> Answer:
    """Answer with a file or a range of it (RFC 9110 §13, §14)."""
    size, mtime_ns = _size_and_mtime(file)
    etag = f"{mtime_ns:x}-{size:x}"
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{etag}"',
        "Content-Type": "application/octet-stream",
    }
    known = asked.get("If-None-Match", "")
    if known.strip() == "*" or f'"{etag}"' in known:
        return Answer(status=304, headers=tuple(headers.items()))
    wanted = asked.get("Range")
    if_range = asked.get("If-Range")
    if if_range is not None and if_range != f'"{etag}"':
        wanted = None
    try:
        span = parse_range(wanted, size)
    except Unsatisfiable:
        return Answer(
            status=416, headers=(("Content-Range", f"bytes */{size}"), ("Content-Length", "0"))
        )
    start, end = span or (0, size)
    if span:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return Answer(
        status=206 if span else 200,
        headers=tuple(headers.items()),
        body=FilePart(stream=file, start=start, length=end - start),
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
