"""HTTP: what smee serves (scripts, binaries, ISO), metadata, and Hook's kernel and initramfs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.certificates import ServerCertificate
from harness.faults.codes import http_status
from harness.faults.deeds import Arguments, Deed, Source
from harness.faults.dialects.script import bend_script
from harness.faults.plan import Strike, no_strike
from harness.services import Identify, pxe_http
from harness.services.answer import Answer, status_among, treat
from harness.services.door import Contexts
from harness.services.exchange import Exchange
from harness.services.file_answer import of_file
from harness.services.iso import IsoProxy, IsoSource
from harness.services.pxe_http import PxeHttp
from harness.services.web_service import WebService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire import gohttp
from harness.wire.ipxe import BadScript, ScriptConfig, script_for, static_script
from harness.wire.iso import mac_in
from harness.wire.metadata import MetadataServer
from harness.wire.netboot import Reservation, Reservations, parse_mac, without_trace

if TYPE_CHECKING:
    from aiohttp import web

    from harness.services.delivery import Delivery

PORT: Final = 7080
"""Tinkerbell's own since 2026; before that smee had 7171 and 8080."""
HOOK_PREFIX: Final = "/hook"
"""Where Hook's files are: ``<base>/hook/vmlinuz-x86_64``."""


SCRIPT: Final = "auto.ipxe"
SCRIPT_PREFIX: Final = "/ipxe/script/"
BINARY_PREFIX: Final = "/ipxe/binary/"
ISO_PREFIX: Final = "/iso/"


