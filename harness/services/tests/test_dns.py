"""DNS against dnspython's resolver, busybox and glibc-like questions, over UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DecodeError
from harness.process import run
from harness.services.dns import DnsServer, DnsService
from harness.services.tests.namespace import SERVER, inside
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline, named

ZONE = {"registry.tinkerbell.lab": "192.168.77.1", "pool.ntp.org": "192.168.77.1"}


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(None)


@pytest.fixture
async def service(timeline: Timeline) -> AsyncIterator[DnsService]:
    tasks = TaskKeeper()
    service = DnsService(timeline=timeline, tasks=tasks, zone=ZONE, bind="127.0.0.1", port=0)
    await service.start()
    yield service
    await service.stop()
    await service.stop()
    assert not tasks.failure.done(), tasks.failure.exception()
    await tasks.close()


async def ask(service: DnsService, name: str, kind: str = "A", how: str = "udp") -> Any:
    query = dns.message.make_query(name, kind, use_edns=True)
    send = dns.asyncquery.udp if how == "udp" else dns.asyncquery.tcp
    return await send(query, "127.0.0.1", timeout=5, port=service.port)


@pytest.mark.parametrize("how", ["udp", "tcp"])
async def test_a_name_of_the_zone_has_its_address(
    service: DnsService, timeline: Timeline, how: str
) -> None:
    reply = await ask(service, "Registry.TINKERBELL.lab", how=how)
    assert [rrset.to_text() for rrset in reply.answer] == [
        "Registry.TINKERBELL.lab. 60 IN A 192.168.77.1"
    ]
    await asyncio.wait_for(timeline.wait_for(lambda e: e.name == "dns.answer.sent"), 5)
    [query], [answer] = named(timeline, "dns.query.received"), named(timeline, "dns.answer.sent")
    assert (query["name"], query["type"], query["transport"]) == (
        "Registry.TINKERBELL.lab.",
        "A",
        how,
    )
    assert (answer["rcode"], answer["answers"], answer["id"]) == (
        "NOERROR",
        ["192.168.77.1"],
        query["id"],
    )


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        ("pool.ntp.org", "AAAA", "NOERROR"),
        ("tinkerbell.lab", "A", "NOERROR"),
        ("0.pool.ntp.org", "A", "NXDOMAIN"),
        ("elsewhere.example", "A", "NXDOMAIN"),
    ],
)
async def test_nothing_else_has_one(service: DnsService, name: str, kind: str, rcode: str) -> None:
    reply = await ask(service, name, kind)
    assert dns.rcode.to_text(reply.rcode()) == rcode
    assert reply.answer == []


async def test_one_tcp_connection_carries_many_questions(service: DnsService) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    for _ in range(3):
        query = dns.message.make_query("pool.ntp.org", "A").to_wire()
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert dns.message.from_wire(await reader.readexactly(size)).answer
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_gets_out_of_reach_is_no_crash(
    service: DnsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")  # the kernel says so after minutes

    monkeypatch.setattr("harness.services.dns.Conversation.go_on", lost)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_what_is_no_dns_is_noted(service: DnsService, timeline: Timeline) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"nonsense", ("127.0.0.1", service.port))
        await asyncio.wait_for(timeline.wait_for(lambda e: e.name == "dns.malformed"), 5)
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"\0\x03xyz")
    await asyncio.wait_for(timeline.wait_for(lambda e: e.get("bytes") == 3), 5)
    writer.close()
    assert (await ask(service, "pool.ntp.org")).answer


@given(st.binary(max_size=100))
def test_arbitrary_octets_are_answered_or_a_decode_error(query: bytes) -> None:
    server = DnsServer(zone=ZONE)
    for octets in (query, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + query):
        with contextlib.suppress(DecodeError):
            server.receive(octets, ("192.168.77.10", 5353), 0.0)


async def nslookup() -> str:
    """Ask as Hook's busybox does; runs inside the namespace."""
    service = DnsService(timeline=Timeline(None), tasks=TaskKeeper(), zone=ZONE, bind=SERVER)
    await service.start()
    done = await run(["busybox", "nslookup", "registry.tinkerbell.lab", SERVER])
    await service.stop()
    return done.stdout.decode()


@pytest.mark.service
@needs("busybox")
async def test_busybox_finds_the_registry() -> None:
    assert "192.168.77.1" in (await inside(f"{__name__}:nslookup")).split("registry", 1)[1]
