"""A client that nothing reaches any more, as TCP tells it, on a cable in a network namespace."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from typing import Any

from harness.services.tests.namespace import MACHINE, SERVER, inside
from harness.services.unheard import Unheard

CLIENT = "192.168.78.5"
OCTETS = 3000


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10)


async def a_silent_client() -> list[Any]:
    """Lose a client's address under its connection, and give it back; runs in the namespace."""
    ip("addr", "add", f"{CLIENT}/32", "dev", "lo")
    loop = asyncio.get_running_loop()
    told: list[Any] = []
    changed = asyncio.Event()

    def tell(peer: str, octets: int, times: int) -> None:
        told.append((peer.rpartition(":")[0], octets, times))
        changed.set()

    unheard = Unheard(tell, again=2, every_s=0.1)
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)

    listener = await loop.create_server(Server, SERVER, 0)
    client = socket.socket()
    client.bind((CLIENT, 0))
    client.setblocking(False)
    await loop.sock_connect(client, listener.sockets[0].getsockname())
    transport = await made
    unheard.add(transport)
    # what is sent to an address that nobody has leaves by the cable, and is lost there
    ip("route", "add", "default", "dev", MACHINE)
    ip("neigh", "add", CLIENT, "lladdr", "52:54:00:00:00:09", "dev", MACHINE)
    ip("addr", "del", f"{CLIENT}/32", "dev", "lo")
    transport.write(bytes(OCTETS))
    await changed.wait()
    changed.clear()
    ip("addr", "add", f"{CLIENT}/32", "dev", "lo")
    await changed.wait()
    unheard.close()
    transport.abort()
    client.close()
    listener.close()
    return told


async def test_silence_is_told_once_and_its_end_too() -> None:
    lost, found = await inside(f"{__name__}:{a_silent_client.__name__}")
    assert lost == [CLIENT, OCTETS, 3]
    assert (found[0], found[2]) == (CLIENT, 0)
