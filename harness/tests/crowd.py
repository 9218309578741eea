"""One of many labs that run at once: python -m harness.tests.crowd NUMBER RUN_DIR FD.

Sealed as any lab, with bridge, capture, DHCP server and a file of its own, all under the names that
every lab uses, and a machine that has the same MAC and gets the same address in all of them. What
it sends carries its number. It says ``ready`` and waits for an octet from FD before it sends, and
says what it found as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness.seal import PRIVATE_DIR, settle_in

MAC = "52:54:00:12:34:56"
ADDRESS = "192.168.77.10"
FRAMES = 200
_HEAD = b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) + b"\x88\xb5"


async def _lab(number: int, run_dir: Path, go: int) -> dict[str, Any]:
    from harness.clock import Deadline
    from harness.net import netlink
    from harness.net.capture import Capture
    from harness.net.segment import Segment, SegmentKind
    from harness.process import run
    from harness.services.dhcp import DhcpService
    from harness.tasks import TaskKeeper
    from harness.timeline import Timeline, named
    from harness.wire.netboot import NetbootConfig, Reservation, Reservations

    me = f"<lab {number}>"
    timeline, tasks = Timeline(run_dir / "timeline.jsonl"), TaskKeeper()
    lan = Segment(timeline=timeline, tasks=tasks, kind=SegmentKind.WIRE, private_dir=PRIVATE_DIR)
    await lan.start()
    capture = Capture(
        timeline=timeline, tasks=tasks, interface=lan.bridge, path=run_dir / "capture.pcapng"
    )
    await capture.start()
    server = str(lan.address.ip)
    dhcp = DhcpService(
        timeline=timeline,
        tasks=tasks,
        reservations=Reservations([Reservation(mac=MAC, address=ADDRESS, hostname=me)]),
        config=NetbootConfig(server=server),
        interface=lan.bridge,
    )
    await dhcp.start()
    with netlink.Netlink() as kernel:
        kernel.add_veth("port0", "machine0")
        kernel.set_master(socket.if_nametoindex("port0"), socket.if_nametoindex(lan.bridge))
    for command in (
        f"link set machine0 address {MAC}",
        "link set machine0 up",
        "link set port0 up",
    ):
        await run(["ip", *command.split()])
    deadline = Deadline.after(timedelta(seconds=60))
    await tasks.race(
        netlink.wait_for_forwarding("port0", lan.bridge), deadline, waiting_for="the port"
    )
    mine = PRIVATE_DIR / "private"
    found_before = mine.exists()
    mine.write_text(me)
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name.bind("\0hooklab")  # a name of the network, not of a folder
    print("ready", flush=True)
    await asyncio.to_thread(os.read, go, 1)
    lease = await run(
        ["busybox", "udhcpc", "-i", "machine0", "-f", "-q", "-n", "-s", "/bin/true",
         "-x", f"hostname:{me}"]
    )  # fmt: skip
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind(("machine0", 0))
        for count in range(FRAMES):
            raw.send(_HEAD + me.encode() + bytes([count]) * 100)
            await asyncio.sleep(0)
    name.close()
    result = {
        "found_before": found_before,
        "private": mine.read_text(),
        "interfaces": sorted(interface for _, interface in socket.if_nameindex()),
        "processes": len([path for path in Path("/proc").iterdir() if path.name.isdecimal()]),
        "leased": f"lease of {ADDRESS} obtained" in lease.stderr.decode(),
        "acks": len(named(timeline, "dhcp.ack.sent")),
        "discovers": len(named(timeline, "dhcp.discover.received")),
    }
    await dhcp.stop()
    await capture.stop()
    await lan.stop()
    await tasks.close()
    timeline.close()
    return result


def main() -> None:
    """Be one lab."""
    settle_in()
    number, run_dir, go = sys.argv[1:]
    print(json.dumps(asyncio.run(_lab(int(number), Path(run_dir), int(go)))), flush=True)


if __name__ == "__main__":
    main()
