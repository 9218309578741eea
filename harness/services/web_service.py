"""A service that answers requests over HTTP/1.1, plain or with TLS, on one port."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from harness.certificates import ServerCertificate, server_context
from harness.faults.plan import Strike, no_strike
from harness.services import Identify
from harness.services.door import Contexts
from harness.services.exchange import Exchange
from harness.services.tcp import tcp_socket
from harness.services.udp import crash
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

if TYPE_CHECKING:
    from aiohttp import web

    from harness.services.delivery import Delivery
    from harness.services.http_server import HttpServer


class WebService(ABC):
    """Starts and stops an HTTP server, and tells of its connections; answers are a subclass's."""

    family: ClassVar[str]
    """What the names of its events begin with."""

    def __init__(
        self,
        *,
        name: str,
        timeline: Timeline,
        tasks: TaskKeeper,
        bind: str,
        port: int,
        certificate: ServerCertificate | None,
        contexts: Contexts | None,
        strike: Strike | None,
        identify: Identify | None,
    ) -> None:
        """``certificate`` None: plain HTTP. ``contexts`` is for the TLS that faults ask for."""
        self.name = name
        self._timeline = timeline
        self._tasks = tasks
        self._bind = bind
        self._port = port
        self._certificate = certificate
        self._contexts = contexts
        self._strike = strike or no_strike
        self._identify = identify or (lambda _: None)
        self._server: HttpServer | None = None
        self.numbered = 0
        """How many requests have a number; the next one's is one more."""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def listener(self) -> socket.socket | None:
        """The listening socket; None before it listens."""
        return self._server.listener if self._server else None

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        from harness.services.http_server import HttpServer  # aiohttp: 0.5 s, not for --help

        tls = server_context(self._certificate, alpn=("http/1.1",)) if self._certificate else None
        sock = tcp_socket(service=self.name, bind=self._bind, port=self._port)
        self._port = int(sock.getsockname()[1])
        self._server = HttpServer(
            sock=sock,
            service=self.name,
            tasks=self._tasks,
            handle=self._handle,
            tls=tls,
            contexts=self._contexts,
            on_refused=self._refused,
            on_malformed=self._malformed,
            on_bug=self._crashed,
            on_unheard=self._unheard,
            on_mute=self._mute,
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
            transport="tls" if tls else "tcp",
        )

    async def stop(self) -> None:
        """Stop listening and cut what still runs; may be called twice."""
        server, self._server = self._server, None
        if server:
            await server.close()
            self._timeline.record(self.name, "service.stopped", service=self.name)

    @abstractmethod
    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, by ``_answered``."""

    async def _answered(
        self,
        exchange: Exchange,
        answer_it: Callable[[Delivery], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Return what ``answer_it`` sent. Raises ``ConnectionError`` when it can't be sent."""
        if self._server is None:  # it stops, and this connection has not ended yet
            raise ConnectionResetError("the service stops")
        return await exchange.answered(self._server, answer_it)

    def _mac(self, address: str) -> str | None:
        """Return whose address it is."""
        return self._identify(address)

    # -- what is told of connections

    def _refused(self, peer: str, reason: str) -> None:
        self._tell("tls.failed", peer=peer, reason=reason)

    def _unheard(self, peer: str, octets: int, times: int) -> None:
        if times:
            self._tell("answer.unheard", peer=peer, bytes=octets, times=times)
        else:
            self._tell("answer.heard", peer=peer)

    def _mute(self, peer: str, waited_s: float) -> None:
        self._tell("connection.mute", peer=peer, waited_s=round(waited_s, 3))

    def _malformed(self, peer: str, reason: str) -> None:
        self._tell("malformed", peer=peer, reason=reason)

    def _crashed(self, error: Exception) -> None:
        crash(self.name, error, timeline=self._timeline, tasks=self._tasks)

    def _tell(self, what: str, /, **fields: object) -> None:
        self._timeline.record(self.name, f"{self.family}.{what}", **fields)
