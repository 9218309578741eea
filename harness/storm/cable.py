"""A cable between two network namespaces: the lab's, and that of a process with the machines."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from harness.errors import SetupFailed
from harness.net.netlink import Netlink
from harness.process import send_signal, start_program
from harness.storm.plan import LAB_END, MACHINES_END, PREFIX_LENGTH, SERVER

_LONGEST_LINE: Final = 1 << 26


@asynccontextmanager
async def cable(module: str) -> AsyncIterator[Process]:
    """Run ``python -m MODULE`` at the other end of a cable; killed when the block is left.

    To be used in a network namespace made for it. ``MODULE`` prints "ready" before it is given its
    end, ``MACHINES_END``; ours is ``LAB_END`` with the address ``SERVER``. Raises ``SetupFailed``
    when it ends before that.
    """
    with Netlink() as netlink:
        netlink.set_up(socket.if_nametoindex("lo"))
        ours = netlink.add_veth(LAB_END, MACHINES_END)
        netlink.set_up(ours)
        netlink.add_address(ours, f"{SERVER}/{PREFIX_LENGTH}")
        # a namespace of their own: between two addresses of one, nothing would go by the cable
        process = await start_program(
            *("unshare", "-n", sys.executable, "-m", module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
        )
        assert process.stdout is not None
        try:
            if await process.stdout.readline() != b"ready\n":
                raise SetupFailed(f"{module} ended before it was ready")
            netlink.move(socket.if_nametoindex(MACHINES_END), process.pid)
            yield process
        finally:
            send_signal(process)
            await process.wait()
