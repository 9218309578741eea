"""Syslog against logger(1), and with datagrams as long as UDP allows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from harness.process import run
from harness.services.syslog import SyslogService
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(None)


@pytest.fixture
async def service(timeline: Timeline) -> AsyncIterator[SyslogService]:
    service = SyslogService(timeline=timeline, tasks=TaskKeeper(), bind="127.0.0.1", port=0)
    await service.start()
    yield service
    await service.stop()
    await service.stop()


@needs("logger")
@pytest.mark.parametrize("format", ["--rfc3164", "--rfc5424"])
async def test_logger_is_understood(
    service: SyslogService, timeline: Timeline, format: str
) -> None:
    await run(
        ["logger", format, "--udp", "--server", "127.0.0.1", "--port", str(service.port),
         "--tag", "tink-worker", "--priority", "daemon.err", "image pull failure: x"]
    )  # fmt: skip
    event = await asyncio.wait_for(
        timeline.wait_for(lambda event: event.name == "syslog.message.received"), 5
    )
    assert (event["facility"], event["severity"]) == ("daemon", "err")
    assert (event["tag"], event["message"]) == ("tink-worker", "image pull failure: x")
    assert event["hostname"]


async def test_a_full_datagram_is_not_cut(service: SyslogService, timeline: Timeline) -> None:
    datagram = b"<30>hook: " + b"x" * (65_507 - 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(datagram, ("127.0.0.1", service.port))
        event = await asyncio.wait_for(
            timeline.wait_for(lambda event: event.name == "syslog.message.received"), 5
        )
    assert event["bytes"] == len(datagram)
    assert event["message"] == "x" * (65_507 - 10)


async def test_a_burst_is_kept_whole(service: SyslogService, timeline: Timeline) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(500):
            sock.sendto(f"<6>hook: {number}".encode(), ("127.0.0.1", service.port))
        await asyncio.wait_for(timeline.wait_for(lambda event: event.get("message") == "499"), 5)
    got = [event["message"] for event in timeline if event.name == "syslog.message.received"]
    assert got == [str(number) for number in range(500)]
