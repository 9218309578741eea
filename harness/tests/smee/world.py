"""A namespace with one server at one end of a cable, and questions put in at the other.

Run as ``unshare -Urn python -m harness.tests.smee.world``: a job as JSON on stdin, what came back
as JSON on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from harness.clock import Deadline
from harness.process import run
from harness.tasks import TaskKeeper
from harness.tests.processes import descendants, run_now
from harness.tests.smee.objects import PLAIN, SERVER
from harness.tests.smee.requests import CLIENT, RELAYS, Request, probe
from harness.timeline import Timeline
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import MacFormat, NetbootConfig, Reservations
from harness.wire.proxy_dhcp import Mode

LAB, MACHINE = "lab0", "machine0"
_ETH_P_IP: Final = 0x0800
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_BATCH: Final = 16
_QUIET_TIMES: Final = 5
"""So often in a row nothing may be left to do, right after an answer came."""
_FIRST_PROBE: Final = 0x70000000
_ANSWER_WITHIN: Final = timedelta(seconds=20)
_LINK: Final = "52:54:00:77:77:77"


async def asked(job: dict[str, Any]) -> Any:
    """Return what ``job`` leads to in a namespace of its own."""
    argv = ["unshare", "-Urn", sys.executable, "-m", __name__]
    done = await run(argv, stdin=json.dumps(job).encode())
    return json.loads(done.stdout.splitlines()[-1])


def _cable() -> None:
    commands = [
        "link set lo up",
        f"link add {LAB} address 52:54:00:77:00:01 type veth peer name {MACHINE} address {_LINK}",
        f"addr add {SERVER}/24 dev {LAB}",
        f"link set {LAB} up",
        f"link set {MACHINE} up",
        f"neigh add 192.168.77.254 lladdr {_LINK} dev {LAB}",
        *(
            f"neigh add {RELAYS[0]} lladdr {_LINK} dev {LAB}",
            "route add default via 192.168.77.254",
        ),
        f"neigh add {CLIENT} lladdr {_LINK} dev {LAB}",
    ]
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, timeout=10)


def netboot_config(**changes: Any) -> NetbootConfig:
    """Return the configuration both sides are given; ``changes`` as JSON has them."""
    given = dict(changes)
    if "tftp" in given:
        given["tftp"] = tuple(given["tftp"])
    if "mac_format" in given:
        given["mac_format"] = MacFormat(given["mac_format"])
    if "binaries" in given:
        given["binaries"] = {int(arch): name for arch, name in given["binaries"].items()}
    return NetbootConfig(**{"server": SERVER, "syslog": SERVER, **given})


def script_config(**changes: Any) -> ScriptConfig:
    """Return the script configuration both sides are given."""
    given = {
        key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()
    }
    base: dict[str, Any] = {"osie_url": f"http://{SERVER}:7173", "syslog_host": SERVER}
    return ScriptConfig(**{**base, "grpc_authority": f"{SERVER}:42113", **given})


def reservations(objects: Sequence[dict[str, Any]]) -> Reservations:
    """Return what the lab knows of ``objects``."""
    from fake_tink_server.catalog import Catalog
    from harness.reservations import reservations_of

    catalog = Catalog()
    for each in objects:
        catalog.add(json.dumps(each), file=Path("hardware.json"))
    return Reservations(
        reservation
        for loaded in catalog.hardware.values()
        for reservation in reservations_of(loaded.object)
    )


@asynccontextmanager
async def dhcp_server(job: dict[str, Any]) -> AsyncIterator[TaskKeeper]:
    """Run the server that ``job`` is for: ``smee`` names the program, without it the lab's own."""
    from harness.services.dhcp import DhcpService
    from harness.services.smee import SmeeService, smee_settings

    timeline, tasks = Timeline(None), TaskKeeper()
    config = netboot_config(**job.get("config", {}))
    mode = job.get("mode", "reservation")
    service: SmeeService | DhcpService
    with tempfile.TemporaryDirectory() as folder:
        if job.get("smee"):
            off = {"enabled": False}
            dhcp = {"mode": mode, "interface": LAB}
            settings = smee_settings(
                config=config, scripts=script_config(), dhcp=dhcp, tftp=off, http=off, syslog=off
            )
            service = SmeeService(
                timeline=timeline, tasks=tasks, program=Path(job["smee"]),
                hardware=job["hardware"], settings=settings, folder=Path(folder),
            )  # fmt: skip
        else:
            service = DhcpService(
                timeline=timeline, tasks=tasks, config=config, interface=LAB, mode=Mode(mode),
                reservations=reservations(job["hardware"]),
            )  # fmt: skip
        await service.start()
        try:
            yield tasks
        finally:
            await service.stop()
            await tasks.close()


