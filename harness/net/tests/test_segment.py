"""Both kinds of segment carry whole frames in both directions, at once after start()."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.errors import HostUnfit, ServiceCrashed, SetupFailed
from harness.net import netlink, segment, wire
from harness.net.segment import Segment, SegmentKind
from harness.net.tests.namespace import in_own_network
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

pytestmark = pytest.mark.service

ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802)."""
MACHINE = bytes.fromhex("525400000001")
KINDS = [
    pytest.param(
        SegmentKind.BRIDGE,
        marks=pytest.mark.skipif(segment.probe_tun() is not None, reason="no /dev/net/tun"),
    ),
    SegmentKind.WIRE,
]


class Nic:
    """What QEMU does at its end of a port: send and receive frames."""

    def __init__(self, port: segment.Port, private_dir: Path) -> None:
        if isinstance(port, segment.TapPort):
            self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self._fd, 0x400454CA, struct.pack("16sH22x", port.name.encode(), 0x1002))
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.bind(str(private_dir / f"{port.name}-qemu"))
            self._socket.connect(str(private_dir / f"{port.name}-lab"))
            self._fd = self._socket.detach()

    def send(self, frame: bytes) -> None:
        os.write(self._fd, frame)

    async def receive(self, wanted: Callable[[bytes], bool]) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            ready = asyncio.Event()
            loop.add_reader(self._fd, ready.set)
            await ready.wait()
            loop.remove_reader(self._fd)
            frame = os.read(self._fd, 65536)
            if wanted(frame):
                return frame


def frame(payload: bytes) -> bytes:
    return b"\xff" * 6 + MACHINE + struct.pack("!H", ETHERTYPE) + payload


def on_segment(
    test: Callable[[Segment, Nic, TaskKeeper], Awaitable[None]],
) -> Callable[[SegmentKind, Path], None]:
    @in_own_network
    async def wrapper(kind: SegmentKind, tmp_path: Path) -> None:
        tasks = TaskKeeper()
        timeline = Timeline(None)
        lan = Segment(timeline=timeline, tasks=tasks, kind=kind, private_dir=tmp_path)
        await lan.start()
        assert [event.name for event in timeline] == ["segment.created"]
        port = await lan.plug_in("m1")
        nic = Nic(port, tmp_path)
        deadline = Deadline.after(timedelta(seconds=20))
        await tasks.race(port.ready(), deadline, waiting_for="the port")
        await tasks.race(test(lan, nic, tasks), deadline, waiting_for="the test")
        await lan.stop()
        await lan.stop()
        assert {name for _, name in socket.if_nameindex()} == {"lo"}
        await tasks.close()

    wrapper.__name__ = test.__name__
    return wrapper


@pytest.mark.parametrize("kind", KINDS)
@on_segment
async def test_a_machines_frame_reaches_the_bridge(
    lan: Segment, nic: Nic, tasks: TaskKeeper
) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as raw:
        raw.bind((lan.bridge, ETHERTYPE))
        raw.setblocking(False)
        nic.send(frame(b"x" * 1486))
        found = await asyncio.get_running_loop().sock_recv(raw, 2000)
    assert found == frame(b"x" * 1486)


@pytest.mark.parametrize("kind", KINDS)
@on_segment
async def test_many_frames_reach_a_machine_in_order(
    lan: Segment, nic: Nic, tasks: TaskKeeper
) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((lan.bridge, 0))
        for number in range(100):
            raw.send(frame(bytes([number]) * 1000))
        for number in range(100):
            found = await nic.receive(lambda data: data[12:14] == b"\x88\xb5")
            assert found == frame(bytes([number]) * 1000)


@pytest.mark.parametrize("kind", KINDS)
@on_segment
async def test_servers_can_use_the_addresses_at_once(
    lan: Segment, nic: Nic, tasks: TaskKeeper
) -> None:
    index = socket.if_nametoindex(lan.bridge)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as icmp:
        icmp.bind((str(lan.link_local), 0, 0, index))
        icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        icmp.sendto(bytes([134, 0, 0, 0]) + bytes(12), ("ff02::1", 0, 0, index))
    advert = await nic.receive(lambda data: data[12:14] == b"\x86\xdd" and data[54] == 134)
    assert advert[22:38] == lan.link_local.packed
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, lan.bridge.encode())
        udp.bind(("", 67))
        udp.sendto(b"an offer", ("255.255.255.255", 68))
    offer = await nic.receive(lambda data: data[12:14] == b"\x08\x00")
    assert offer[26:30] == lan.address.ip.packed
    assert offer[42:] == b"an offer"


