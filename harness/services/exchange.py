"""One HTTP request and its answer: what is known of it, and what is told of its way."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from harness.timeline import Timeline

if TYPE_CHECKING:
    from aiohttp import web

    from harness.services.delivery import Delivery
    from harness.services.http_server import HttpServer


class Exchange(ABC):
    """The same for every HTTP service; each gives its events their names."""

    def __init__(
        self,
        *,
        id: str,
        mac: str | None,
        request: web.BaseRequest,
        timeline: Timeline,
        source: str,
    ) -> None:
        """``source`` is who records; ``id`` ties the events of the exchange together."""
        self.mac = mac
        self.request = request
        self.path = printable(request.path)
        self._id = id
        self._timeline = timeline
        self._source = source
        self._began = timeline.clock.now()

    @property
    def age_s(self) -> float:
        """Seconds since the request's head was understood."""
        return self._timeline.clock.now() - self._began

    def record(self, event: str, /, **fields: object) -> None:
        """Record an event of this exchange."""
        self._timeline.record(self._source, event, id=self._id, **fields)

    def head(self) -> dict[str, object]:
        """Return what the request's head says; None: nothing."""
        transport, headers = self.request.transport, self.request.headers
        peer = transport.get_extra_info("peername") if transport else None
        return {
            "mac": self.mac,
            "peer": f"{peer[0]}:{peer[1]}" if peer else None,
            "method": self.request.method,
            "path": self.path,
            "range": headers.get("Range"),
            "agent": printable(headers.get("User-Agent", "")) or None,
        }

    async def answered(
        self,
        server: HttpServer,
        answer: Callable[[Delivery], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Record the head, let ``answer`` deliver, and record where that ended too early.

        Raises what ``answer`` raises.
        """
        from harness.services.delivery import Cut, Delivery  # aiohttp: not for --help

        delivery = Delivery(
            self.request,
            clock=self._timeline.clock,
            lost=lambda: server.lost(self.request),
            on_progress=self.progressed,
        )
        self.received()
        try:
            return await answer(delivery)
        except Cut as cut:
            self.cut(str(cut.how), delivery)
            raise
        except (ConnectionError, asyncio.CancelledError):
            self.aborted(delivery)
            raise

    @abstractmethod
    def received(self) -> None:
        """Record the request's head."""

    @abstractmethod
    def progressed(self, sent: int, length: int, waiting: int) -> None:
        """Record that ``sent`` of ``length`` octets are out, ``waiting`` not yet acknowledged."""

    @abstractmethod
    def cut(self, how: str, delivery: Delivery) -> None:
        """Record that the server itself broke off."""

    @abstractmethod
    def aborted(self, delivery: Delivery) -> None:
        """Record that the client left."""


def printable(text: str) -> str:
    """Return ``text`` without the lone surrogates that aiohttp makes of octets above 127."""
    return text.encode("utf-8", "replace").decode()