class HttpService(WebService):
    """Serves what it is given: scripts, binaries, artifacts, an ISO, TFTP's files, metadata.

    ``artifacts`` maps a file's name to its place; it is served as ``/hook/<name>``. Paths of
    Tinkerbell since 2026 and of smee and boots before are both understood. Of the ``trusted``
    networks the header X-Forwarded-For is believed. ``strike``, ``metadata_strike`` and
    ``hook_strike`` are the faults of the server, of the metadata and of what a script says.
    """

    family = "http"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        reservations: Reservations,
        scripts: ScriptConfig | None = None,
        binaries: Mapping[str, Path] | None = None,
        artifacts: Mapping[str, Path] | None = None,
        metadata: MetadataServer | None = None,
        iso: IsoSource | None = None,
        pxe: PxeHttp | None = None,
        bind: str = "0.0.0.0",
        port: int = PORT,
        identify: Identify | None = None,
        static_scripts: bool = False,
        trusted: Sequence[str] = (),
        strike: Strike | None = None,
        metadata_strike: Strike | None = None,
        hook_strike: Strike | None = None,
        name: str = "http",
        certificate: ServerCertificate | None = None,
        contexts: Contexts | None = None,
    ) -> None:
        """``certificate`` None: plain HTTP. ``contexts`` is for the TLS that faults ask for."""
        super().__init__(
            name=name,
            timeline=timeline,
            tasks=tasks,
            bind=bind,
            port=port,
            certificate=certificate,
            contexts=contexts,
            strike=strike,
            identify=identify,
        )
        self._reservations = reservations
        self._scripts = scripts
        self._binaries = binaries or {}
        self._artifacts = artifacts or {}
        self._metadata = metadata
        self._pxe = pxe
        self._iso = IsoProxy(iso, scripts) if iso and scripts else None
        self._static_scripts = static_scripts
        self._trusted = tuple(trusted)
        self._metadata_strike = metadata_strike or no_strike
        self._hook_strike = hook_strike or no_strike
        self._began = timeline.clock.now()
        self._counts: Counter[tuple[str, int]] = Counter()
        self._folders = (
            *((SCRIPT_PREFIX,) if scripts else ()),
            *((BINARY_PREFIX,) if self._binaries else ()),
            *((ISO_PREFIX,) if self._iso else ()),
            *((pxe_http.PREFIX,) if pxe else ()),
            *(metadata.folders() if metadata else ()),
        )

    async def stop(self) -> None:
        """Stop listening and cut what still runs; may be called twice."""
        await super().stop()
        if self._iso:
            await self._iso.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.numbered += 1
        exchange = _Exchange(
            id=f"h{self.numbered}",
            mac=self._mac(request.remote or ""),
            request=request,
            timeline=self._timeline,
            source=self.name,
        )

        async def answer_it(delivery: Delivery) -> web.StreamResponse:
            async with self._opened(exchange) as answer:
                how = None
                if deeds := self._struck(exchange, answer):
                    if refusal := status_among(deeds):
                        number = http_status(refusal.code)
                        answer = _text(number, refusal.message or _reason(number))
                    answer, how = treat(answer, deeds)
                exchange.started(answer.status, answer.promised)
                sent = await delivery.send(answer, how)
                self._counts[request.method, answer.status] += 1
            exchange.finished(answer.status, delivery.sent)
            return sent

        return await self._answered(exchange, answer_it)

    def _struck(self, exchange: _Exchange, answer: Answer) -> tuple[Deed, ...]:
        path = exchange.request.path
        metadata = self._metadata is not None and self._metadata.owns(path)
        strike = self._metadata_strike if metadata else self._strike
        if strike is no_strike:
            return ()
        head = exchange.head()
        facts = {key: head[key] for key in ("mac", "method", "path", "range", "agent")}
        if not metadata:
            facts["file"] = _kind(path)
        return strike("request", **facts, status=answer.status)

    def _refused(self, peer: str, reason: str) -> None:
        if self._certificate:
            super()._refused(peer, reason)
        else:
            self._malformed(peer.rpartition(":")[0], reason)

    def _mac(self, address: str) -> str | None:
        if mac := super()._mac(address):
            return mac
        reservation = self._reservations.by_address(address)
        return reservation.mac if reservation else None

    @asynccontextmanager
    async def _opened(self, exchange: _Exchange) -> AsyncIterator[Answer]:
        """Return what is answered, with the file it takes open."""
        request = exchange.request
        query = request.raw_path.partition("?")[2]
        redirect = gohttp.mux_redirect(request.path, query, request.method, self._folders)
        if redirect:
            yield _whole(redirect)
            return
        if self._iso and request.path.startswith(ISO_PREFIX):
            async with self._image(self._iso, request) as image:
                yield image
            return
        found = self._answer(exchange)
        if isinstance(found, gohttp.Answer):
            yield _whole(found)
            return
        try:
            file = found.open("rb")
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            yield _whole(gohttp.NOT_FOUND)
            return
        with file:
            exchange.file_bytes = found.stat().st_size
            yield of_file(file, request.headers)

    def _answer(self, exchange: _Exchange) -> gohttp.Answer | Path:
        request = exchange.request
        path, method = request.path, request.method
        if path in ("/healthz", "/readyz"):
            return gohttp.OK
        if path == "/healthcheck":
            return self._health()
        if path == "/metrics":
            return self._metrics()
        if self._pxe and path.startswith(pxe_http.PREFIX):
            return self._pxe.answer(method, path)
        caller = self._caller(request)
        if self._metadata and self._metadata.owns(path):
            caller = _seen_as(self._metadata_strike, exchange, caller)
            return self._metadata.answer(method, path, caller)
        if self._scripts and (path.startswith(SCRIPT_PREFIX) or gohttp.base(path) == SCRIPT):
            return self._script(self._scripts, exchange, caller)
        file = self._file(path, path.rpartition("/")[2])
        if file is None:
            return gohttp.NOT_FOUND
        if method not in ("GET", "HEAD"):
            return gohttp.NOT_ALLOWED
        return file

    def _caller(self, request: web.BaseRequest) -> str:
        forwarded = request.headers.get("X-Forwarded-For")
        return gohttp.client_address(request.remote or "", forwarded, self._trusted)

    def _file(self, path: str, base: str) -> Path | None:
        if path.startswith("/ipxe/"):
            return self._binaries.get(without_trace(gohttp.base(path)))
        if path == f"{HOOK_PREFIX}/{base}":
            return self._artifacts.get(base)
        return None

    def _script(self, scripts: ScriptConfig, exchange: _Exchange, caller: str) -> gohttp.Answer:
        """Serve a machine's script: MAC from the path, else the sender's address."""
        path = exchange.request.path
        if gohttp.base(path) != SCRIPT:
            return gohttp.empty(404)
        mac = parse_mac(gohttp.parent(path))
        found: Reservation | None
        if mac is not None:
            found = self._reservations.by_mac(mac)
        else:
            caller = _seen_as(self._strike, exchange, caller)
            found = self._reservations.by_address(caller)
        if found is None and self._static_scripts:
            script = static_script(scripts)
        elif found is None or not found.allow_pxe:
            why = "no Hardware has " if found is None else "allowPXE is false for "
            why += f"this MAC ({mac})" if mac else f"the address the request comes from ({caller})"
            exchange.record("http.script.refused", mac=mac, path=path, caller=caller, reason=why)
            return gohttp.empty(404)
        else:
            try:
                script = script_for(found, scripts)
            except BadScript:
                return gohttp.empty(500)
        known = exchange.mac or mac
        for deed in self._hook_strike("script", mac=known, path=path):
            if isinstance(deed, Arguments):
                script = bend_script(script, deed)
        exchange.record("http.script.served", mac=known, path=path, script=script)
        return gohttp.Answer(body=script.encode(), content_type=gohttp.TEXT)

    @asynccontextmanager
    async def _image(self, iso: IsoProxy, request: web.BaseRequest) -> AsyncIterator[Answer]:
        """Serve the ISO with a machine's arguments in it."""
        mac = mac_in(request.path)
        found = self._reservations.by_mac(mac) if mac else None
        refusal = iso.refusal(request.path, mac, found)
        if refusal or found is None:
            yield _whole(refusal or gohttp.empty(404))
            return
        async with iso.fetched(request, found) as answer:
            yield _whole(answer) if isinstance(answer, gohttp.Answer) else answer

    def _health(self) -> gohttp.Answer:
        """Return what ``/healthcheck`` says; there are no goroutines here, but tasks."""
        report = {
            "git_rev": "hooklab",
            "uptime_seconds": f"{self._timeline.clock.now() - self._began:.2f}",
            "goroutines": len(asyncio.all_tasks()),
        }
        text = json.dumps(report, separators=(",", ":")) + "\n"
        return gohttp.Answer(body=text.encode(), content_type="application/json")

    def _metrics(self) -> gohttp.Answer:
        """Return the one metric that is kept here, named as Tinkerbell names it."""
        lines = [
            "# HELP http_server_requests_total Count of HTTP requests",
            "# TYPE http_server_requests_total counter",
            *(
                f'http_server_requests_total{{method="{method}",status_code="{status}"}} {count}'
                for (method, status), count in sorted(self._counts.items())
            ),
        ]
        text = "\n".join(lines) + "\n"
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return gohttp.Answer(body=text.encode(), content_type=kind)


