"""Faults of datagram services with real sockets: each fires, and without it all is well."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from harness.documents import load
from harness.faults.plan import FaultPlan, Strike
from harness.faults.reading import FaultReader
from harness.services import Service
from harness.services.dhcp import DhcpService
from harness.services.dns import DnsService
from harness.services.ntp import NtpService
from harness.services.syslog import SyslogService
from harness.services.tests.namespace import LAB, MAC, MACHINE, SERVER, inside
from harness.services.tftp import TftpService
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named
from harness.wire import dhcp4, ntp, tftp
from harness.wire.dhcp4 import Code, MessageType
from harness.wire.ipv4 import encode_udp
from harness.wire.netboot import NetbootConfig, Reservation, Reservations
from harness.wire.tests.test_netboot import request

PATIENCE_S = 5.0
QUIET_S = 0.3
KNOWN = Reservations([Reservation(mac=MAC, address="192.168.77.10", allow_pxe=True)])
CONFIG = NetbootConfig(server=SERVER)
DHCP = partial(DhcpService, reservations=KNOWN, config=CONFIG, interface=None)
DNS = partial(DnsService, zone={"registry.lab": SERVER})


def plan_of(timeline: Timeline, *texts: str) -> FaultPlan:
    faults = []
    for text in texts:
        fault = FaultReader(load(text).data).read()
        assert fault is not None
        faults.append(fault)
    record = partial(timeline.record, "faults")
    return FaultPlan(faults, record=record, now=timeline.clock.now)


class Bench:
    """One service with faults, and a client's socket."""

    def __init__(self, timeline: Timeline, plan: FaultPlan, port: int) -> None:
        self.timeline = timeline
        self.plan = plan
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.bind(("127.0.0.1", 0))
        self.client.setblocking(False)
        self.server = ("127.0.0.1", port)

    async def ask(self, datagram: bytes) -> bytes:
        self.client.sendto(datagram, self.server)
        return await self.answer()

    async def answer(self) -> bytes:
        loop = asyncio.get_running_loop()
        data, self.server = await asyncio.wait_for(
            loop.sock_recvfrom(self.client, 65_535), PATIENCE_S
        )
        return data

    async def quiet(self) -> bool:
        """Whether nothing comes for a while."""
        with contextlib.suppress(TimeoutError):
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_recv(self.client, 65_535), QUIET_S)
            return False
        return True

    @property
    def fired(self) -> int:
        return len(named(self.timeline, "fault.fired"))


@contextlib.asynccontextmanager
async def serving(make: Callable[..., Service], *faults: str) -> AsyncIterator[Bench]:
    timeline, tasks = Timeline(None), TaskKeeper()
    plan = plan_of(timeline, *faults)
    place = plan.faults[0].place if plan.faults else ""
    strike: Strike = plan.at(place)
    service: Any = make(timeline=timeline, tasks=tasks, bind="127.0.0.1", port=0, strike=strike)
    await service.start()
    bench = Bench(timeline, plan, service.port)
    try:
        yield bench
    finally:
        bench.client.close()
        await service.stop()
        assert not tasks.failure.done(), tasks.failure.exception()
        await tasks.close()


def discover() -> bytes:
    return dhcp4.encode(request())


# -- DHCP


async def test_an_offer_is_lost_once_and_then_comes() -> None:
    async with serving(DHCP, "{at: dhcp, when: {message: OFFER, first: 1}, do: drop}") as bench:
        bench.client.sendto(discover(), bench.server)
        assert await bench.quiet()
        assert dhcp4.decode(await bench.ask(discover())).type is MessageType.OFFER
        assert bench.fired == 1
        assert len(named(bench.timeline, "dhcp.offer.sent")) == 2
        assert bench.plan.unfired() == []


async def test_dhcp_fields_say_something_else_and_the_timeline_says_so_too() -> None:
    fault = """
      {at: dhcp, do: {replace: {file: wrong.efi, siaddr: 192.168.77.9, router: 192.168.77.8,
                                option 176: 0aff, lease time: 60 s}}}"""
    gone = "{at: dhcp, do: {remove: [broadcast address, sname]}}"
    async with serving(DHCP, fault, gone) as bench:
        offer = dhcp4.decode(await bench.ask(discover()))
    assert (offer.boot_file, offer.siaddr) == ("wrong.efi", "192.168.77.9")
    assert offer.address(Code.ROUTER) == "192.168.77.8"
    assert offer.option(176) == b"\x0a\xff"
    assert offer.option(Code.LEASE_TIME) == (60).to_bytes(4, "big")
    assert offer.option(Code.BROADCAST_ADDRESS) is None
    (sent,) = named(bench.timeline, "dhcp.offer.sent")
    assert (sent["file"], sent["next_server"]) == ("wrong.efi", "192.168.77.9")


