"""Faults of cable, port and machine, done to a real QEMU whose firmware looks for DHCP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.documents import load
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
from harness.lab_faults import Hands
from harness.machine.devices import Nic
from harness.machine.disks import create_disk
from harness.machine.firmware import Firmware
from harness.machine.machine import Machine
from harness.machine.qemu import MachineSpec
from harness.net.segment import Segment, SegmentKind
from harness.net.tests.namespace import in_own_network
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named

pytestmark = pytest.mark.machine

MAC = "52:54:00:ab:cd:01"
PATIENCE = timedelta(seconds=60)


@dataclass
class Bench:
    """A machine on a segment, faults, and a DHCP server that only listens."""

    timeline: Timeline
    tasks: TaskKeeper
    plan: FaultPlan
    machine: Machine
    server: socket.socket

    async def discover(self) -> float:
        """Return when the first DISCOVER came, in seconds of the run."""
        data = await self.tasks.race(
            asyncio.get_running_loop().sock_recv(self.server, 2000),
            Deadline.after(PATIENCE),
            waiting_for="DISCOVER",
        )
        assert data[28:34].hex(":") == MAC
        return self.timeline.clock.now()

    async def event(self, name: str) -> float:
        """Return when an event came."""
        event = await self.tasks.race(
            self.timeline.wait_for(lambda event: event.name == name),
            Deadline.after(PATIENCE),
            waiting_for=name,
        )
        return event.t

    async def ask(self, command: str) -> str:
        """Return what QEMU's human monitor answers."""
        return await self.machine.monitor.said(command)


@asynccontextmanager
async def bench(folder: Path, *texts: str) -> AsyncIterator[Bench]:
    timeline, tasks = Timeline(None), TaskKeeper()
    faults = [FaultReader(load(text).data).read() for text in texts]
    plan = FaultPlan(
        [fault for fault in faults if fault],
        record=partial(timeline.record, "faults"),
        now=timeline.clock.now,
        phase=lambda: hands.phase,
    )
    hands = Hands(plan, timeline=timeline, tasks=tasks)
    lan = Segment(timeline=timeline, tasks=tasks, kind=SegmentKind.WIRE, private_dir=folder)
    await lan.start()
    port = await lan.plug_in("m1", tamperer=hands.cable(MAC))
    spec = MachineSpec(
        name="m1",
        firmware=Firmware.BIOS,
        accel="tcg",
        nics=[Nic(mac=MAC, netdev=port.netdev("net0"), bootindex=1)],
        disks=[create_disk(folder / "vda.img", 4 << 20)],
        memory_mib=256,
    )
    machine = Machine(
        spec=hands.shape(spec),
        run_dir=folder,
        private_dir=folder,
        timeline=timeline,
        tasks=tasks,
    )
    hands.take(machine)
    await machine.start()
    await tasks.race(port.ready(), Deadline.after(PATIENCE), waiting_for="the port")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, lan.bridge.encode())
        server.bind(("", 67))
        server.setblocking(False)
        try:
            yield Bench(timeline, tasks, plan, machine, server)
        finally:
            hands.rest()
            await machine.power_off()
            await lan.stop()
            await tasks.close()


@in_own_network
async def test_without_a_carrier_nothing_is_sent_until_it_returns(tmp_path: Path) -> None:
    async with bench(tmp_path, "{at: link, do: {down: 6 s}}") as made:
        await made.machine.power_on()
        lost = await made.event("link.lost")
        came = await made.discover()
        restored = await made.event("link.restored")
    assert lost < restored < came
    assert 6 <= restored - lost < 9
    assert made.plan.finish() == []


@in_own_network
async def test_a_port_that_is_blocked_loses_frames_and_then_forwards(tmp_path: Path) -> None:
    async with bench(tmp_path, "{at: link, when: {by: firmware}, do: {block: 8 s}}") as made:
        await made.machine.power_on()
        await made.discover()
        (blocked,) = named(made.timeline, "link.blocked")
        (forwarding,) = named(made.timeline, "link.forwarding")
        await made.machine.reset()  # which the port takes for another link-up
        await made.event("machine.reset")
        assert len(named(made.timeline, "link.blocked")) == 2
    assert forwarding["lost_frames"] >= 1
    assert 8 <= forwarding.t - blocked.t < 11
    assert made.plan.unfired() == []