@pytest.mark.parametrize("kind", KINDS)
@on_segment
async def test_a_whole_tcp_window_waits_for_a_slow_machine(
    lan: Segment, nic: Nic, tasks: TaskKeeper
) -> None:
    await _a_whole_window(lan, nic)


async def _a_whole_window(lan: Segment, nic: Nic) -> None:
    window = range((2 << 20) // 1448)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((lan.bridge, 0))
        for number in window:
            raw.send(frame(struct.pack("!H", number) + bytes(1498)))
            await asyncio.sleep(0)
    for number in window:
        found = await nic.receive(lambda data: data[12:14] == b"\x88\xb5")
        assert found[14:16] == struct.pack("!H", number)


@in_own_network
async def test_so_it_does_where_the_kernels_buffers_are_an_ordinary_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_BUFFER_BYTES", 1 << 17)
    monkeypatch.setattr(wire, "lengthen_queues", lambda: None)
    tasks = TaskKeeper()
    kind = SegmentKind.WIRE
    lan = Segment(timeline=Timeline(None), tasks=tasks, kind=kind, private_dir=tmp_path)
    await lan.start()
    nic = Nic(await lan.plug_in("m1"), tmp_path)
    deadline = Deadline.after(timedelta(seconds=20))
    await tasks.race(_a_whole_window(lan, nic), deadline, waiting_for="a window")
    await lan.stop()
    await tasks.close()


@pytest.mark.parametrize("kind", [SegmentKind.WIRE])
@on_segment
async def test_a_slow_machine_loses_nothing_that_fits_the_buffers(
    lan: Segment, nic: Nic, tasks: TaskKeeper
) -> None:
    cable = lan._ports[0]._cable  # type: ignore[attr-defined]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((lan.bridge, 0))
        for number in range(60):  # the pump's turn comes only after the loop: it must wait
            raw.send(frame(struct.pack("!H", number) + bytes(500)))
    for number in range(60):
        found = await nic.receive(lambda data: data[12:14] == b"\x88\xb5")
        assert found[14:16] == struct.pack("!H", number)
    assert cable.lost == 0


@pytest.mark.parametrize("kind", [SegmentKind.WIRE])
@on_segment
async def test_a_machine_that_does_not_read_costs_nothing(
    lan: Segment, nic: Nic, tasks: TaskKeeper
) -> None:
    cable = lan._ports[0]._cable  # type: ignore[attr-defined]
    tries = 0
    really = cable._to_machine

    def counted(frame: bytes) -> bool:
        nonlocal tries
        tries += 1
        return bool(really(frame))

    cable._to_machine = counted
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((lan.bridge, 0))
        sent = 0
        while len(cable._waiting) < wire.QUEUE_FRAMES:
            raw.send(frame(bytes(1000)))
            sent += 1
            await asyncio.sleep(0)
        for _ in range(100):
            raw.send(frame(bytes(1000)))
            await asyncio.sleep(0)
    assert len(cable._waiting) <= wire.QUEUE_FRAMES
    before = tries
    for _ in range(1000):
        await asyncio.sleep(0)
    assert tries <= before + 2
    taken = 0
    while taken < sent + 100:  # room was made: the pump goes on by itself
        await nic.receive(lambda data: data[12:14] == b"\x88\xb5")
        taken += 1


@in_own_network
async def test_a_bug_in_the_pump_fails_the_lab(tmp_path: Path) -> None:
    tasks = TaskKeeper()
    lan = Segment(timeline=Timeline(None), tasks=tasks, kind=SegmentKind.WIRE, private_dir=tmp_path)
    await lan.start()
    port = await lan.plug_in("m1")
    assert isinstance(port, segment.WirePort)
    await port.ready()
    port._cable._to_machine = None  # type: ignore[method-assign, assignment]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((lan.bridge, 0))
        raw.send(frame(b"x" * 50))
    with pytest.raises(ServiceCrashed, match="cable port0 crashed: TypeError"):
        await asyncio.wait_for(tasks.failure, 10)
    await lan.stop()


def test_without_tun_the_wire_is_for_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(netlink, "TUN_DEVICE", str(tmp_path / "tun"))
    assert segment.choose(SegmentKind.WIRE).kind is SegmentKind.WIRE
    with pytest.raises(HostUnfit, match="tun: No such file") as unasked:
        segment.choose()
    assert "segment: wire" in str(unasked.value.hint)
    with pytest.raises(HostUnfit, match="tun: No such file") as caught:
        segment.check(SegmentKind.BRIDGE)
    assert "modprobe tun" in str(caught.value.hint)
    assert segment.choose(SegmentKind.WIRE).kind is SegmentKind.WIRE


@in_own_network
async def test_a_bridge_that_exists_is_a_clear_error(tmp_path: Path) -> None:
    with netlink.Netlink() as kernel:
        kernel.add_bridge(segment.BRIDGE, "02:00:00:00:00:01")
    lan = Segment(timeline=Timeline(None), tasks=TaskKeeper(), private_dir=tmp_path)
    with pytest.raises(SetupFailed, match="hook0 can't be made: File exists"):
        await lan.start()


@in_own_network
def test_queues_are_lengthened_where_the_kernel_lets_us() -> None:
    wire.lengthen_queues()
    path = Path("/proc/sys/net/unix/max_dgram_qlen")
    if path.exists() and os.access(path, os.W_OK):
        assert int(path.read_text()) == 1024


def test_a_tun_that_this_user_may_not_open_means_the_wire(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tun").mkdir()  # opens for writing for nobody, root included
    monkeypatch.setattr(netlink, "TUN_DEVICE", str(tmp_path / "tun"))
    choice = segment.choose()
    assert choice.kind is SegmentKind.WIRE
    assert choice.because == f"{tmp_path / 'tun'}: Is a directory"


class Tamperer:
    """Loses every second frame, and holds back those of 100 octets."""

    def __init__(self) -> None:
        self.count = 0
        self.held: list[tuple[float, bytes, bool]] = []

    def frame(self, frame: bytes, *, to_machine: bool, now: float) -> list[bytes]:
        if frame[12:14] != struct.pack("!H", ETHERTYPE):
            return [frame]
        if len(frame) == 100:
            self.held.append((now + 0.05, frame, to_machine))
            return []
        self.count += 1
        return [frame] * (self.count % 2)

    @property
    def next_due_s(self) -> float | None:
        return self.held[0][0] if self.held else None

    def due(self, now: float) -> list[tuple[bytes, bool]]:
        going = [(frame, way) for at, frame, way in self.held if at <= now]
        self.held = [held for held in self.held if held[0] > now]
        return going


@in_own_network
async def test_a_tamperer_decides_about_every_frame_of_its_cable(tmp_path: Path) -> None:
    tasks = TaskKeeper()
    lan = Segment(timeline=Timeline(None), tasks=tasks, kind=SegmentKind.WIRE, private_dir=tmp_path)
    await lan.start()
    port = await lan.plug_in("m1", tamperer=Tamperer())
    nic = Nic(port, tmp_path)
    await asyncio.wait_for(port.ready(), 20)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as raw:
        raw.bind((lan.bridge, ETHERTYPE))
        raw.setblocking(False)
        late = frame(b"l" * 86)
        sent = [late, *(frame(bytes([number]) * 60) for number in range(4))]

        def ours(data: bytes) -> bool:
            return data[12:14] == struct.pack("!H", ETHERTYPE)

        for each in sent:
            raw.send(each)
        for expected in (sent[1], sent[3], late):
            assert await asyncio.wait_for(nic.receive(ours), 20) == expected
        for each in sent:
            nic.send(each)
        loop = asyncio.get_running_loop()
        for expected in (sent[1], sent[3], late):
            assert await asyncio.wait_for(loop.sock_recv(raw, 2000), 20) == expected
    await lan.stop()
    await tasks.close()
