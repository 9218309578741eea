"""Router Solicitations of the kernel and of scapy, on a cable in a network namespace."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import pytest

from harness.documents import load
from harness.errors import SetupFailed
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
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


async def struck() -> dict[str, Any]:
    """Solicit twice under faults, and return what came back; runs inside the namespace."""
    faults = [
        "{at: radv, when: {nth: 1}, do: drop}",
        "{at: radv, when: {nth: 2}, do: {replace: {managed: true, lifetime: 30 min,"
        " prefix: '2001:db8::/64', mtu: 1400}}}",
        "{at: radv, when: {nth: 2}, do: {delay: 100 ms}}",
    ]
    timeline = Timeline(None)
    plan = FaultPlan(
        [fault for text in faults if (fault := FaultReader(load(text).data).read())],
        record=partial(timeline.record, "faults"),
        now=timeline.clock.now,
    )
    strike = plan.at("radv")
    service = RadvService(timeline=timeline, tasks=TaskKeeper(), interface=LAB, strike=strike)
    await service.start()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(radv.ETHERTYPE)) as machine:
        machine.bind((MACHINE, radv.ETHERTYPE))
        machine.setblocking(False)
        loop = asyncio.get_running_loop()
        machine.send(solicitation())
        machine.send(solicitation())
        while True:
            frame = await asyncio.wait_for(loop.sock_recv(machine, 2000), 5)
            if frame[54] == 134:
                break
    await service.stop()
    sent = [event.t for event in timeline if event.name == "radv.advertisement.sent"]
    asked = [event.t for event in timeline if event.name == "radv.solicitation.received"]
    return {"frame": frame.hex(), "late_s": sent[0] - asked[1], "unfired": len(plan.unfired())}


@pytest.mark.service
async def test_faults_lose_delay_and_change_advertisements() -> None:
    from scapy.layers.inet6 import (
        ICMPv6ND_RA,
        ICMPv6NDOptMTU,
        ICMPv6NDOptPrefixInfo,
    )
    from scapy.layers.l2 import Ether

    seen = await inside(f"{__name__}:struck")
    packet = Ether(bytes.fromhex(seen["frame"]))
    said = packet[ICMPv6ND_RA]
    assert (said.M, said.O, said.routerlifetime) == (1, 0, 1800)
    assert packet[ICMPv6NDOptMTU].mtu == 1400
    assert packet[ICMPv6NDOptPrefixInfo].prefix == "2001:db8::"
    checksum = said.cksum
    del said.cksum
    assert Ether(bytes(packet))[ICMPv6ND_RA].cksum == checksum
    assert seen["late_s"] >= 0.1
    assert seen["unfired"] == 0


async def bugged() -> list[str]:
    """Solicit a service that has a bug; runs inside the namespace."""

    def broken(_: str, /, **__: object) -> tuple[()]:
        raise ZeroDivisionError("a bug")

    timeline, tasks = Timeline(None), TaskKeeper()
    service = RadvService(timeline=timeline, tasks=tasks, interface=LAB, strike=broken)
    await service.start()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as machine:
        machine.bind((MACHINE, radv.ETHERTYPE))
        machine.send(solicitation())
        await asyncio.wait([tasks.failure], timeout=5)
    await service.stop()
    return [str(tasks.failure.exception()), *(event.name for event in timeline)]


@pytest.mark.service
async def test_a_bug_fails_the_lab() -> None:
    error, *events = await inside(f"{__name__}:bugged")
    assert error == "service radv crashed: ZeroDivisionError: a bug"
    assert events.count("service.crashed") == 1
