"""The TCP front: every connection passes here on its way to the gRPC server behind it.

It sees what grpcio never tells: connections that came about and said nothing, TLS handshakes that
failed and why, plaintext on a TLS port and the reverse, HTTP/1 on a gRPC port. And it can do what
grpcio can't: go silent, break off, show another certificate, send GOAWAY or RST_STREAM.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from fake_tink_server.conduct import FAITHFUL, Conduct, Decide, Silence
from fake_tink_server.frames import PREFACE, SETTINGS
from fake_tink_server.relay import Relay
from harness.admission import TLS_HANDSHAKE, handshake_failure, peek, refuse, reset_on_close
from harness.certificates import Certificate, KeyKind, Kind
from harness.errors import SetupFailed
from harness.handshake import USUAL, Manner, accept, context_for
from harness.tasks import TaskKeeper

ALPN: Final = ("h2",)
_OPENED_WITHIN_S: Final = 120.0
"""TCP, TLS and the preface together; grpc-go's ConnectionTimeout."""
_LEAVE_WITHIN_S: Final = 0.5


class Record(Protocol):
    """Records an event."""

    def __call__(self, name: str, /, **fields: Any) -> object: ...


Issue = Callable[[Kind, KeyKind | None], Certificate]
"""Issues the certificates that faults ask for. May block for 300 ms."""

Fail = Callable[[BaseException], None]


