"""Router Solicitations of the kernel and of scapy, on a cable in a network namespace."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from harness.errors import SetupFailed
from harness.services.radv import RadvService
from harness.services.tests.namespace import LAB, MAC, MACHINE, inside
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire import radv
from harness.wire.tests.test_radv import solicitation


async def solicit() -> dict[str, Any]:
    """Send a solicitation from the machine's end, and return what came back."""
    timeline = Timeline(None)
    service = RadvService(timeline=timeline, tasks=TaskKeeper(), interface=LAB)
    await service.start()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(radv.ETHERTYPE)) as machine:
        machine.bind((MACHINE, radv.ETHERTYPE))
        machine.setblocking(False)
        machine.send(solicitation())
        loop = asyncio.get_running_loop()
        while True:
            frame = await asyncio.wait_for(loop.sock_recv(machine, 2000), 5)
            if frame[54] == 134:
                break
        machine.send(solicitation()[:-1] + b"\xee")
        await asyncio.wait_for(timeline.wait_for(lambda e: e.name == "radv.malformed"), 5)
    await service.stop()
    await service.stop()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as lab:
        lab.bind((LAB, 0))
        lab_mac = lab.getsockname()[4].hex()
    return {
        "frame": frame.hex(),
        "lab_mac": lab_mac,
        "events": [[event.name, dict(event.fields)] for event in timeline],
    }


@pytest.mark.service
async def test_a_solicitation_is_answered_at_once() -> None:
    seen = await inside(f"{__name__}:solicit")
    lab_mac = bytes.fromhex(seen["lab_mac"])
    assert seen["frame"] == radv.encode_advertisement(mac=lab_mac).hex()
    ours = [e for e in seen["events"] if e[1].get("peer") == "fe80::5054:ff:fe00:1"]
    assert ours[0][0] == "radv.solicitation.received"
    assert ours[0][1]["mac"] == MAC


async def absent() -> str:
    """Start on an interface that does not exist; runs inside the namespace."""
    service = RadvService(timeline=Timeline(None), tasks=TaskKeeper(), interface="nowhere0")
    try:
        await service.start()
    except SetupFailed as error:
        return str(error.hint)
    return "it started"


@pytest.mark.service
async def test_a_missing_interface_is_said_with_a_hint() -> None:
    assert "must be up first" in await inside(f"{__name__}:absent")
