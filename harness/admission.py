"""What a server learns of a connection before anything was understood: first octet, failures."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from typing import Final

HANDSHAKE_WITHIN_S: Final = 20.0  # a guest under TCG may need seconds
TLS_HANDSHAKE: Final = 0x16  # RFC 8446 §5.1, ContentType.handshake
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # struct linger: on, for no time


async def peek(connection: socket.socket) -> int | None:
    """Return the first octet without taking it, None when the peer sent none and closed.

    Has no deadline of its own. Raises ``OSError``.
    """
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not readable.done():
            readable.set_result(None)

    descriptor = os.dup(connection.fileno())
    loop.add_reader(descriptor, ready)
    try:
        await readable
        first = connection.recv(1, socket.MSG_PEEK)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return first[0] if first else None


async def refuse(connection: socket.socket, answer: bytes) -> None:
    """Send ``answer`` before the caller closes, without the RST that unread octets would cause.

    The RST would eat the answer. Something must have come. Raises ``OSError``.
    """
    connection.recv(1 << 16)
    if answer:
        await asyncio.get_running_loop().sock_sendall(connection, answer)


def reset_on_close(connection: socket.socket) -> None:
    """Make the close of ``connection`` an RST (socket(7), SO_LINGER)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def handshake_failure(error: OSError) -> str:
    """Return in words why a TLS handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        words = error.reason.lower().replace("_", " ")
        for prefix in ("tlsv1 alert ", "tlsv13 alert ", "sslv3 alert "):
            if words.startswith(prefix):
                return f"the client sent alert: {words.removeprefix(prefix)}"
        return words
    if isinstance(error, TimeoutError):
        return f"no handshake within {HANDSHAKE_WITHIN_S:.0f} s"
    if isinstance(error, ConnectionError):
        return "the client closed the connection during the handshake"
    return str(error) or type(error).__name__
