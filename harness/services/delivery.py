"""How an answer gets to its client: by the kernel as fast as it can, or the way a fault wants it.

One implementation for every HTTP service. Without a treatment nothing of a file passes through
Python on a plain connection. With one, each octet does, at the pace and up to the point it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import IO, Final

from aiohttp import web
from multidict import CIMultiDict

from harness.admission import reset_on_close
from harness.clock import Clock, Deadline
from harness.services.answer import Answer, Ending, FilePart, Treatment
from harness.services.sendfile import FileSender
from harness.services.unheard import unacknowledged

_READ_BYTES: Final = 1 << 18
_PIECE_BYTES: Final = 1 << 16
_PROGRESS_EVERY_S: Final = 0.5
_PIECES_PER_S: Final = 10
_FLUSHED_WITHIN: Final = timedelta(seconds=5)
_LOOK_EVERY_S: Final = 0.005


class Cut(ConnectionAbortedError):
    """The server itself ended the connection before the answer's end; ``how`` says how."""

    def __init__(self, how: Ending) -> None:
        super().__init__(f"{how} in mid-answer")
        self.how = how


class _AsGiven(web.StreamResponse):
    """A response whose head is sent as it was given, its length too when that is a lie."""

    _length_check = False  # as aiohttp's own WebSocketResponse; test_delivery tells if this goes


class Delivery:
    """Sends one answer to one request, and counts."""

    def __init__(
        self,
        request: web.BaseRequest,
        *,
        clock: Clock,
        lost: Callable[[], asyncio.Future[None]],
        on_progress: Callable[[int, int, int], None] = lambda _sent, _length, _waiting: None,
    ) -> None:
        """``lost`` gives a future that is done when the connection is gone.

        ``on_progress`` gets the octets that were sent, how many were promised, and how many of
        those sent wait for the client's side to acknowledge them.
        """
        self._request = request
        self._clock = clock
        self._lost = lost
        self._on_progress = on_progress
        self._told_at = clock.now()
        self.sent = 0
        """Octets of the body that were sent."""
        self.length = 0
        """Octets that the body has."""
        self.promised = 0
        """Octets that the client is told to expect."""

    async def send(self, answer: Answer, how: Treatment | None = None) -> web.StreamResponse:
        """Send ``answer``.

        Raises ``Cut`` when a treatment ended it, ``ConnectionError`` when the client left.
        """
        if self._request.method != "HEAD":
            self.length, self.promised = answer.length, answer.promised
        if how is not None:
            return await self._mistreat(answer, how)
        headers = CIMultiDict(answer.headers)
        if isinstance(answer.body, bytes):
            whole = web.Response(status=answer.status, headers=headers, body=answer.body)
            await whole.prepare(self._request)
            await whole.write_eof()
            self.sent = self.length
            return whole
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(self._request)
        await self._send_file(response, answer.body)
        await response.write_eof()
        return response

    # -- as fast as possible

    async def _send_file(self, response: web.StreamResponse, part: FilePart) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client left")
        if transport.get_extra_info("sslcontext") or transport.get_write_buffer_size():
            await self._send_copied(response, part)
        elif self.length:
            sender = FileSender(
                transport,
                part.stream.fileno(),
                start=part.start,
                end=part.start + self.length,
                on_sent=self._sent,
            )
            await sender.send(self._lost())

    async def _send_copied(self, response: web.StreamResponse, part: FilePart) -> None:
        """Send through Python: TLS, or a head that the socket did not take yet."""
        part.stream.seek(part.start)
        while self.sent < self.length:
            data = _read(part.stream, min(_READ_BYTES, self.length - self.sent))
            await response.write(data)
            self._sent(len(data))

    def _sent(self, octets: int) -> None:
        self.sent += octets
        self._progressed()

    def _progressed(self) -> None:
        now = self._clock.now()
        if now - self._told_at >= _PROGRESS_EVERY_S and self.sent < self.length:
            self._told_at = now
            transport = self._request.transport
            sock = transport.get_extra_info("socket") if transport else None
            self._on_progress(self.sent, self.promised, unacknowledged(sock) if sock else 0)

    # -- as a fault wants it

    async def _mistreat(self, answer: Answer, how: Treatment) -> web.StreamResponse:
        if how.delay_s:
            await self._hold(how.delay_s)
        if how.ending and not how.at:
            await self._end(how)
        response = _AsGiven(status=answer.status, headers=CIMultiDict(answer.headers))
        await response.prepare(self._request)
        ended = False
        pace_from: float | None = None
        for piece in self._pieces(answer.body, how):
            if how.octets_per_s and self.sent >= how.slow_from:
                pace_from = self._clock.now() if pace_from is None else pace_from
                due = pace_from + (self.sent + len(piece) - how.slow_from) / how.octets_per_s
                await self._hold(due - self._clock.now())
            self._progressed()  # before: what is sent just now waits on any way
            await response.write(piece)
            self.sent += len(piece)
            if how.ending and self.sent == how.at:
                ended = True
                await self._end(how)
        if how.ending and not ended:  # the answer was shorter than that
            await self._end(how)
        if self.sent != answer.promised and self._request.method != "HEAD":
            # The client must see the end of the connection instead of waiting for the rest, or
            # of taking what is too much for the next answer.
            await self._end(Treatment(ending=Ending.CLOSE))
        await response.write_eof()
        return response

    def _pieces(self, body: bytes | FilePart, how: Treatment) -> Iterator[bytes]:
        """Return the body in pieces with a border wherever something happens."""
        at, borders = 0, sorted({how.at, how.slow_from})
        usual = _PIECE_BYTES
        if how.octets_per_s:
            usual = max(1, min(usual, how.octets_per_s // _PIECES_PER_S))
        while at < self.length:
            size = min(usual if at >= how.slow_from else _PIECE_BYTES, self.length - at)
            size = min([size, *(border - at for border in borders if border > at)])
            if isinstance(body, bytes):
                piece = body[at : at + size]
            else:
                body.stream.seek(body.start + at)
                piece = _read(body.stream, size)
            if how.spoiling:
                piece = how.spoiling.apply(piece, at)
            at += len(piece)
            yield piece

    async def _end(self, how: Treatment) -> None:
        """End the connection, or hold it; returns only when a stall is over."""
        assert how.ending is not None
        if how.ending is Ending.STALL:
            return await self._hold(how.stall_s or None)
        transport = self._request.transport
        if transport is None:
            raise ConnectionResetError("the client left")
        if how.ending is Ending.RESET:
            await self._flush(transport)
            reset_on_close(transport.get_extra_info("socket"))
            transport.abort()
        else:
            transport.close()
        raise Cut(how.ending)

    async def _flush(self, transport: asyncio.Transport) -> None:
        """Return when the client's side has all that was sent: an RST eats what is under way.

        Linux tells nobody when the last octet was acknowledged, so this looks.
        """
        sock = transport.get_extra_info("socket")
        deadline = Deadline.after(_FLUSHED_WITHIN)
        while not deadline.expired and (transport.get_write_buffer_size() or unacknowledged(sock)):
            await self._hold(_LOOK_EVERY_S)

    async def _hold(self, seconds: float | None) -> None:
        """Wait; None: until the client leaves. Raises ``ConnectionResetError`` when it does."""
        if seconds is not None and seconds <= 0:
            return
        gone, _ = await asyncio.wait([self._lost()], timeout=seconds)
        if gone:
            raise ConnectionResetError("the client left")


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if not data:
        raise ConnectionAbortedError("the file became shorter while it was sent")
    return data
