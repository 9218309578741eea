"""The hands that do the faults no server can: to the cable, the switch's port and the machine.

They follow the timeline like anybody, tell the fault plan what happened and do the deeds it answers
with. What a switch would log of its port is told as ``link.…`` events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import MonitorLost
from harness.facts import is_boot_program, is_initramfs
from harness.faults.deeds import Block, Deed, Down, Pause, Power, Slow
from harness.faults.frames import FrameTampering
from harness.faults.moments import EVENT, MOMENT, event_facts
from harness.faults.places.hook import INITRAMFS
from harness.faults.places.hook import PLACE as HOOK
from harness.faults.places.link import PLACE as LINK
from harness.faults.places.link import UP
from harness.faults.places.machine import ASSEMBLY
from harness.faults.places.machine import PLACE as MACHINE
from harness.faults.plan import FaultPlan
from harness.machine.faulty import shaped
from harness.machine.machine import Machine
from harness.machine.qemu import MachineSpec
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline
from harness.verdict import PhaseTracker

_SOURCE: Final = "switch"
_BOOT_PROGRAM: Final = {"tftp.transfer.finished": "file", "http.response.finished": "path"}
"""Event → field that names what was fetched."""


@dataclass(slots=True, kw_only=True)
class _PortState:
    """The switch's port of one NIC."""

    blocks: int = 0
    """Faults that block it now."""
    lost: int = 0
    """Frames it did not forward since it was blocked."""
    cuts: int = 0
    """Faults that have its carrier down now."""

    def forwards(self) -> bool:
        """Say whether a frame passes; it is asked about each."""
        if self.blocks:
            self.lost += 1
        return not self.blocks


