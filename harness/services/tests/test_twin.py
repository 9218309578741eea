"""Two sockets on one port: who hears whom."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness.errors import SetupFailed
from harness.services.twin import twin_of
from harness.services.udp import udp_socket
from harness.wire.commands import Address


@pytest.fixture
def first() -> Iterator[socket.socket]:
    with udp_socket(service="tftp", bind="127.0.0.1", port=0) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def clients(first: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for client in (one, other):
            client.settimeout(5)
            client.connect(first.getsockname())
        yield one, other


def test_each_hears_its_own_and_both_answer_from_one_port(
    first: socket.socket, clients: tuple[socket.socket, socket.socket]
) -> None:
    one, other = clients
    made = twin_of(first, one.getsockname())
    with made.sock:
        one.send(b"to the twin")
        other.send(b"to the first")
        assert made.sock.recv(100) == b"to the twin"
        assert first.recvfrom(100) == (b"to the first", other.getsockname())
        with pytest.raises(BlockingIOError):
            made.sock.recv(100)  # after the shortest wait
        made.sock.send(b"from the twin")
        assert one.recv(100) == b"from the twin"
        assert made.early == []
    one.send(b"to the first again")
    assert first.recvfrom(100)[0] == b"to the first again"


def test_for_anybody_else_the_port_is_taken(
    first: socket.socket, clients: tuple[socket.socket, socket.socket]
) -> None:
    with twin_of(first, clients[0].getsockname()).sock:
        for shared in (False, True):
            with pytest.raises(SetupFailed, match="in use"):
                udp_socket(
                    service="x", bind="127.0.0.1", port=first.getsockname()[1], shared=shared
                )


def test_what_comes_between_bind_and_connect_is_kept(
    first: socket.socket,
    clients: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = clients

    class Interrupted(socket.socket):
        def connect(self, address: Address) -> None:  # type: ignore[override]
            other.send(b"from another")
            one.send(b"from the peer")
            super().connect(address)

    monkeypatch.setattr("harness.services.twin.socket.socket", Interrupted)
    made = twin_of(first, one.getsockname())
    heard = list(made.early)
    while len(heard) < 2:  # or the kernel gave it to the first, which would do as well
        heard.append(first.recvfrom(100))
    made.sock.close()
    assert sorted(heard) == sorted(
        [(b"from another", other.getsockname()), (b"from the peer", one.getsockname())]
    )


def test_nowhere_to_connect_to_is_an_error_and_leaves_nothing_open(first: socket.socket) -> None:
    with pytest.raises(OSError, match=r"unreachable|denied|assign"):
        twin_of(first, ("255.255.255.255", 9))