class _Exchange(Exchange):
    """The events of one request and its answer."""

    file_bytes: int | None = None
    """How much the file has that is asked for, where one is."""
    _length: int | None = None

    def received(self) -> None:
        self.record("http.request.received", **self.head())

    def started(self, status: int, length: int) -> None:
        self._length = length
        self.record(
            "http.response.started",
            path=self.path,
            status=status,
            length=length,
            file_bytes=self.file_bytes,
        )

    def progressed(self, sent: int, length: int, waiting: int) -> None:
        self.record(
            "http.transfer.progressed", path=self.path, bytes=sent, length=length, waiting=waiting
        )

    def finished(self, status: int, sent: int) -> None:
        self.record(
            "http.response.finished",
            mac=self.mac,
            path=self.path,
            status=status,
            bytes=sent,
            duration_s=round(self.age_s, 6),
        )

    def cut(self, how: str, delivery: Delivery) -> None:
        self.record("http.response.cut", how=how, **self._so_far(delivery))

    def aborted(self, delivery: Delivery) -> None:
        self.record("http.response.aborted", **self._so_far(delivery))

    def _so_far(self, delivery: Delivery) -> dict[str, object]:
        return {
            "mac": self.mac,
            "path": self.path,
            "bytes": delivery.sent,
            "length": self._length,
        }


def _seen_as(strike: Strike, exchange: _Exchange, caller: str) -> str:
    """Return the address that a request is taken to be from."""
    request = exchange.request
    facts = {"mac": exchange.mac, "method": request.method, "path": request.path}
    for deed in strike("lookup", **facts, caller=caller):
        if isinstance(deed, Source) and deed.address:
            caller = deed.address
    return caller


def _whole(answer: gohttp.Answer) -> Answer:
    headers = dict(answer.headers)
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    headers["Content-Length"] = str(len(answer.body))
    return Answer(status=answer.status, headers=tuple(headers.items()), body=answer.body)


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
    if base == SCRIPT:
        return "script"
    if path.startswith("/ipxe/"):
        return "binary"
    if path.startswith(ISO_PREFIX):
        return "iso"
    for kind, start in (("kernel", "vmlinuz"), ("initramfs", "initramfs")):
        if base.startswith(start):
            return kind
    return "other"
