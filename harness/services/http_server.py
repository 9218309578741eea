"""HTTP on a TCP port: the door, aiohttp's parser behind it, and one handler for every request."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from harness.faults.plan import Strike
from harness.services import Identify
from harness.services.door import Contexts, Door, OnFailure, OnMute
from harness.services.http_log import OnBug, OnMalformed, aiohttp_logger
from harness.services.unheard import OnUnheard, Unheard
from harness.tasks import TaskKeeper

_STOP_WITHIN_S: Final = 0.5

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves ``handle`` on a bound, listening socket, which it takes over."""

    def __init__(
        self,
        *,
        sock: socket.socket,
        service: str,
        tasks: TaskKeeper,
        handle: Handle,
        tls: ssl.SSLContext | None = None,
        contexts: Contexts | None = None,
        on_refused: OnFailure,
        on_malformed: OnMalformed,
        on_bug: OnBug,
        on_unheard: OnUnheard,
        on_mute: OnMute,
        strike: Strike | None = None,
        identify: Identify | None = None,
    ) -> None:
        self._server = _Server(
            handle,
            unheard=Unheard(on_unheard),
            logger=aiohttp_logger(on_malformed, on_bug),
            access_log=None,
            handler_cancellation=False,
            auto_decompress=False,  # a body is what was sent, as for Go's servers
        )
        self._door = Door(
            sock=sock,
            service=service,
            tasks=tasks,
            protocol=self._server,
            tls=tls,
            contexts=contexts,
            on_failure=on_refused,
            on_mute=on_mute,
            strike=strike,
            identify=identify,
        )

    @property
    def listener(self) -> socket.socket:
        """The listening socket."""
        return self._door.listener

    def open(self) -> None:
        """Begin to accept."""
        self._door.open()

    def lost(self, request: web.BaseRequest) -> asyncio.Future[None]:
        """Return a future that is done once the request's connection is gone."""
        return self._server.lost(request)

    async def close(self) -> None:
        """Stop listening and cut what still runs."""
        await self._door.close()
        self._server.pre_shutdown()
        self._server.release()
        await self._server.shutdown(_STOP_WITHIN_S)


class _Server(web.Server):
    """aiohttp's server, which also tells a waiting handler that its client has left."""

    def __init__(self, handler: Handle, *, unheard: Unheard, **options: Any) -> None:
        super().__init__(handler, **options)
        self._unheard = unheard
        self._lost: dict[Any, asyncio.Future[None]] = {}

    def lost(self, request: web.BaseRequest) -> asyncio.Future[None]:
        protocol = request.protocol
        if protocol not in self._lost:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if request.transport is None:
                future.set_result(None)
                return future
            self._lost[protocol] = future
        return self._lost[protocol]

    def release(self) -> None:
        """End every wait for a client."""
        self._unheard.close()
        while self._lost:
            protocol, future = self._lost.popitem()
            protocol.force_close()  # else its handler's end would be answered 500
            if not future.done():
                future.set_result(None)

    def connection_made(self, handler: Any, transport: Any) -> None:
        super().connection_made(handler, transport)
        self._unheard.add(transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self._unheard.discard(handler.transport)
        future = self._lost.pop(handler, None)
        if future and not future.done():
            future.set_result(None)
        super().connection_lost(handler, exc)
