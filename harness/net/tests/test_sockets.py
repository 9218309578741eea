"""The table of sockets says what this process has open."""

from __future__ import annotations

import socket

from harness.net.sockets import socket_table


def test_a_listener_and_a_connection_are_in_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            here, there = client.getsockname()[1], port
            lines = socket_table().splitlines()
    assert any(line.split()[:3] == ["tcp", "LISTEN", f"127.0.0.1:{port}"] for line in lines)
    ends = [f"127.0.0.1:{here}", f"127.0.0.1:{there}"]
    assert any(line.split()[:4] == ["tcp", "ESTABLISHED", *ends] for line in lines)


def test_ipv6_is_readable() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert f"[::1]:{port}" in socket_table()
