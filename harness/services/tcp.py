"""The socket of a TCP service."""

from __future__ import annotations

import socket
from typing import Final

from harness.errors import SetupFailed
from harness.services.udp import cannot_listen

_CONGESTION_CONTROL: Final = b"reno"
"""Every kernel has it and lets everybody have it, so that a lab's lines behave alike on every host.

A host's own default may be BBR, which paces what it sends by what it takes the line to be: on a
cable without a speed of its own that costs more than half of the throughput.
"""


def tcp_socket(*, service: str, bind: str, port: int) -> socket.socket:
    """Return a bound, listening TCP socket, whose connections use Reno. Raises ``SetupFailed``."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION_CONTROL)
        sock.bind((bind, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        failure: SetupFailed = cannot_listen(service, bind, port, error, transport="TCP")
        raise failure from error
    return sock