class Hands:
    """Do what a run's faults say at the places ``wire``, ``link`` and ``machine``."""

    def __init__(self, plan: FaultPlan, *, timeline: Timeline, tasks: TaskKeeper) -> None:
        self._plan = plan
        self._timeline = timeline
        self._tasks = tasks
        self._phases = PhaseTracker()
        self._strikes = [plan.at(place.name) for place in (LINK, MACHINE)]
        self._assembly = plan.at(MACHINE.name)
        self._hook = plan.at(HOOK.name)
        self._ports: dict[str, _PortState] = {}
        self._machine: Machine | None = None
        self._alarms: list[asyncio.TimerHandle] = []
        self._unsubscribe: Callable[[], None] = lambda: None

    @property
    def phase(self) -> str:
        """The machine's phase."""
        return self._phases.phase.value

    def cable(self, mac: str) -> FrameTampering | None:
        """Return what is to be done to the frames of a NIC; None: nothing ever."""
        self._ports[mac] = port = _PortState()
        if not any(fault.needs_frames for fault in self._plan.faults):
            return None
        return FrameTampering(self._plan.at("wire"), mac=mac, is_open=port.forwards)

    def shape(self, spec: MachineSpec) -> MachineSpec:
        """Return ``spec`` as faults of the machine's parts have it."""
        struck = [(nic.mac, self._assembly(ASSEMBLY, mac=nic.mac)) for nic in spec.nics]
        return shaped(spec, [(mac, deed) for mac, deeds in struck for deed in deeds])

    def take(self, machine: Machine) -> None:
        """Work on ``machine``, and follow the run from now on."""
        self._machine = machine
        if self._plan.faults:
            self._unsubscribe = self._timeline.subscribe(self._follow)

    def remember(self, events: Iterable[Event]) -> None:
        """Know what happened in the lab that this one goes on from; do nothing about it."""
        for event in events:
            self._phases.feed(event)
            if event.name == "machine.powered_on":
                self._plan.begin(at_s=event.t)
        self._set_alarms()

    def rest(self) -> None:
        """Do nothing from now on, whatever happens. Idempotent."""
        self._unsubscribe()
        alarms, self._alarms = self._alarms, []
        for alarm in alarms:
            alarm.cancel()

    # -- what happens

    def _follow(self, event: Event) -> None:
        before = self.phase
        self._phases.feed(event)
        if event.name == "machine.powered_on":
            self._plan.begin()
            self._moment()
            self._set_alarms()
        elif self.phase != before:
            self._moment()
        facts = event_facts(event.name, event.fields)
        if facts is None:
            return
        self._strike(EVENT, **facts)
        if _has_initramfs(event):
            self._hook(INITRAMFS, mac=event.get("mac"))
        if driver := _brought_up(event):
            self._strike(UP, by=driver)

    def _set_alarms(self) -> None:
        loop = asyncio.get_running_loop()
        for fault in self._plan.faults:
            if fault.occasion == MOMENT and fault.after_s:
                # A little late: the plan's clock must not say that the time has not come.
                after_s = max(0.0, fault.after_s - self._plan.elapsed_s) + 0.001
                self._alarms.append(loop.call_later(after_s, self._moment))

    def _moment(self) -> None:
        self._strike(MOMENT)

    def _strike(self, occasion: str, /, *, only: str | None = None, **facts: Any) -> None:
        for mac in (only,) if only else tuple(self._ports):
            for strike in self._strikes:
                for deed in strike(occasion, mac=mac, **facts):
                    self._do(mac, deed)

    # -- what is done

    def _do(self, mac: str, deed: Deed) -> None:
        assert self._machine is not None
        match deed:
            case Down():
                self._spawn(self._take_down(mac, deed), "the link is down")
            case Block(seconds=seconds):
                self._block(mac, seconds)
            case Power():
                self._spawn(self._power(self._machine, deed), "power")
            case Pause(seconds=seconds):
                self._spawn(self._pause(self._machine, seconds), "the CPU pauses")
            case Slow():
                self._spawn(self._slow(self._machine, deed), "a slow disk")

    def _spawn(self, doing: Coroutine[Any, Any, None], name: str) -> None:
        async def while_it_runs() -> None:
            with contextlib.suppress(MonitorLost):  # the machine is gone: nothing is left to do
                await doing

        self._tasks.spawn(while_it_runs(), name=f"fault: {name}")

    async def _power(self, machine: Machine, deed: Power) -> None:
        match deed.what:
            case "cut":
                self._timeline.record(machine.name, "machine.power.lost", machine=machine.name)
                await machine.power_off()
            case "reset":
                await machine.reset()
            case _:
                await machine.monitor.execute("stop")
                await machine.reset()
                await asyncio.sleep(deed.seconds)
                await machine.monitor.execute("cont")

    async def _pause(self, machine: Machine, seconds: float) -> None:
        await machine.monitor.execute("stop")
        if seconds:
            await asyncio.sleep(seconds)
            await machine.monitor.execute("cont")

    async def _slow(self, machine: Machine, deed: Slow) -> None:
        names = [disk.path.stem for disk in machine.spec.disks]
        await machine.monitor.execute(
            "block_set_io_throttle",
            device=f"disk{names.index(deed.disk)}",
            bps=deed.octets_per_s,
            iops=deed.operations_per_s,
            **dict.fromkeys(("bps_rd", "bps_wr", "iops_rd", "iops_wr"), 0),
        )

    def _block(self, mac: str, seconds: float) -> None:
        port = self._ports[mac]
        port.blocks += 1
        if port.blocks == 1:
            port.lost = 0
            self._timeline.record(_SOURCE, "link.blocked", mac=mac)
        began_s = self._timeline.clock.now()

        def forward() -> None:
            port.blocks -= 1
            if not port.blocks:
                self._timeline.record(
                    _SOURCE,
                    "link.forwarding",
                    mac=mac,
                    duration_s=round(self._timeline.clock.now() - began_s, 3),
                    lost_frames=port.lost,
                )

        if seconds:
            self._later(seconds, forward)

    def _later(self, seconds: float, then: Callable[[], None]) -> None:
        self._alarms.append(asyncio.get_running_loop().call_later(seconds, then))

    async def _take_down(self, mac: str, deed: Down) -> None:
        for number in range(deed.times):
            if number:
                await asyncio.sleep(deed.up)
            began_s = self._timeline.clock.now()
            await self._carrier(mac, +1, began_s)
            if not deed.seconds:
                return
            await asyncio.sleep(deed.seconds)
            await self._carrier(mac, -1, began_s)

    async def _carrier(self, mac: str, cut: int, began_s: float) -> None:
        """Let one more, or one less, fault have the carrier down."""
        assert self._machine is not None
        port = self._ports[mac]
        was, port.cuts = port.cuts, port.cuts + cut
        if bool(was) == bool(port.cuts):
            return
        await self._machine.set_link(mac, up=not port.cuts)
        if port.cuts:
            self._timeline.record(_SOURCE, "link.lost", mac=mac)
        else:
            lasted = round(self._timeline.clock.now() - began_s, 3)
            self._timeline.record(_SOURCE, "link.restored", mac=mac, duration_s=lasted)
            self._strike(UP, by="carrier", only=mac)


def _brought_up(event: Event) -> str | None:
    """Return which driver takes the NIC after ``event``."""
    if event.name in ("machine.powered_on", "machine.reset"):
        return "firmware"
    if event.name == "guest.kernel.started":
        return "kernel"
    field = _BOOT_PROGRAM.get(event.name)
    if field and event.get("status", 200) < 300 and is_boot_program(str(event.get(field, ""))):
        return "ipxe"
    return None


def _has_initramfs(event: Event) -> bool:
    """Whether a machine has fetched all of an initramfs by ``event``."""
    return (
        event.name == "http.response.finished"
        and event.get("status", 200) < 300
        and is_initramfs(str(event.get("path", "")))
    )
