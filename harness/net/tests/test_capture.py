"""All frames are in the file, or counted as lost; and the file survives a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.errors import SetupFailed
from harness.net import netlink
from harness.net.capture import Capture, CaptureFailed
from harness.net.tests.namespace import in_own_network
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named

pytestmark = pytest.mark.service

ETHERTYPE = 0x88B5
HEAD = b"\xff" * 6 + bytes.fromhex("02000000000188b5")


@asynccontextmanager
async def captured(path: Path) -> AsyncIterator[tuple[Capture, Timeline, TaskKeeper]]:
    """A veth pair ``v0``-``v1`` whose first end is captured."""
    with netlink.Netlink() as kernel:
        kernel.add_veth("v0", "v1")
        for name in ("v0", "v1"):
            kernel.silence_ipv6(name)  # not a frame that the test did not send
            kernel.set_up(socket.if_nametoindex(name))
    timeline, tasks = Timeline(None), TaskKeeper()
    capture = Capture(timeline=timeline, tasks=tasks, interface="v0", path=path)
    await capture.start()
    yield capture, timeline, tasks
    await capture.stop()
    await tasks.close()


def wire_count(interface: str, column: int) -> int:
    """Return a counter of /proc/net/dev: 1 frames received, 9 frames sent."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == interface:
            return int(numbers.split()[column])
    raise AssertionError(f"no {interface}")


def tshark(path: Path, *words: str) -> list[str]:
    done = subprocess.run(
        ["tshark", "-r", str(path), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@in_own_network
async def test_a_burst_is_captured_or_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with captured(path) as (capture, timeline, _):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind(("v1", 0))
            frame = HEAD + os.urandom(1486)
            for _ in range(60_000):  # 90 MB, at several hundred MB/s
                raw.send(frame)
        arrived = wire_count("v0", 1) + wire_count("v0", 9)
        await capture.stop()
        (stopped,) = named(timeline, "capture.stopped")
    assert stopped["frames"] + stopped["dropped"] == arrived
    assert stopped["frames"] > 20_000
    assert sum(1 for _ in tshark(path, "-T", "fields", "-e", "frame.number")) == stopped["frames"]


@in_own_network
async def test_both_directions_order_and_tags_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    tagged = HEAD[:12] + struct.pack("!HH", 0x8100, 0x2064) + HEAD[12:] + b"tagged" * 10
    async with captured(path) as (_, timeline, _):
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as one,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as other,
        ):
            one.bind(("v0", 0))
            other.bind(("v1", 0))
            for number in range(50):
                (one if number % 2 else other).send(HEAD + bytes([number]) * 50)
            other.send(tagged)
    from scapy.utils import RawPcapNgReader

    reader = RawPcapNgReader(str(path))
    try:
        frames = [data for data, _ in reader if data[12:14] in (b"\x88\xb5", b"\x81\x00")]
    finally:
        reader.close()
    assert frames[:50] == [HEAD + bytes([number]) * 50 for number in range(50)]
    assert frames[50:] == [tagged]
    (vlan,) = tshark(path, "-Y", "vlan", "-T", "fields", "-e", "vlan.id", "-e", "vlan.priority")
    assert vlan.split() == ["100", "1"]
    times = [float(t) for t in tshark(path, "-T", "fields", "-e", "frame.time_epoch")]
    started, stopped = named(timeline, "capture.started", "capture.stopped")
    clock = timeline.clock
    assert clock.wall(started.t).timestamp() - 1 < times[0] <= times[-1]
    assert times[-1] < clock.wall(stopped.t).timestamp() + 1


@in_own_network
async def test_a_killed_recorder_leaves_a_readable_file_and_fails_the_lab(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    async with captured(path) as (capture, timeline, tasks):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
            raw.bind(("v1", 0))
            for _ in range(1000):
                raw.send(HEAD + bytes(1000))
        deadline = Deadline.after(timedelta(seconds=10))
        while path.stat().st_size < 1_000_000 and not deadline.expired:
            os.sched_yield()  # until the recorder has written: there is no event for that
        assert capture.pid is not None
        os.kill(capture.pid, signal.SIGKILL)
        with pytest.raises(CaptureFailed, match="ended with status -9"):
            await asyncio.wait_for(tasks.failure, 10)
        await capture.stop()
        assert not named(timeline, "capture.stopped")
    assert len(tshark(path, "-Y", "eth.type == 0x88b5")) >= 900


@in_own_network
async def test_what_can_not_be_captured_is_said(tmp_path: Path) -> None:
    capture = Capture(
        timeline=Timeline(None), tasks=TaskKeeper(), interface="nope", path=tmp_path / "a.pcapng"
    )
    with pytest.raises(SetupFailed, match=r"nope can't be captured: [Nn]o (interface|such device)"):
        await capture.start()
    await capture.stop()


@in_own_network
async def test_a_full_disk_is_said(tmp_path: Path) -> None:
    capture = Capture(
        timeline=Timeline(None), tasks=TaskKeeper(), interface="lo", path=Path("/dev/full")
    )
    with pytest.raises(SetupFailed, match="No space left on device"):
        await capture.start()


@in_own_network
async def test_a_file_that_is_there_is_gone_on_with_by_a_clock_that_was_held(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.pcapng"

    def send(number: int) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("v1", 0))
            sender.send(HEAD + struct.pack("!I", number).ljust(60, b"."))

    async with captured(path):
        send(1)
    with netlink.Netlink() as kernel:
        kernel.delete(socket.if_nametoindex("v0"))
    async with captured(path) as (capture, timeline, _):
        clock = timeline.clock
        clock.hold(1000.0, started_at=clock.started_at)
        clock.go_on()
        capture.follow_clock()
        # A frame sent before the recorder has read the line is stamped by the old clock: so many
        # are sent that one comes later.
        deadline = Deadline.after(timedelta(seconds=20))
        while not deadline.expired and len(_late(path, clock.wall(1000.0).timestamp())) < 1:
            send(2)
            await asyncio.sleep(0)
    late = _late(path, clock.wall(1000.0).timestamp())
    assert late
    assert "1" not in late  # that of the first recorder
    assert len(tshark(path, "-T", "fields", "-e", "frame.number")) > len(late)


def _late(path: Path, at: float) -> list[str]:
    """Return the frames stamped after ``at``, as far as the file goes."""
    words = ["-Y", f"frame.time_epoch >= {at}", "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(["tshark", "-r", str(path), *words], capture_output=True, text=True)
    return done.stdout.split()


@in_own_network
async def test_one_that_is_stopped_while_it_starts_leaves_no_process(tmp_path: Path) -> None:
    with netlink.Netlink() as kernel:
        kernel.add_veth("v0", "v1")
    timeline, tasks = Timeline(None), TaskKeeper()
    capture = Capture(timeline=timeline, tasks=tasks, interface="v0", path=tmp_path / "c.pcapng")
    starting = tasks.spawn(capture.start(), name="start")
    while capture.pid is None:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0)
    pid = capture.pid
    await capture.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await asyncio.gather(starting, return_exceptions=True)
    assert not named(timeline, "capture.started")
    await tasks.close()
