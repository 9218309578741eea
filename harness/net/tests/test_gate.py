"""A listener that is shut: SYNs are seen and dropped, and the client's own next SYN gets in."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from harness.net import netlink
from harness.net.gate import Syn, SynWatcher, connections, reopen, shut
from harness.net.tests.namespace import in_own_network

pytestmark = pytest.mark.service


def _loopback() -> None:
    with netlink.Netlink() as kernel:
        kernel.set_up(1)


def _listener(port: int = 0) -> socket.socket:
    sock = socket.create_server(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


@in_own_network
async def test_a_syn_is_held_until_the_gate_opens() -> None:
    _loopback()
    listener = _listener(5000)
    seen: list[Syn] = []
    came = asyncio.Event()

    def on_syn(syn: Syn) -> None:
        seen.append(syn)
        came.set()

    watcher = SynWatcher("lo", {5000}, on_syn)
    shut(listener, {"127.0.0.3", "192.168.77.1"})
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    connecting = asyncio.ensure_future(loop.sock_connect(client, ("127.0.0.1", 5000)))  # noqa: TID251
    async with asyncio.timeout(10):
        await came.wait()
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert not connecting.done()
    reopen(listener)
    reopen(listener)
    async with asyncio.timeout(10):
        await connecting  # by its own retransmission
        connection, _ = await loop.sock_accept(listener)
    assert [(syn.address, syn.port) for syn in seen[:1]] == [("127.0.0.1", 5000)]
    assert len(seen) >= 2
    watcher.close()
    watcher.close()
    connection.sendall(b"x")
    assert await loop.sock_recv(client, 1) == b"x"
    for each in (connection, client, listener):
        each.close()


@in_own_network
async def test_what_the_lab_asks_itself_is_let_in() -> None:
    _loopback()
    listener = _listener(5000)
    shut(listener, {"192.168.77.1", "127.0.0.3", "127.0.0.2"})
    loop = asyncio.get_running_loop()
    for address in ("127.0.0.2", "127.0.0.3"):
        with socket.create_connection(listener.getsockname(), source_address=(address, 0)):
            connection, peer = await loop.sock_accept(listener)
            assert peer[0] == address
            connection.close()
    listener.close()


@in_own_network
async def test_other_ports_and_later_segments_are_not_told() -> None:
    _loopback()
    listeners = [_listener(5000), _listener(5001)]
    seen: list[Syn] = []
    came = asyncio.Event()

    def on_syn(syn: Syn) -> None:
        seen.append(syn)
        came.set()

    watcher = SynWatcher("lo", {5001}, on_syn)
    for listener in listeners:
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"data")
    async with asyncio.timeout(10):
        await came.wait()
    assert {syn.port for syn in seen} == {5001}
    watcher.close()
    for listener in listeners:
        listener.close()


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LINES = {
    "listen": "   0: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0\n",
    "ours": "   1: 014DA8C0:1388 014DA8C0:9C40 01 00000000:00000000 00:00000000 00000000 0\n",
    "open": "   2: 014DA8C0:1388 0A4DA8C0:8026 01 00000000:00000000 00:00000000 00000000 0\n",
    "waits": "   3: 014DA8C0:1388 0A4DA8C0:8027 06 00000000:00000000 00:00000000 00000000 0\n",
}


def test_connections_are_those_that_somebody_else_may_have(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(HEAD + "".join(LINES.values()))
    assert connections({"192.168.77.1"}, table=table) == [
        "192.168.77.1:5000 with 192.168.77.10:32806 (ESTABLISHED)"
    ]
