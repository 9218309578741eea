"""The DHCP service against busybox's udhcpc, on a cable in a network namespace."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from harness.process import run
from harness.services.dhcp import DhcpService
from harness.services.tests.namespace import LAB, MAC, MACHINE, SERVER, inside
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline, named
from harness.wire.netboot import NetbootConfig, Reservation, Reservations

RESERVATION = Reservation(
    mac=MAC,
    address="192.168.77.10",
    gateway=SERVER,
    name_servers=(SERVER,),
    hostname="machine",
    domain="tinkerbell.lab",
    allow_pxe=True,
)


async def _service(timeline: Timeline, interface: str | None, **more: Any) -> DhcpService:
    service = DhcpService(
        timeline=timeline,
        tasks=TaskKeeper(),
        reservations=Reservations([RESERVATION]),
        config=NetbootConfig(server=SERVER),
        interface=interface,
        **more,
    )
    await service.start()
    return service


async def udhcpc() -> dict[str, Any]:
    """Get a lease the way Hook's userland and a PXE firmware would; runs inside the namespace."""
    timeline = Timeline(None)
    service = await _service(timeline, LAB)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script"  # udhcpc hands what it got to a script's environment
        script.write_text('#!/bin/sh\n[ "$1" != bound ] || env\n', encoding="utf-8")
        script.chmod(0o755)
        common = ["busybox", "udhcpc", "-i", MACHINE, "-f", "-q", "-n", "-s", str(script)]
        guest = await run(common)
        pxe = ["-V", "PXEClient:Arch:00007:UNDI:003001", "-x", "0x5d:0007", "-x", "0x5e:010301"]
        firmware = await run([*common, *pxe, "-O", "bootfile"])
    await service.stop()
    return {
        "guest": guest.stdout.decode(),
        "firmware": firmware.stdout.decode(),
        "events": [[event.name, dict(event.fields)] for event in timeline],
    }


@pytest.mark.service
@needs("busybox")
async def test_udhcpc_gets_its_lease_and_boot_file() -> None:
    seen = await inside(f"{__name__}:udhcpc")
    guest, firmware = (_bound(seen[who]) for who in ("guest", "firmware"))
    assert guest["ip"] == "192.168.77.10"
    assert (guest["subnet"], guest["router"], guest["dns"]) == ("255.255.255.0", SERVER, SERVER)
    assert (guest["hostname"], guest["domain"]) == ("machine", "tinkerbell.lab")
    assert guest["lease"] == "604800"
    assert "boot_file" not in guest
    assert firmware["boot_file"] == "ipxe.efi"
    assert firmware["siaddr"] == SERVER
    names = [name for name, _ in seen["events"]]
    exchange = [
        "dhcp.discover.received", "dhcp.offer.sent", "dhcp.request.received", "dhcp.ack.sent"
    ]  # fmt: skip
    assert names == ["service.started", *exchange, *exchange, "service.stopped"]
    stages = [fields["stage"] for name, fields in seen["events"] if name == "dhcp.ack.sent"]
    assert stages == ["guest", "firmware"]


def _bound(environment: str) -> dict[str, str]:
    """Return the variables udhcpc gave its script for "bound"."""
    pairs = [line.partition("=") for line in environment.splitlines()]
    return {name: value for name, _, value in pairs}


async def test_what_is_no_dhcp_is_noted_and_the_service_lives_on() -> None:
    timeline = Timeline(None)
    service = await _service(timeline, None, bind="127.0.0.1", port=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for datagram in (b"", b"nonsense", bytes(300)):
            sock.sendto(datagram, ("127.0.0.1", service.port))
        await asyncio.wait_for(
            timeline.wait_for(lambda event: event.get("bytes") == 300), timeout=5
        )
    malformed = named(timeline, "dhcp.malformed")
    assert [event["bytes"] for event in malformed] == [0, 8, 300]
    assert malformed[2]["reason"] == "the magic cookie is missing"
    await service.stop()
    await service.stop()