class Cable:
    """The machine's end: raw frames out, the server's DHCP frames in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IP))
        # A batch and its replies together could fill the buffer.
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.bind((MACHINE, _ETH_P_IP))
        self._socket.setblocking(False)
        self.replies: dict[int, list[Any]] = {}
        self._seen = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Let go of the interface."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def send(self, request: Request) -> None:
        """Put ``request`` on the cable."""
        everybody = request.destination == "255.255.255.255"
        link = b"\xff" * 6 if everybody else bytes.fromhex("525400770001")
        source, destination = (
            socket.inet_aton(a) for a in (request.source[0], request.destination)
        )
        udp = struct.pack("!HHHH", request.source[1], 67, 8 + len(request.data), 0) + request.data
        head = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, destination
        )
        head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
        frame = link + bytes.fromhex(_LINK.replace(":", "")) + struct.pack("!H", _ETH_P_IP)
        self._socket.send(frame + head + udp)

    async def answered(self, xid: int) -> None:
        """Return once a reply with ``xid`` was seen."""
        while xid not in self.replies:
            self._seen.clear()
            await self._seen.wait()

    def _readable(self) -> None:
        while True:
            try:
                frame = self._socket.recv(65535)
            except BlockingIOError:
                return
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        ip = frame[14:]
        size = (ip[0] & 15) * 4
        if ip[9] != 17 or int.from_bytes(ip[6:8], "big") & 0x3FFF:
            return
        sport, dport, length = struct.unpack_from("!HHH", ip, size)
        data = ip[size + 8 : size + length]
        if sport != 67 or frame[6:12] == bytes.fromhex(_LINK.replace(":", "")):
            return
        addresses = [socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])]
        xid = int.from_bytes(data[4:8], "big")
        self.replies.setdefault(xid, []).append([frame[:6].hex(":"), *addresses, dport, data.hex()])
        self._seen.set()


def _checksum(head: bytes) -> int:
    total: int = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


async def dhcp(job: dict[str, Any]) -> dict[int, list[Any]]:
    """Ask every request of the job; return the replies by transaction id.

    Silence costs no waiting: after each batch comes a request that is always answered. A server
    that took its time over another is still heard: in the end it has come to rest.
    """
    asked_for = [
        Request(xid=x, data=bytes.fromhex(d), source=tuple(s), destination=to, about=about)
        for x, d, s, to, about in job["requests"]
    ]
    cable = Cable()
    try:
        async with dhcp_server(job) as tasks:
            probes = iter(range(_FIRST_PROBE, _FIRST_PROBE + len(asked_for) + 10))

            async def settled() -> None:
                sent = probe(next(probes), PLAIN)
                cable.send(sent)
                deadline = Deadline.after(_ANSWER_WITHIN)
                await tasks.race(cable.answered(sent.xid), deadline, waiting_for="a known reply")

            for start in range(0, len(asked_for), _BATCH):
                for request in asked_for[start : start + _BATCH]:
                    cable.send(request)
                await settled()
            quiet = 0
            while quiet < _QUIET_TIMES:  # smee answers each request in a goroutine of its own
                await settled()
                quiet = 0 if any(map(run_now, descendants(os.getpid()))) else quiet + 1
    finally:
        cable.close()
    return {xid: found for xid, found in cable.replies.items() if xid < _FIRST_PROBE}


def main() -> None:
    """Build the cable, do the job of stdin, print what came of it."""
    job = json.load(sys.stdin)
    _cable()
    print(json.dumps(asyncio.run({"dhcp": dhcp}[job["do"]](job))))


if __name__ == "__main__":
    main()
