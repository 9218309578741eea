"""The socket of a TCP service: what its connections inherit."""

from __future__ import annotations

import socket

import pytest

from harness.errors import SetupFailed
from harness.services.tcp import tcp_socket


def test_a_connection_is_paced_alike_on_every_host() -> None:
    with tcp_socket(service="http", bind="127.0.0.1", port=0) as listener:
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            connection, _ = listener.accept()
        with connection:
            name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert name.rstrip(b"\0") == b"reno"


def test_a_port_that_is_taken_is_named() -> None:
    with (
        tcp_socket(service="http", bind="127.0.0.1", port=0) as listener,
        pytest.raises(SetupFailed, match=str(listener.getsockname()[1])),
    ):
        tcp_socket(service="http", bind="127.0.0.1", port=listener.getsockname()[1])
