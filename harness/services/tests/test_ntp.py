"""NTP against chrony."""

from __future__ import annotations

import pytest

from harness.process import run
from harness.services.ntp import NtpService
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Timeline, named
from harness.wire.ntp import NtpPolicy


@needs("chronyd")
@pytest.mark.parametrize("offset_s", [0.0, 7200.0, -86_400.0])
async def test_chrony_measures_the_offset_the_server_has(offset_s: float) -> None:
    timeline = Timeline(None)
    service = NtpService(
        timeline=timeline,
        tasks=TaskKeeper(),
        bind="127.0.0.1",
        port=0,
        policy=NtpPolicy(offset_s=offset_s),
        identify=lambda address: "52:54:00:00:00:01",
    )
    await service.start()
    done = await run(
        ["chronyd", "-Q", "-t", "20", "-f", "/dev/null",
         f"server 127.0.0.1 port {service.port} iburst maxsamples 1"]
    )  # fmt: skip
    await service.stop()
    [line] = [line for line in done.stderr.decode().splitlines() if "System clock wrong" in line]
    measured_s = float(line.split("wrong by ")[1].split()[0])
    assert measured_s == pytest.approx(offset_s, abs=0.2)
    requests = named(timeline, "ntp.request.received")
    assert requests[0]["mac"] == "52:54:00:00:00:01"
    assert len(named(timeline, "ntp.answer.sent")) == len(requests)
