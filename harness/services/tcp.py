"""The socket of a TCP service."""

from __future__ import annotations

import socket

from harness.errors import SetupFailed
from harness.services.udp import cannot_listen


def tcp_socket(*, service: str, bind: str, port: int) -> socket.socket:
    """Return a bound, listening TCP socket. Raises ``SetupFailed``."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bind, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        failure: SetupFailed = cannot_listen(service, bind, port, error, transport="TCP")
        raise failure from error
    return sock
