"""The door of a TCP service: sees each connection's first octet before HTTP or TLS does.

The two mistakes that a lab has to tell apart from all others happen here: TLS spoken to a plain
port, and plain HTTP spoken to a TLS port. Both are answered as Go's servers do, so that a client
says of this stand-in what it would say of the real one, and are reported. So is every failed TLS
handshake, with the alert that the client sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from harness.admission import (
    HANDSHAKE_WITHIN_S,
    TLS_HANDSHAKE,
    handshake_failure,
    peek,
    refuse,
    reset_on_close,
)
from harness.certificates import Kind
from harness.faults.deeds import (
    Certificate,
    Close,
    Deed,
    Delay,
    Drop,
    Handshake,
    Reset,
    Speak,
    Stall,
)
from harness.faults.plan import Strike, no_strike
from harness.handshake import USUAL, Manner, accept
from harness.services import Identify
from harness.tasks import TaskKeeper

_ANSWER_TO_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n400 Bad Request"
)  # Go net/http, server.go: badRequestError
_ANSWER_TO_PLAIN: Final = (  # Go net/http, server.go: tlsRecordHeaderLooksLikeHTTP
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
)

OnFailure = Callable[[str, str], None]
"""Called with the peer (``address:port``) and the reason."""
OnMute = Callable[[str, float], None]
"""Called with the peer, and for how many seconds it has said nothing since it connected."""
MUTE_S: Final = 15.0
"""Go and iPXE connect when they have something to say, and say it at once."""
Contexts = Callable[[Kind | None, Manner], ssl.SSLContext]
"""Gives the context of a certificate that is wrong in this way (None: the server's own), with a
handshake of this manner. May block for 300 ms."""


class Door:
    """Accepts connections on a bound, listening socket, and hands each to a protocol."""

    def __init__(
        self,
        *,
        sock: socket.socket,
        service: str,
        tasks: TaskKeeper,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        on_failure: OnFailure,
        on_mute: OnMute = lambda _peer, _seconds: None,
        mute_s: float = MUTE_S,
        contexts: Contexts | None = None,
        strike: Strike | None = None,
        identify: Identify | None = None,
    ) -> None:
        """Take over ``sock``; nothing is accepted before ``open``.

        Of a client that says nothing for ``mute_s`` after it connected ``on_mute`` is told, once.
        """
        self._contexts = contexts
        self._strike = strike or no_strike
        self._identify = identify or (lambda _: None)
        self._sock = sock
        self._service = service
        self._tasks = tasks
        self._protocol = protocol
        self._tls = tls
        self._on_failure = on_failure
        self._on_mute = on_mute
        self._mute_s = mute_s
        self._running: set[asyncio.Task[None]] = set()

    @property
    def listener(self) -> socket.socket:
        """The listening socket."""
        return self._sock

    def open(self) -> None:
        """Begin to accept."""
        self._keep(self._tasks.spawn(self._accept(), name=f"{self._service}: accept"))

    async def close(self) -> None:
        """Stop accepting, and drop connections that no protocol has yet; may be called twice."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._sock.close()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._sock)
            except ConnectionError:  # gone before it was accepted
                continue
            peer = f"{address[0]}:{address[1]}"
            admitted = self._tasks.spawn(
                self._admit(connection, peer), name=f"{self._service}: connection of {peer}"
            )
            self._keep(admitted)

    async def _admit(self, connection: socket.socket, peer: str) -> None:
        """Hand ``connection`` to a protocol; closed here when that is not to be."""
        tls, manner = self._tls, USUAL
        handed_on = False
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._strike is not no_strike:
                address = peer.rpartition(":")[0]
                deeds = self._strike("connection", mac=self._identify(address), peer=peer)
                if await _ends(connection, deeds):
                    return
                tls, manner = await self._shown(deeds)
            first = await self._first(connection, peer)
            if first is None:  # a port check: connected and closed
                return
            if tls is None and first == TLS_HANDSHAKE:
                self._on_failure(peer, "TLS on the plain HTTP port")
                await refuse(connection, _ANSWER_TO_TLS)
            elif tls is not None and bytes([first]).isalpha():  # ASCII only
                self._on_failure(peer, "plain HTTP on the TLS port")
                await refuse(connection, _ANSWER_TO_PLAIN)
            else:
                handed_on = True
                await accept(
                    connection, self._protocol, tls, manner=manner, within_s=HANDSHAKE_WITHIN_S
                )
        except OSError as error:  # ssl.SSLError and ConnectionError are kinds of it
            if tls:
                self._on_failure(peer, handshake_failure(error))
        finally:
            if not handed_on:
                connection.close()

    async def _first(self, connection: socket.socket, peer: str) -> int | None:
        """Return the first octet of a client, None when it left without one."""
        loop = asyncio.get_running_loop()
        mute = loop.call_later(self._mute_s, self._on_mute, peer, self._mute_s)
        try:
            return await peek(connection)
        finally:
            mute.cancel()

    async def _shown(self, deeds: Sequence[Deed]) -> tuple[ssl.SSLContext | None, Manner]:
        """Return the context that is shown, None for plain HTTP, and how the handshake is done."""
        kind: Kind | None = None
        tls, manner = self._tls is not None, USUAL
        for deed in deeds:
            match deed:
                case Certificate():
                    kind = Kind(deed.kind)
                case Handshake():
                    manner = deed.manner
                case Speak():
                    tls = deed.what == "tls"
        if not tls:
            return None, USUAL
        if self._contexts is None or (self._tls and kind is None and manner.plain):
            return self._tls, manner
        return await asyncio.to_thread(self._contexts, kind, manner), manner


async def _ends(connection: socket.socket, deeds: Sequence[Deed]) -> bool:
    """Do to a connection what faults want; return whether that was its end."""
    for deed in deeds:
        match deed:
            case Delay(seconds=seconds):
                await asyncio.sleep(seconds)
            case Close():
                return True
            case Reset():
                reset_on_close(connection)
                return True
            case Drop():
                await _silence(connection, None)
                return True
            case Stall(seconds=seconds):
                await _silence(connection, seconds or None)
                return not seconds
            case _:
                pass
    return False


async def _silence(connection: socket.socket, seconds: float | None) -> None:
    """Say nothing: until the client closes, or for ``seconds``, in which nothing is read."""
    if seconds is not None:
        await asyncio.sleep(seconds)
        return
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(connection, 1 << 16):
        pass