async def test_dhcp_without_a_fault_that_fits() -> None:
    async with serving(DHCP, "{at: dhcp, when: {message: NAK}, do: drop}") as bench:
        offer = dhcp4.decode(await bench.ask(discover()))
    assert offer.siaddr == SERVER
    (unfired,) = bench.plan.finish()
    assert "1 reply at dhcp seen, none with message NAK (found: OFFER ×1)" in unfired


async def _second_server() -> list[list[str]]:
    timeline, tasks = Timeline(None), TaskKeeper()
    plan = plan_of(
        timeline, "{at: dhcp, do: {second server: {address: 192.168.77.66, fields: {file: x}}}}"
    )
    service = DhcpService(
        timeline=timeline, tasks=tasks, reservations=KNOWN, config=CONFIG, interface=LAB,
        strike=plan.at("dhcp"),
    )  # fmt: skip
    await service.start()
    # Frames: the kernel takes no datagram that comes from an address of its own.
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    frames.bind((MACHINE, 0x0800))
    frames.setblocking(False)
    packet = encode_udp(discover(), source=("0.0.0.0", 68), destination=("255.255.255.255", 67))
    frames.send(b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) + b"\x08\x00" + packet)
    loop = asyncio.get_running_loop()
    seen: list[list[str]] = []
    while len(seen) < 2:
        frame = await asyncio.wait_for(loop.sock_recv(frames, 65_535), PATIENCE_S)
        if frame[34:38] != bytes.fromhex("00430044"):  # from port 67 to 68
            continue
        offer = dhcp4.decode(frame[42:])
        seen.append([str(IPv4Address(frame[26:30])), str(offer.address(54)), offer.boot_file])
    frames.close()
    await service.stop()
    await tasks.close()
    return seen


@pytest.mark.service
async def test_a_second_server_answers_first_from_an_address_of_its_own() -> None:
    rogue, own = await inside(f"{__name__}:_second_server")
    assert rogue == ["192.168.77.66", "192.168.77.66", "x"]
    assert own[:2] == [SERVER, SERVER]
    assert own[2] != "x"


# -- TFTP


def files(folder: Path) -> Callable[..., Service]:
    (folder / "ipxe.efi").write_bytes(bytes(range(256)) * 8)
    return partial(
        TftpService, binaries={"ipxe.efi": folder / "ipxe.efi"}, reservations=Reservations([])
    )


async def fetched(bench: Bench) -> tuple[bytes, dict[str, str]]:
    """Return a file and the options the server took; raises for an ERROR."""
    wish = tftp.Request(
        opcode=tftp.Opcode.RRQ, file="ipxe.efi", mode="octet", options={"blksize": "512"}
    )
    packet = tftp.decode(await bench.ask(tftp.encode(wish)))
    options: dict[str, str] = {}
    content = b""
    while True:
        match packet:
            case tftp.Oack():
                options = dict(packet.options)
                ack = 0
            case tftp.Data():
                ack = packet.block
                if packet.block == len(content) // 512 + 1:
                    content += packet.payload
                if len(packet.payload) < 512:
                    bench.client.sendto(tftp.encode(tftp.Ack(block=ack)), bench.server)
                    return content, options
            case other:
                raise AssertionError(other)
        packet = tftp.decode(await bench.ask(tftp.encode(tftp.Ack(block=ack))))


@pytest.mark.parametrize("single", [True, False])
async def test_a_late_and_a_doubled_block_do_not_harm_a_file(tmp_path: Path, single: bool) -> None:
    faults = (
        "{at: tftp, when: {opcode: DATA, block: 1, first: 1}, do: {delay: 100 ms}}",
        "{at: tftp, when: {opcode: DATA, block: 2, first: 1}, do: duplicate}",
    )
    make = partial(files(tmp_path), single_port=single)
    async with serving(make, *faults) as bench:
        content, options = await fetched(bench)
        assert bench.plan.unfired() == []
    assert content == bytes(range(256)) * 8
    assert options == {"blksize": "512"}


async def test_tftp_refuses_on_cue_and_bends_its_options(tmp_path: Path) -> None:
    refusal = "{at: tftp, when: {opcode: OACK}, do: {status: {code: disk full, message: no}}}"
    async with serving(files(tmp_path), refusal) as bench:
        with pytest.raises(AssertionError, match=r"Error\(code=3, text='no'\)"):
            await fetched(bench)
        (sent,) = named(bench.timeline, "tftp.error.sent")
        assert (sent["code"], sent["text"]) == (3, "no")
    bent = "{at: tftp, when: {opcode: OACK}, do: {replace: {tsize: 7}}}"
    async with serving(files(tmp_path), bent) as bench:
        assert (await fetched(bench))[1] == {"blksize": "512", "tsize": "7"}


# -- DNS, NTP, syslog


def question() -> bytes:
    return dns.message.make_query("registry.lab", "A", id=7).to_wire()