@in_own_network
async def test_frames_on_the_wire_are_struck_and_counted(tmp_path: Path) -> None:
    fault = "{at: wire, when: {direction: from machine, destination port: 67, first: 1}, do: drop}"
    never = "{at: link, when: {after: 10 min}, do: down}"
    async with bench(tmp_path, fault, never) as made:
        await made.machine.power_on()
        came = await made.discover()
        (fired,) = named(made.timeline, "fault.fired")
        assert fired.t + 0.5 < came  # it is the second DISCOVER that came
        assert fired["mac"] == MAC
        assert fired["facts"]["source"] == "0.0.0.0"
        (sentence,) = made.plan.finish()
    assert "at link when {after: 10 min} do down never fired" in sentence


@in_own_network
async def test_a_machine_is_put_together_as_the_faults_say(tmp_path: Path) -> None:
    faults = (
        "{at: machine, do: {clock: 1999-12-31}}",
        "{at: machine, do: {memory: 128 MiB}}",
        "{at: machine, do: {nic: pcnet}}",
        "{at: machine, do: {broken: {what: write, at: 1 MiB}}}",
    )
    async with bench(tmp_path, *faults) as made:
        assert made.plan.unfired() == []
        assert "pcnet" in await made.ask("info network")
        memory = await made.machine.monitor.execute("query-memory-size-summary")
        assert memory["base-memory"] == 128 << 20
        date = await made.machine.monitor.execute("qom-get", path="/machine", property="rtc-time")
        assert (date["tm_year"], date["tm_mon"], date["tm_mday"]) == (99, 11, 31)
        for what in ("write 1M", "write 2M", "read 1M"):
            await made.ask(f'qemu-io disk0 "{what} 512"')
    said = made.machine.last_lines()  # qemu-io writes where QEMU does, once that ends
    wanted = ("write failed: Input/output error", "wrote 512/512", "read 512/512")
    assert [text for text in wanted if any(text in line for line in said)] == list(wanted)


@in_own_network
async def test_a_machine_without_its_network_card_says_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, "{at: machine, do: {nic: absent}}") as made:
        await made.machine.power_on()
        await made.tasks.race(
            made.timeline.wait_for(lambda event: "No bootable" in event.get("text", "")),
            Deadline.after(PATIENCE),
            waiting_for="the firmware's last words",
        )
        with pytest.raises(BlockingIOError):
            made.server.recv(2000)


@in_own_network
async def test_power_and_cpu_are_somebodys_to_play_with(tmp_path: Path) -> None:
    faults = (
        "{at: machine, when: {after: 500 ms}, do: {pause: 1 s}}",
        "{at: machine, when: {after: 2 s}, do: {power: {what: cycle}}}",
        "{at: machine, when: {event: machine.reset, nth: 1}, do: {slow: 100 KiB}}",
        "{at: machine, when: {after: 5 s}, do: {power: cut}}",
    )
    async with bench(tmp_path, *faults) as made:
        await made.machine.power_on()
        await made.event("machine.reset")
        await made.event("machine.exited")
        assert made.plan.unfired() == []
        seen = [(event["event"], event.t) for event in named(made.timeline, "qmp.event.seen")]
        turns = [(name, t) for name, t in seen if name in ("STOP", "RESUME")]
        names = ["RESUME", "STOP", "RESUME", "STOP", "RESUME"]  # power-on, pause, cycle
        assert [name for name, _ in turns[:5]] == names
        for stopped, resumed in ((1, 2), (3, 4)):
            assert 1 <= turns[resumed][1] - turns[stopped][1] < 3
        assert not made.tasks.failure.done()
