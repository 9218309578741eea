"""A server's side of a TLS handshake, when it has to be another one than usual.

Versions and keys are OpenSSL's matter. Where one record or one TCP segment ends and the next begins
is not: OpenSSL writes as much as fits. Here its octets are cut anew on their way to the socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.certificates import Certificate, KeyKind, ServerCertificate, server_context

_HEADER_OCTETS: Final = 5  # RFC 5246 §6.2.1: type, version, length
_HANDSHAKE: Final = 22
_UNKNOWN_TO_OPENSSL_3: Final = ("TLSv1.0", "TLSv1.1")
"""Its default security level takes neither."""

VERSIONS: Final = {
    "TLSv1.0": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a server does its handshake. The default: as OpenSSL does it."""

    least: str = ""
    """The oldest version: a key of ``VERSIONS``."""
    most: str = ""
    """The newest version."""
    keys: KeyKind | None = None
    """What the certificate's key is; None: what the authority's is."""
    records: int = 0
    """Octets that a record of a message in the clear has at most; 0: as many as OpenSSL wants.

    Up to TLS 1.2 those are all but Finished, in TLS 1.3 the ServerHello.
    """
    segments: int = 0
    """Octets handed to TCP at a time, the whole connection long; 0: as many as there are."""

    @property
    def cuts(self) -> bool:
        """Whether octets have to be cut anew."""
        return bool(self.records or self.segments)

    @property
    def plain(self) -> bool:
        """Whether an ordinary context will do."""
        return not (self.least or self.most or self.keys)


USUAL: Final = Manner()


class Cutter:
    """Cuts what a TLS server sends into smaller records, and into pieces. Sans-IO."""

    def __init__(self, manner: Manner) -> None:
        self._records = manner.records
        self._segments = manner.segments
        self._rest = bytearray()
        self._clear = bool(manner.records)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces to be sent now, in order. A record that is not whole has to wait."""
        if self._clear:
            self._rest += data
            data = self._whole_records()
        size = self._segments or len(data)
        return [data[at : at + size] for at in range(0, len(data), size)] if data else []

    def _whole_records(self) -> bytes:
        done = bytearray()
        rest = self._rest
        while len(rest) >= _HEADER_OCTETS:
            if rest[0] != _HANDSHAKE:  # ChangeCipherSpec: what follows is encrypted
                done += rest
                rest.clear()
                self._clear = False
                break
            end = _HEADER_OCTETS + int.from_bytes(rest[3:_HEADER_OCTETS], "big")
            if len(rest) < end:
                break
            head, body = bytes(rest[:3]), bytes(rest[_HEADER_OCTETS:end])
            for at in range(0, len(body), self._records):
                part = body[at : at + self._records]
                done += head + len(part).to_bytes(2, "big") + part
            del rest[:end]
        return bytes(done)


def context_for(
    certificate: Certificate | ServerCertificate,
    manner: Manner,
    *,
    alpn: tuple[str, ...] = (),
    client_ca: bytes | None = None,
) -> ssl.SSLContext:
    """Return a server's context that speaks as ``manner`` says. Raises ``SetupFailed``."""
    context = server_context(certificate, alpn=alpn, client_ca=client_ca)
    if manner.least in _UNKNOWN_TO_OPENSSL_3 or manner.most in _UNKNOWN_TO_OPENSSL_3:
        context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what is asked for
        if manner.most in _UNKNOWN_TO_OPENSSL_3 and not manner.least:
            context.minimum_version = ssl.TLSVersion.TLSv1
        if manner.least:
            context.minimum_version = VERSIONS[manner.least]
        if manner.most:
            context.maximum_version = VERSIONS[manner.most]
    return context


async def accept(
    connection: socket.socket,
    protocol: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext | None,
    *,
    manner: Manner = USUAL,
    within_s: float,
) -> None:
    """Hand ``connection`` to a ``protocol``, after the handshake when there is a ``context``.

    Raises ``OSError`` when the handshake fails.
    """
    loop = asyncio.get_running_loop()
    if context is None:
        await loop.connect_accepted_socket(protocol, connection)
        return
    raw, _ = await loop.connect_accepted_socket(_Paused, connection)
    holding = _Holding()
    transport = await loop.start_tls(
        _TlsTransport(raw, manner),  # type: ignore[arg-type]
        holding,
        context,
        server_side=True,
        ssl_handshake_timeout=within_s,
    )
    assert transport is not None
    holding.hand_over(transport, protocol())


class _TlsTransport:
    """What asyncio's TLS writes to: a transport that cuts, and that keeps no alert back."""

    _start_tls_compatible = True

    def __init__(self, raw: Any, manner: Manner) -> None:
        self._raw = raw
        self._cutter = Cutter(manner)
        self.write = self._write_cut if manner.cuts else raw.write

    def _write_cut(self, data: bytes) -> None:
        for piece in self._cutter.feed(bytes(data)):
            self._raw.write(piece)

    def _force_close(self, error: BaseException | None) -> None:
        # asyncio throws away the alert that OpenSSL has made of a failed handshake, so that a
        # client would learn nothing of why; test_handshake tells if this goes
        pending = getattr(self._raw.get_protocol(), "_outgoing", None)
        if pending is not None and (alert := pending.read()):
            self._raw.write(alert)
        self._raw._force_close(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _Paused(asyncio.Protocol):
    """Reads nothing before TLS takes over."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()


class _Holding(asyncio.Protocol):
    """Keeps what comes between the handshake's end and the protocol's beginning."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False
        self._lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self._held += data

    def eof_received(self) -> bool:
        self._ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.append(exc)

    def hand_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._held:
            protocol.data_received(bytes(self._held))
        if self._ended:
            protocol.eof_received()
        for error in self._lost:
            protocol.connection_lost(error)