async def over_tcp(bench: Bench, *queries: bytes) -> list[bytes]:
    """Ask over one TCP connection; return the answers."""
    reader, writer = await asyncio.open_connection(*bench.server)
    try:
        for query in queries:
            writer.write(len(query).to_bytes(2, "big") + query)
        answers = []
        for _ in queries:
            async with asyncio.timeout(PATIENCE_S):
                size = int.from_bytes(await reader.readexactly(2), "big")
                answers.append(await reader.readexactly(size))
        return answers
    finally:
        writer.close()


async def test_dns_over_tcp_is_struck_too() -> None:
    tcp = "{at: dns, when: {transport: tcp, nth: 1}, do: {status: REFUSED}}"
    late = "{at: dns, when: {transport: tcp, nth: 2}, do: {delay: 200 ms}}"
    async with serving(DNS, tcp, late) as bench:
        udp = dns.message.from_wire(await bench.ask(question()))
        assert udp.rcode() == dns.rcode.NOERROR
        first, second = await over_tcp(bench, question(), question())
        assert dns.message.from_wire(first).rcode() == dns.rcode.REFUSED
        assert dns.message.from_wire(second).rcode() == dns.rcode.NOERROR
        assert bench.plan.unfired() == []


@pytest.mark.parametrize(
    ("deed", "error"), [("reset", ConnectionResetError), ("close", asyncio.IncompleteReadError)]
)
async def test_a_dns_connection_is_ended_at_once(deed: str, error: type[Exception]) -> None:
    async with serving(DNS, f"{{at: dns, when: {{first: 1}}, do: {deed}}}") as bench:
        with pytest.raises(error):
            await over_tcp(bench, question())
        assert await over_tcp(bench, question())


async def test_a_dns_server_accepts_and_says_nothing() -> None:
    fault = "{at: dns, when: {occasion: connection, first: 1}, do: drop}"
    async with serving(DNS, fault) as bench:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(over_tcp(bench, question()), QUIET_S)
        assert await over_tcp(bench, question())


async def test_dns_answers_something_else() -> None:
    async with serving(DNS, "{at: dns, when: {name: registry.*}, do: {status: SERVFAIL}}") as bench:
        answer = dns.message.from_wire(await bench.ask(question()))
        assert (answer.rcode(), answer.answer) == (dns.rcode.SERVFAIL, [])
        (sent,) = named(bench.timeline, "dns.answer.sent")
        assert (sent["rcode"], sent["answers"]) == ("SERVFAIL", [])
    fault = "{at: dns, do: {replace: {answers: 192.168.77.250, id: 1, aa: false}}}"
    async with serving(DNS, fault) as bench:
        answer = dns.message.from_wire(await bench.ask(question()))
        assert answer.id == 8
        assert str(answer.answer[0][0]) == "192.168.77.250"
        assert not answer.flags & dns.flags.AA
    async with serving(DNS, "{at: dns, do: {replace: {tc: true}}}") as bench:
        assert dns.message.from_wire(await bench.ask(question())).flags & dns.flags.TC
    async with serving(DNS, "{at: dns, when: {type: AAAA}, do: drop}") as bench:
        answer = dns.message.from_wire(await bench.ask(question()))
        assert str(answer.answer[0][0]) == SERVER
        assert bench.fired == 0


async def test_ntp_lies_and_kisses() -> None:
    asked = ntp.encode(ntp.NtpPacket(transmitted=5))
    async with serving(NtpService) as bench:
        right = ntp.decode(await bench.ask(asked))
    fault = "{at: ntp, do: {replace: {offset: -2 h, stratum: 16, leap: 3}}}"
    async with serving(NtpService, fault) as bench:
        wrong = ntp.decode(await bench.ask(asked))
        (sent,) = named(bench.timeline, "ntp.answer.sent")
    behind = ntp.unix_time(right.transmitted) - ntp.unix_time(wrong.transmitted)
    assert behind == pytest.approx(7200, abs=PATIENCE_S)
    assert (wrong.stratum, wrong.leap, wrong.origin, sent["stratum"]) == (16, 3, 5, 16)
    async with serving(NtpService, "{at: ntp, do: {status: RATE}}") as bench:
        kiss = ntp.decode(await bench.ask(asked))
    assert (kiss.stratum, kiss.reference_id) == (0, b"RATE")


async def test_a_lost_log_line_is_known_to_nobody() -> None:
    fault = "{at: syslog, when: {severity: info, nth: 2}, do: drop}"
    async with serving(SyslogService, fault) as bench:
        for number in range(3):
            bench.client.sendto(f"<14>app: {number}".encode(), bench.server)
        await asyncio.wait_for(
            bench.timeline.wait_for(lambda event: event.get("message") == "2"), PATIENCE_S
        )
        said = [event["message"] for event in named(bench.timeline, "syslog.message.received")]
    assert said == ["0", "2"]
