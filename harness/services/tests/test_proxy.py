"""A proxy and an address server on one port: each hears what it should."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.process import run
from harness.services.dhcp import AddressService, DhcpService
from harness.services.tests.namespace import LAB, MAC, MACHINE, SERVER, inside
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline
from harness.wire import dhcp4
from harness.wire.dhcp4 import Code, MessageType
from harness.wire.netboot import NetbootConfig, Reservation, Reservations
from harness.wire.proxy_dhcp import Mode
from harness.wire.tests.test_netboot import request

ADDRESSES = "192.168.77.2"
KNOWN = Reservations(
    [
        Reservation(
            mac=MAC, address="192.168.77.10", netmask="255.255.255.0", allow_pxe=True, lease_s=60
        )
    ]
)


async def _both(
    timeline: Timeline, *, server: str, address: str, interface: str | None, port: int
) -> tuple[DhcpService, AddressService]:
    tasks = TaskKeeper()
    proxy = DhcpService(
        timeline=timeline,
        tasks=tasks,
        reservations=KNOWN,
        config=NetbootConfig(server=server),
        interface=interface,
        port=port,
        mode=Mode.PROXY,
    )
    await proxy.start()
    addresses = AddressService(
        timeline=timeline,
        tasks=tasks,
        reservations=KNOWN,
        address=address,
        interface=interface,
        port=proxy.port,
    )
    await addresses.start()
    return proxy, addresses


async def broadcasts() -> dict[str, Any]:
    """Run both servers inside the namespace, and busybox's udhcpc as a guest and as firmware."""
    await run(["ip", "addr", "add", f"{ADDRESSES}/24", "dev", LAB])
    timeline = Timeline(None)
    services = await _both(timeline, server=SERVER, address=ADDRESSES, interface=LAB, port=67)
    seen: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script"
        script.write_text('#!/bin/sh\n[ "$1" != bound ] || env\n', encoding="utf-8")
        script.chmod(0o755)
        udhcpc = ["busybox", "udhcpc", "-i", MACHINE, "-f", "-q", "-n", "-s", str(script)]
        seen["guest"] = (await run(udhcpc)).stdout.decode()
        seen["guest events"] = [[event.name, event.get("server")] for event in timeline]
        pxe = ["-V", "PXEClient:Arch:00007:UNDI:003001", "-x", "0x5d:0007", "-x", "0x5e:010301"]
        await run([*udhcpc, *pxe])
    seen["firmware events"] = [
        [event.name, event.get("server"), event.get("address"), event.get("file")]
        for event in timeline.events[len(seen["guest events"]) :]
    ]
    for service in (*services, *services):
        await service.stop()
    return seen


@pytest.mark.service
@needs("busybox")
async def test_broadcasts_reach_both() -> None:
    seen = await inside(f"{__name__}:broadcasts")
    guest = dict(line.split("=", 1) for line in seen["guest"].splitlines() if "=" in line)
    assert (guest["ip"], guest["serverid"]) == ("192.168.77.10", ADDRESSES)
    assert "boot_file" not in guest
    assert ["dhcp.ignored", None] in seen["guest events"]
    assert ["dhcp.offer.sent", SERVER] not in seen["guest events"]
    offers = sorted(each[1:] for each in seen["firmware events"] if each[0] == "dhcp.offer.sent")
    assert offers == [[SERVER, None, "ipxe.efi"], [ADDRESSES, "192.168.77.10", None]]


async def test_a_unicast_reaches_who_is_meant() -> None:
    services = await _both(
        Timeline(None), server="127.0.0.1", address="127.0.0.2", interface=None, port=0
    )
    asked = dhcp4.encode(request(kind=MessageType.REQUEST))
    answered = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        loop = asyncio.get_running_loop()
        for server in ("127.0.0.1", "127.0.0.2"):
            await loop.sock_sendto(sock, asked, (server, services[0].port))
            data, peer = await asyncio.wait_for(loop.sock_recvfrom(sock, 2048), 10)
            answered.append((peer[0], dhcp4.decode(data).address(Code.SERVER_IDENTIFIER)))
    for service in services:
        await service.stop()
    assert answered == [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")]
