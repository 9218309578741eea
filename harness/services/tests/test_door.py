"""Who connects and says nothing, as the door of a TCP service sees it."""

from __future__ import annotations

import asyncio
import socket

from harness.services.door import Door
from harness.tasks import TaskKeeper


def name_of(client: asyncio.StreamWriter) -> str:
    address, port = client.get_extra_info("sockname")
    return f"{address}:{port}"


async def test_a_client_that_connects_and_says_nothing_is_told_of_once() -> None:
    told: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    port = sock.getsockname()[1]
    tasks = TaskKeeper()
    door = Door(
        sock=sock,
        service="http",
        tasks=tasks,
        protocol=asyncio.Protocol,
        tls=None,
        on_failure=lambda *_: None,
        on_mute=lambda *line: told.put_nowait(line),
        mute_s=0.3,
    )
    door.open()
    _, talks = await asyncio.open_connection("127.0.0.1", port)
    talks.write(b"G")  # and no more: it was heard of
    _, mute = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        assert await told.get() == (name_of(mute), 0.3)
        _, third = await asyncio.open_connection("127.0.0.1", port)
        assert await told.get() == (name_of(third), 0.3)
    assert told.empty()
    for client in (talks, mute, third):
        client.close()
    await door.close()