class Front:
    """Listens, and relays to a gRPC server on an abstract Unix socket."""

    def __init__(
        self,
        *,
        bind: str,
        port: int,
        record: Record,
        certificate: Certificate | None = None,
        client_ca: bytes | None = None,
        decide: Decide | None = None,
        issue: Issue | None = None,
        fail: Fail | None = None,
    ) -> None:
        """``certificate`` None: plaintext. ``decide`` and ``issue`` are for misbehaviour only.

        ``fail`` is told what it died of.

        Raises ``SetupFailed`` for a certificate that is none.
        """
        self.bind, self.port = bind, port
        self.inner = f"hooklab-{os.urandom(8).hex()}"
        """Name of the abstract socket that the gRPC server has to listen on."""
        self._record = record
        self._client_ca = client_ca
        self._decide = decide
        self._issue = issue
        self._fail = fail
        self._certificate = certificate
        self._own = self._context(certificate) if certificate else None
        self._others: dict[tuple[Kind | None, Manner], ssl.SSLContext] = {}
        self._tasks: TaskKeeper | None = None
        self._sock: socket.socket | None = None
        self._count = 0
        self._relays: dict[int, Relay] = {}
        self._peers: dict[int, str] = {}

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``; ``OSError`` is its cause."""
        family = socket.AF_INET6 if ":" in self.bind else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.bind.strip("[]"), self.port))
            sock.listen(1024)
        except OSError as error:
            sock.close()
            raise SetupFailed(
                f"the Tinkerbell server can't listen on {self.bind}:{self.port}: {error.strerror}",
                hint="is the port taken?",
            ) from error
        self.port = sock.getsockname()[1]
        self._sock, self._tasks = sock, TaskKeeper()
        self._tasks.failure.add_done_callback(self._died)
        self._tasks.spawn(self._accept(sock, self._tasks), name="tink: accept")

    @property
    def listener(self) -> socket.socket | None:
        """The listening socket; None while it does not listen."""
        return self._sock

    async def stop(self) -> None:
        """Close every connection. Idempotent."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            await tasks.close()
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        relays = list(self._relays.values())
        for relay in relays:
            relay.end("the server stopped")
        if relays:
            await asyncio.wait([relay.gone for relay in relays], timeout=_LEAVE_WITHIN_S)
        for relay in relays:
            if not relay.gone.done():  # it does not read what is left for it
                relay.abort()
                await relay.gone

    def relay_of(self, inner_peer: str) -> Relay | None:
        """Return the connection whose inner end grpc calls ``inner_peer``; None when it is gone."""
        return self._relays.get(_number(inner_peer))

    def peer_of(self, inner_peer: str) -> str:
        """Return ``address:port`` of the client whose inner end grpc calls ``inner_peer``."""
        return self._peers.get(_number(inner_peer), inner_peer)

    def _died(self, failure: asyncio.Future[None]) -> None:
        """Say that nothing more can be expected here: a bug, or no file descriptor is left."""
        error = failure.exception()
        assert error is not None
        self._record("service.crashed", service="tink", error=str(error))
        if self._fail is not None:
            self._fail(error)

    # -- one connection

    async def _accept(self, sock: socket.socket, tasks: TaskKeeper) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(sock)
            except ConnectionError:  # gone before it was accepted
                continue
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            peer = f"{host}:{address[1]}"
            self._count += 1
            tasks.spawn(self._admit(connection, peer, self._count), name=f"tink: {peer}")

    async def _admit(self, connection: socket.socket, peer: str, number: int) -> None:
        """Bring ``connection`` to gRPC, or record why it never got there."""
        self._record("tink.connection.accepted", id=number, peer=peer)
        reason: str | None = None
        conduct = self._decide(peer) if self._decide else FAITHFUL
        relay: Relay | None = None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if conduct.reset_at == 0 or conduct.close_at == 0:
                if conduct.reset_at == 0:
                    reset_on_close(connection)
                reason = "reset by the server" if conduct.reset_at == 0 else "closed by the server"
                return
            if conduct.silent_from is Silence.ACCEPT:
                await asyncio.get_running_loop().create_future()
            async with asyncio.timeout(_OPENED_WITHIN_S):
                relay, reason = await self._open(connection, peer, number, conduct)
        except TimeoutError:
            reason = f"no HTTP/2 preface within {_OPENED_WITHIN_S:.0f} s"
        except SetupFailed as error:  # no certificate for this
            reason = str(error)
        except OSError as error:  # ssl.SSLError and ConnectionError are kinds of it
            reason = handshake_failure(error)
        finally:
            if relay is None:
                connection.close()
                if reason:
                    self._record("tink.connection.failed", id=number, peer=peer, reason=reason)
                else:
                    self._record("tink.connection.closed", id=number, peer=peer)

    async def _open(
        self, connection: socket.socket, peer: str, number: int, conduct: Conduct
    ) -> tuple[Relay | None, str | None]:
        """Return the relay that has taken ``connection`` over, or why there is none.

        Neither: the peer connected and left without a word, as port checks do.
        """
        tls = await self._tls(conduct)
        first = await peek(connection)
        if first is None:
            return None, None
        if tls is None and first == TLS_HANDSHAKE:
            # grpc-go has sent its SETTINGS before it sees that this is no greeting
            await refuse(connection, SETTINGS)
            return None, "TLS on the plaintext port"
        if tls is not None and first != TLS_HANDSHAKE:
            await refuse(connection, b"")
            return None, "plaintext on the TLS port"
        relay = Relay(
            number=number,
            peer=peer,
            conduct=conduct,
            inner=self.inner,
            watched=self._decide is not None,
            on_end=self._ended,
            on_ignored=self._ignored,
        )
        await accept(
            connection,
            lambda: relay.outer,
            tls,
            manner=conduct.manner,
            within_s=2 * _OPENED_WITHIN_S,  # the caller's is first
        )
        try:
            return await self._greeted(relay, "grpc+tls" if tls else "grpc"), None
        except BaseException:  # the socket is its transport's by now, which has to close it
            relay.abort()
            raise

    async def _greeted(self, relay: Relay, transport: str) -> Relay:
        """Wait for the preface, and join ``relay`` to gRPC."""
        greeting = await relay.greeting
        if greeting != PREFACE:
            relay.refuse(SETTINGS)
            self._bogus(relay, greeting)
            return relay
        self._relays[relay.number], self._peers[relay.number] = relay, relay.peer
        self._record(
            "tink.connection.opened",
            id=relay.number,
            peer=relay.peer,
            transport=transport,
            client=relay.client,
        )
        await relay.join()
        return relay

    def _bogus(self, relay: Relay, greeting: bytes) -> None:
        if not greeting:
            reason = relay.failure or "closed before the HTTP/2 preface"
        elif b"HTTP/1" in relay.heard or greeting[:4] in (b"GET ", b"POST", b"HEAD", b"PUT "):
            reason = "HTTP/1 on the gRPC port"
        else:
            reason = "no HTTP/2 preface"
        self._record("tink.connection.failed", id=relay.number, peer=relay.peer, reason=reason)

    def _ignored(self, relay: Relay, stream: int) -> None:
        self._record("tink.call.ignored", id=relay.number, peer=relay.peer, stream=stream)

    def _ended(self, relay: Relay, reason: str) -> None:
        if self._relays.pop(relay.number, None) is None:
            return
        self._record(
            "tink.connection.closed",
            id=relay.number,
            peer=relay.peer,
            reason=reason,
            duration_s=round(relay.age_s, 6),
            received_bytes=relay.received,
            sent_bytes=relay.sent,
        )

    # -- certificates

    async def _tls(self, conduct: Conduct) -> ssl.SSLContext | None:
        wanted = self._own is not None if conduct.tls is None else conduct.tls
        if not wanted:
            return None
        kind, manner = conduct.certificate, conduct.manner
        if kind is None and self._own is not None and manner.plain:
            return self._own
        which = (kind, manner)
        if which not in self._others:
            certificate = self._certificate
            if kind is not None or certificate is None or manner.keys is not None:
                certificate = await self._issued(kind or Kind.RIGHT, manner.keys)
            self._others[which] = self._context(certificate, manner)
        return self._others[which]

    async def _issued(self, kind: Kind, keys: KeyKind | None) -> Certificate:
        if self._issue is None:
            raise SetupFailed(f"there is nobody to issue a certificate of kind {kind}")
        return await asyncio.to_thread(self._issue, kind, keys)

    def _context(self, certificate: Certificate, manner: Manner = USUAL) -> ssl.SSLContext:
        return context_for(certificate, manner, alpn=ALPN, client_ca=self._client_ca)


def _number(inner_peer: str) -> int:
    text = inner_peer.rpartition("-")[2]
    return int(text) if text.isdecimal() else 0
