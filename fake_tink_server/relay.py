"""One connection between a client and the gRPC server behind the front."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from fake_tink_server.conduct import Conduct, Silence
from fake_tink_server.frames import (
    ACK,
    END_STREAM,
    PREFACE,
    SETTINGS,
    SETTINGS_ACK,
    FrameSplitter,
    FrameType,
    goaway,
    rst_stream,
)
from harness.admission import handshake_failure, reset_on_close

CANCEL: Final = 8
"""RFC 9113 §7."""


class _End(asyncio.Protocol):
    """One end of a relay: hands on octets, and holds the other end back when it is full."""

    def __init__(self, hear: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self._hear = hear
        self._lost = lost
        self._held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._hear(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is None:
            self._lost("")
        elif isinstance(error, ssl.SSLError):
            self._lost(handshake_failure(error))
        else:
            self._lost("reset by the client")

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.hold(True)

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.hold(False)

    def hold(self, held: bool) -> None:
        """Stop or go on reading."""
        transport = self.transport
        if transport is None or transport.is_closing() or held == self._held:
            return
        self._held = held
        if held:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class Relay:
    """Hands octets on between client and server, and misbehaves as its ``conduct`` says."""

    def __init__(
        self,
        *,
        number: int,
        peer: str,
        conduct: Conduct,
        inner: str,
        watched: bool,
        on_end: Callable[[Relay, str], None],
        on_ignored: Callable[[Relay, int], None],
    ) -> None:
        """``watched``: frames are followed, as cutting streams and GOAWAY need it.

        ``on_ignored`` gets the stream of a call that came while the server is silent.
        """
        loop = asyncio.get_running_loop()
        self.number, self.peer, self.conduct = number, peer, conduct
        self.received = self.sent = 0
        """Octets of HTTP/2, without TLS."""
        self.heard = b""
        self.failure = ""
        self.greeting: asyncio.Future[bytes] = loop.create_future()
        """The preface; less, or something else, when it is none."""
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the client's end is no more."""
        self.outer = _End(self._from_client, self._client_gone)
        self._inner = _End(self._from_server, self._server_gone)
        self.outer.other, self._inner.other = self._inner, self.outer
        self._name = inner
        self._began_s = time.monotonic()
        self._upward, self._downward = FrameSplitter(), FrameSplitter()
        self._watched = watched
        self._joined = self._stalled = self._silent = self._over = False
        self._why = ""
        self._injected: list[bytes] = []
        self._last_stream = 0
        self._open: dict[int, None] = {}
        self._cut: set[int] = set()
        self._on_end = on_end
        self._on_ignored = on_ignored
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def age_s(self) -> float:
        """Seconds since TLS began."""
        return time.monotonic() - self._began_s

    @property
    def client(self) -> str | None:
        """Common name of the certificate that the client showed; None without one."""
        shown = self._extra("peercert")
        names = [value for part in (shown or {}).get("subject", ()) for key, value in part
                 if key == "commonName"]  # fmt: skip
        return str(names[0]) if names else None

    def _extra(self, name: str) -> Any:
        return self.outer.transport.get_extra_info(name) if self.outer.transport else None

    async def join(self) -> None:
        """Begin to relay. Raises ``OSError`` when the server behind does not listen."""
        self._arm()
        if self.conduct.silent_from is Silence.SETTINGS:
            self._silent = self._joined = True
            self.outer.write(SETTINGS)
            self._from_client(b"")
            return
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            # The name is how grpc tells calls of this connection from others'.
            sock.bind(f"\0{self._name}-{self.number}")
            await loop.sock_connect(sock, f"\0{self._name}")
            await loop.create_connection(lambda: self._inner, sock=sock)
        except BaseException:  # the server stops, say
            sock.close()
            raise
        self._joined = True
        if self._over:
            self._inner.close()
        self._from_client(b"")

    # -- deeds

    def reset(self) -> None:
        """Break the connection off (RST)."""
        self._why = self._why or "reset by the server"
        sock = self._extra("socket")
        if sock is not None and self.outer.transport is not None:
            reset_on_close(sock)
            self.outer.transport.abort()

    def end(self, why: str = "closed by the server") -> None:
        """Close the connection in order, after what was written."""
        self._why = self._why or why
        self.outer.close()

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        if self.outer.transport is not None:
            self.outer.transport.abort()

    def stall(self) -> None:
        """Neither read nor send any more; leave the connection open."""
        self._stalled = True
        self.outer.hold(True)

    def goaway(self, code: int = 0, last_stream: int | None = None, debug: str = "") -> None:
        """Ask the client to leave; with an error code the connection is closed as well."""
        last = self._last_stream if last_stream is None else last_stream
        self._inject(goaway(last, code, debug.encode()))
        if code:
            self.end("closed by the server after GOAWAY")

    def cut(self, code: int = CANCEL) -> bool:
        """Send RST_STREAM for the call that was opened last; whether there was one."""
        if not self._open:
            return False
        stream = next(reversed(self._open))
        self._open.pop(stream)
        self._cut.add(stream)
        self._inject(rst_stream(stream, code))
        return True

    def refuse(self, answer: bytes) -> None:
        """Answer, and close."""
        self.outer.write(answer)
        self.end()

    def _arm(self) -> None:
        loop, conduct = asyncio.get_running_loop(), self.conduct
        for seconds, deed in (
            (conduct.reset_after_s, self.reset),
            (conduct.close_after_s, self.end),
            (conduct.stall_after_s, self.stall),
        ):
            if seconds is not None:
                self._timers.append(loop.call_later(seconds, deed))
        asked = conduct.goaway
        if asked is not None:

            def leave() -> None:
                self.goaway(asked.code, asked.last_stream, asked.debug)

            self._timers.append(loop.call_later(asked.after_s, leave))

    # -- octets

    def _from_client(self, data: bytes) -> None:
        self.received += len(data)
        if not self.greeting.done():
            self.heard += data
            if len(self.heard) < len(PREFACE) and PREFACE.startswith(self.heard):
                return
            self.greeting.set_result(self.heard[: len(PREFACE)])
            return
        if not self._joined:
            self.heard += data
            return
        if self._stalled:
            return
        if self.heard:
            # what came while the connection to the server behind was made
            data, self.heard = self.heard + data, b""
            if self._silent:
                data = data.removeprefix(PREFACE)
        if not data:
            return
        if self._silent:
            self._acknowledge(data)
            return
        if self._watched:
            self._follow(data)
        self._inner.write(data)

    def _acknowledge(self, data: bytes) -> None:
        for frame in self._upward.feed(data):
            if frame.type == FrameType.SETTINGS and not frame.flags & ACK:
                self.outer.write(SETTINGS_ACK)
            elif frame.type == FrameType.HEADERS:
                self._on_ignored(self, frame.stream)

    def _follow(self, data: bytes) -> None:
        for frame in self._upward.feed(data.removeprefix(PREFACE)):
            if frame.type == FrameType.HEADERS and frame.stream > self._last_stream:
                self._last_stream = frame.stream
                self._open[frame.stream] = None
            elif frame.type == FrameType.RST_STREAM:
                self._open.pop(frame.stream, None)

    def _from_server(self, data: bytes) -> None:
        if self._stalled:
            return
        if not self._watched:
            self._send(data)
            return
        kept = bytearray()
        for frame in self._downward.feed(data):
            # header blocks go on: HPACK's tables are one for the whole connection
            if frame.type != FrameType.DATA or frame.stream not in self._cut:
                kept += frame.encode()
            if frame.stream in self._open and (
                frame.type == FrameType.RST_STREAM
                or (frame.type in (FrameType.DATA, FrameType.HEADERS) and frame.flags & END_STREAM)
            ):
                self._open.pop(frame.stream)
        self._send(bytes(kept))
        self._flush()

    def _inject(self, frame: bytes) -> None:
        self._injected.append(frame)
        self._flush()

    def _flush(self) -> None:
        if self._injected and self._downward.between and not self._stalled:
            frames, self._injected = self._injected, []
            self._send(b"".join(frames))

    def _send(self, data: bytes) -> None:
        conduct = self.conduct
        for limit, deed in (
            (conduct.reset_at, self.reset),
            (conduct.close_at, self.end),
            (conduct.stall_at, self.stall),
        ):
            if limit is not None and self.sent + len(data) >= limit:
                data = data[: limit - self.sent]
                self.sent += len(data)
                self.outer.write(data)
                deed()
                return
        self.sent += len(data)
        if data:
            self.outer.write(data)

    # -- ends

    def _client_gone(self, error: str) -> None:
        self._over = True
        self.failure = error
        for timer in self._timers:
            timer.cancel()
        if not self.greeting.done():
            self.greeting.set_result(self.heard)
        self._inner.close()
        if not self.gone.done():
            self.gone.set_result(None)
        self._on_end(self, self._why or error or "closed by the client")

    def _server_gone(self, error: str) -> None:
        del error
        if not self._stalled:
            self.end()
