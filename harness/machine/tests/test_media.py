"""A BMC's reading of an ISO: patched by the lab's endpoint, refused, from servers of all kinds."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness.machine.media import MediumRefused, read_medium
from harness.services.http import HttpService
from harness.services.iso import IsoSource
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named
from harness.wire.ipxe import ScriptConfig
from harness.wire.iso import MAGIC, arguments, patched
from harness.wire.netboot import Reservation, Reservations

MAC = "52:54:00:00:00:01"
MACHINE = Reservation(mac=MAC, address="192.168.77.10", name_servers=("192.168.77.1",))
SCRIPTS = ScriptConfig(osie_url="http://192.168.77.1:7080/hook", syslog_host="192.168.77.1")


@asynccontextmanager
async def served(image: Path) -> AsyncIterator[tuple[str, Timeline]]:
    """Serve ``image`` at /hook/x.iso and, patched, below /iso/; yield the URL of /."""
    timeline, tasks = Timeline(None), TaskKeeper()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    base = f"http://127.0.0.1:{port}"
    service = HttpService(
        timeline=timeline,
        tasks=tasks,
        reservations=Reservations([MACHINE]),
        scripts=SCRIPTS,
        artifacts={"x.iso": image},
        iso=IsoSource(url=f"{base}/hook/x.iso", static_ipam=True),
        bind="127.0.0.1",
        port=port,
    )
    await service.start()
    try:
        yield base, timeline
    finally:
        await service.stop()
        await tasks.close()


async def test_it_is_read_range_by_range_and_patched_on_the_way(tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    content = os.urandom(40_000) + MAGIC + os.urandom(300_000)
    image.write_bytes(content)
    target = tmp_path / "medium"
    async with served(image) as (base, timeline):
        medium = await read_medium(f"{base}/iso/{MAC}/hook.iso", target, piece_bytes=100_000)
    assert (medium.size_bytes, medium.requests) == (len(content), 4)
    patch = arguments(MACHINE, SCRIPTS, static_ipam=True)
    assert b"ipam=52-54-00-00-00-01::192.168.77.10:" in patch
    assert target.read_bytes() == patched(content, patch)
    assert not medium.placeholder
    ranges = [e["range"] for e in named(timeline.events, "http.request.received") if e["range"]]
    assert "bytes=300000-399999" in ranges


async def test_an_iso_that_nobody_patched_is_known(tmp_path: Path) -> None:
    image = tmp_path / "x.iso"
    image.write_bytes(bytes(99) + MAGIC + bytes(99))
    async with served(image) as (base, _):
        medium = await read_medium(f"{base}/hook/x.iso", tmp_path / "medium", piece_bytes=500)
    assert medium.placeholder


async def test_a_server_without_ranges_is_read_at_one_go(tmp_path: Path) -> None:
    async with served(tmp_path / "absent") as (base, _):
        medium = await read_medium(f"{base}/healthz", tmp_path / "medium")
    assert (medium.size_bytes, medium.requests) == (2, 1)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/iso/52:54:00:00:00:09/hook.iso", "the server answers 404"),
        (f"/iso/{MAC}/hook.iso", "the server answers 404"),
    ],
)
async def test_refusals_are_told(tmp_path: Path, path: str, why: str) -> None:
    async with served(tmp_path / "absent") as (base, _):
        with pytest.raises(MediumRefused, match=why):
            await read_medium(f"{base}{path}", tmp_path / "medium")


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MediumRefused, match=r"127\.0\.0\.1:9"):
        await read_medium("http://127.0.0.1:9/x.iso", tmp_path / "medium")
