"""The composition root: what a lab is made of, in which order it comes up, what a run waits for.

A ``Lab`` is everything one machine meets, built from one brief: segment, capture, services,
Tinkerbell's server, the machine itself. It lives inside the seal, in one asyncio process. Only it
and the two it hands work to construct things: ``harness.lab_services`` makes the services,
``harness.lab_machine`` the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from socket import if_nametoindex, socket
from typing import Any, Final

from fake_tink_server.server import TinkServer
from harness.brief import Brief
from harness.checkpoint.points import Point, ports
from harness.clock import Clock, Deadline
from harness.errors import ExpectationFailed, LabError
from harness.facts import workflow_state
from harness.faults.plan import FaultPlan
from harness.host.pace import MOST_STRETCH, Pace
from harness.lab_checkpoints import Builds, CheckpointRefused, Parts, Saver
from harness.lab_dossier import DossierTaker
from harness.lab_faults import Hands
from harness.lab_machine import insert_medium, make_machine
from harness.lab_pace import PaceTeller
from harness.lab_parts import RegistryPart, TinkPart
from harness.lab_resumption import FirstSyn, Resumption
from harness.lab_services import Surroundings
from harness.lookout import until_decided
from harness.machine.devices import Disk
from harness.machine.machine import Machine
from harness.net import netlink
from harness.net.capture import Capture
from harness.net.segment import Segment, SegmentKind, choose
from harness.scenario.disks import check_disk, disk_expectations
from harness.scenario.expectations import check_expectations
from harness.scenario.item import Item
from harness.seal import PRIVATE_DIR, RAM_DIR
from harness.services import Numbers, Service
from harness.services.http import HttpService
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline
from harness.verdict import Watch
from harness.wire.generation import GENERATIONS

_PORT_READY: Final = timedelta(seconds=20)
_MEDIUM_READ: Final = timedelta(minutes=2)
_HTTP_SERVER: Final = "harness.services.http_server"
_DISK_BOOTED: Final = "guest.disk.booted"
_STOP_STEP: Final = timedelta(seconds=5)
"""How long one part of the lab may take to stop."""


class Lab:
    """One sealed lab. Use as ``async with Lab(brief, run_dir=…, timeline=…) as lab``.

    Entering brings up everything but the machine's power. Leaving takes it all down in reverse;
    each step is bounded, and a step that fails does not hide what failed first.
    """

    machine: Machine
    tink: TinkPart
    registry: RegistryPart
    segment: Segment
    disks: Mapping[str, Disk]

    def __init__(
        self,
        brief: Brief,
        *,
        run_dir: Path,
        timeline: Timeline,
        resumption: Resumption | None = None,
        builds: Builds | None = None,
    ) -> None:
        """Make what ``brief`` says; ``builds`` are the checkpoints to build on the way.

        With a ``resumption`` the machine has a past, and ``resume`` lets it go on.
        """
        self._brief = brief
        self._resumption = resumption
        self._builds = builds
        self.item: Item = brief.item
        self.run_dir = run_dir
        self.timeline = timeline
        self.tasks = TaskKeeper()
        self.services: dict[str, Service] = {}
        self.faults = FaultPlan(
            self.item.faults,
            record=partial(timeline.record, "faults"),
            now=timeline.clock.now,
            seed=self.item.seed,
            phase=lambda: self._hands.phase,
        )
        self._hands = Hands(self.faults, timeline=timeline, tasks=self.tasks)
        self.pace = Pace(factor=brief.host.factor if brief.host else 1.0, run=timeline.clock.now)
        self._pace_teller = PaceTeller(self.pace, timeline)
        self._let_go_s = 0.0
        self._stack = AsyncExitStack()

    @property
    def resumed(self) -> bool:
        """Whether it goes on from a checkpoint."""
        return self._resumption is not None

    @property
    def clock(self) -> Clock:
        """The run's clock."""
        return self.timeline.clock

    # -- up and down

    async def __aenter__(self) -> Lab:
        began_s = self.clock.now()
        if self._resumption:
            self._resumption.turn_back(self.clock)
        try:
            self._stack.push_async_callback(self._bounded, "tasks", self.tasks.close)
            self.timeline.on_write_error(self.tasks.fail)
            self._tell_host()
            self.tasks.spawn(self._pace_teller.run(), name="pace")
            await self._bring_up()
        except BaseException:
            await self._stack.aclose()
            raise
        self.timeline.record("lab", "lab.started", duration_s=round(self.clock.now() - began_s, 3))
        return self

    async def __aexit__(self, *_: object) -> None:
        began_s = self.clock.now()
        self._hands.rest()
        self.faults.finish()
        self._pace_teller.tell()
        await self._stack.aclose()
        self.timeline.record("lab", "lab.stopped", duration_s=round(self.clock.now() - began_s, 3))

    async def _bring_up(self) -> None:
        network = self.item.network
        self._ram = (
            await self._stack.enter_async_context(self._resumption.unpack(RAM_DIR))
            if self._resumption
            else None
        )
        wanted = None if self.item.segment == "auto" else SegmentKind(self.item.segment)
        self.segment = Segment(
            timeline=self.timeline,
            tasks=self.tasks,
            address=f"{network.server}/{network.prefix_length}",
            kind=choose(wanted).kind,
            private_dir=PRIVATE_DIR,
            more_addresses=(
                [f"{network.addresses}/{network.prefix_length}"] if network.addresses else []
            ),
        )
        await self._start("segment", self.segment)
        self.capture = Capture(
            timeline=self.timeline,
            tasks=self.tasks,
            interface=self.segment.bridge,
            path=self.run_dir / "capture.pcapng",
        )
        made = await make_machine(
            self.item,
            run_dir=self.run_dir,
            timeline=self.timeline,
            tasks=self.tasks,
            segment=self.segment,
            hands=self._hands,
            resumption=self._resumption,
            ram=self._ram,
        )
        self.machine, self.disks = made.machine, made.disks
        self._hands.take(self.machine)
        self._stack.callback(self._hands.rest)
        self._stack.push_async_callback(self._bounded, "machine", self.machine.power_off)
        # QEMU and the recorder take their time on the other core while the services come up.
        starting = [
            self.tasks.spawn(self._start_capture(), name="start of the capture"),
            self.tasks.spawn(self._start_machine(), name="start of QEMU"),
        ]
        # When the lab can't come up, nothing may start any more behind what is stopped.
        self._stack.push_async_callback(_end, starting)
        # They begin at once: 0.2 s of imports would hold them up if they were the loop's.
        await asyncio.to_thread(import_module, _HTTP_SERVER)
        around = Surroundings(
            self._brief,
            run_dir=self.run_dir,
            timeline=self.timeline,
            tasks=self.tasks,
            interface=self.segment.bridge,
            faults=self.faults,
            authority=self._resumption.authority() if self._resumption else None,
        )
        for service in around.make_services():
            self.services[service.name] = service
            await self._start(service.name, service)
        self.registry = around.registry
        self.tink = TinkPart(
            around.make_tink,
            timeline=self.timeline,
            tasks=self.tasks,
            patience=timedelta(seconds=self.item.deadline_s),
            deadline=self.pace.deadline,
        )
        await self._start("tink", self.tink)
        await asyncio.gather(*starting)
        # A bridge drops what is sent before the kernel told it of the new carrier.
        deadline = self.pace.deadline(_PORT_READY)
        for port in made.ports:
            await self.tasks.race(port.ready(), deadline, waiting_for="the machine's port")
        if self.item.iso is not None:
            await insert_medium(
                self.item.iso,
                self.machine,
                server=f"{network.server}:{GENERATIONS[self.item.generation].http}",
                timeline=self.timeline,
                tasks=self.tasks,
                deadline=self.pace.deadline,
            )

        self.saver = Saver(
            self._builds,
            Parts(
                item=self.item,
                run_dir=self.run_dir,
                timeline=self.timeline,
                tasks=self.tasks,
                machine=self.machine,
                capture=self.capture,
                interface=self.segment.bridge,
                disks=self.disks,
                services=list(self.services.values()),
                listeners=self._listeners,
                passed_s=self._passed_s,
                authority=lambda: around.authority,
            ),
        )
        self._stack.push_async_callback(self.saver.close)

    def _passed_s(self) -> float:
        """Return how much of the deadline has passed: since power-on, perhaps in another run."""
        before_s = self._resumption.passed_s if self._resumption else 0.0
        return before_s + self.pace.now() - self._let_go_s

    def _listeners(self, point: Point) -> list[socket]:
        """Return the sockets that a point's SYN may go to."""
        services = [self.tink.server, *self.services.values()]
        found = [
            each.listener
            for each in services
            if isinstance(each, TinkServer | HttpService | RegistryService)
            and each.port in ports(self.item, point)
        ]
        return [listener for listener in found if listener is not None]

    async def _start_capture(self) -> None:
        if self._resumption:
            await asyncio.to_thread(self._resumption.lay_out_capture, self.run_dir)
        await self._start("capture", self.capture)

    async def _start_machine(self) -> None:
        if self._resumption:
            await self._resumption.load(self.machine, timeline=self.timeline, tasks=self.tasks)
        else:
            await self.machine.start()

    async def power_on(self) -> None:
        """Let the machine's CPU go for the first time; one that was resumed goes on already."""
        self.about_to_power_on()
        await self.machine.power_on()

    def about_to_power_on(self) -> None:
        """Count the deadline from now, and save at the points that the machine will come by."""
        if not self.resumed:
            self.saver.begin()
            self._let_go_s = self.pace.now()

    async def resume(self) -> None:
        """Let the machine go on from its checkpoint, the run's clock and story with it.

        Return once it was heard of. Raises ``CheckpointRefused`` when it is not.
        """
        resumed = self._resumption
        assert resumed is not None
        so_far, written = self.timeline.events, self.timeline.written
        events = resumed.events(so_far, pid=self.machine.pid, written=written)
        self.clock.hold(resumed.t, started_at=resumed.started_at)
        try:
            self.timeline.replace(events)
            self._hands.remember(events)
            for name, count in resumed.meta["numbers"].items():
                if isinstance(service := self.services.get(name), Numbers):
                    service.numbered = count
            with netlink.Netlink() as kernel:
                for address, mac in resumed.meta["neighbours"].items():
                    kernel.add_neighbour(if_nametoindex(self.segment.bridge), address, mac)
            first = FirstSyn(self.segment.bridge, frozenset({int(resumed.meta["port"])}))
        except OSError as error:
            raise CheckpointRefused(f"the lab can't go on: {error}") from error
        try:
            self.saver.begin()
            resumed.record(self.timeline)
            self.clock.go_on()
            self._let_go_s = self.pace.now()
            await self.machine.let_go()
            self.capture.follow_clock()
            await first.wait(self.tasks, deadline=self.pace.deadline)
        finally:
            first.close()

    def _tell_host(self) -> None:
        """Record what the deadline comes to here, and how long each phase usually takes."""
        host, deadline_s = self._brief.host, self.item.deadline_s * self.pace.factor
        if host is not None:
            self.timeline.record(
                "host",
                "host.calibrated",
                accel=self.item.accel,
                cpu_ratio=host.cpu_ratio,
                disk_mb_s=host.disk_mb_s,
                factor=self.pace.factor,
                deadline_s=deadline_s,
                latest_s=deadline_s * MOST_STRETCH,
            )
        if self._brief.budgets:
            self.timeline.record("host", "run.budgeted", phases=self._brief.budgets)

    async def _start(self, name: str, part: Service | Segment | Capture | TinkPart) -> None:
        self._stack.push_async_callback(self._bounded, name, part.stop)
        await part.start()

    async def _bounded(self, name: str, stop: Callable[[], Awaitable[None]]) -> None:
        """Run one step of taking the lab down; record its failure instead of raising it."""
        try:
            async with asyncio.timeout(_STOP_STEP.total_seconds()):
                await stop()
        except (LabError, OSError, TimeoutError) as error:
            self.timeline.record("lab", "service.crashed", service=name, error=repr(error))

    # -- what a run does

    async def run_to_end(self) -> None:
        """Wait until the run is decided: every workflow is terminal, or nothing is left to expect.

        Raises ``Decided`` when no later event can save it, ``DeadlineExpired`` at the scenario's
        deadline, ``HostTooSlow`` when that was stretched as far as it goes, or at once what failed
        the lab.
        """
        left_s = max(0.0, self.item.deadline_s - self._passed_s())
        deadline = self.pace.deadline(timedelta(seconds=left_s))
        if self._awaits_disk:
            self.timeline.record("run", "run.awaits.disk")
        watch = Watch(
            deadline_s=self.item.deadline_s,
            workflow=bool(self.tink.server.engine.workflows),
            disk=any(disk.boots for disk in self.item.disks),
            ways=sum(nic.place is not None for nic in self.item.nics) + (self.item.iso is not None),
        )
        watching = self.tasks.spawn(
            until_decided(watch, self.timeline, self.faults.unsettled, now=self.pace.now),
            name="watch",
        )
        try:
            await self._until_over(watch, deadline)
        finally:
            watching.cancel()

    async def _until_over(self, watch: Watch, deadline: Deadline) -> None:
        if self.tink.server.engine.workflows:
            await self.wait_for_workflow(deadline=deadline)
            if self._awaits_disk and workflow_state(self.timeline.events) == "SUCCESS":
                await self.tasks.race(
                    self.timeline.wait_for(partial(_is_named, _DISK_BOOTED)),
                    deadline,
                    waiting_for="the first boot from disk",
                )
        else:
            await self.tasks.race(
                self._until_expectations_hold(), deadline, waiting_for="what the scenario expects"
            )
            if self.item.expected_verdict is None:
                self.timeline.record("run", "expectations.met")
                return
            # It is to fail, and has not yet: the watch tells when it has.
            watch.expect_nothing_more()
            await self.tasks.race(
                asyncio.Event().wait(), deadline, waiting_for="the failure that is expected"
            )

    @property
    def _awaits_disk(self) -> bool:
        """Whether the run goes on, after its workflow, to what the workflow installed."""
        return bool(self.tink.server.engine.workflows) and any(
            each.key == "event" and each.value.get("name") == _DISK_BOOTED
            for each in self.item.expectations
        )

    async def _until_expectations_hold(self) -> None:
        """Return once every event and console line that is expected was seen, in any order."""
        waited = [each for each in self.item.expectations if each.key in ("event", "console")]
        for expectation in waited:
            one = replace(self.item, expectations=(expectation,))
            name = (
                "console.line.seen"
                if expectation.key == "console"
                else str(expectation.value["name"])
            )
            while not check_expectations(one, self.timeline.events)[0].met:
                seen = len(self.timeline.events)
                await self.timeline.wait_for(partial(_is_named, name), since=seen)

    async def wait_for(
        self,
        name: str,
        /,
        *,
        after: Event | None = None,
        within: timedelta | None = None,
        **fields: Any,
    ) -> Event:
        """Return the first event ``name`` whose fields have the given values.

        It may have been long ago, but not before ``after``. ``within`` defaults to the scenario's
        deadline. Raises ``DeadlineExpired``.
        """
        limit = within or timedelta(seconds=self.item.deadline_s)
        wanted = f"{name} {fields}" if fields else name
        return await self.tasks.race(
            self.timeline.wait_for(
                lambda event: (
                    event.name == name
                    and all(event.get(key) == value for key, value in fields.items())
                ),
                since=after.seq if after else 0,
            ),
            self.pace.deadline(limit),
            waiting_for=wanted,
        )

    async def wait_for_workflow(
        self, state: str | None = None, *, deadline: Deadline | None = None
    ) -> None:
        """Return once every workflow is terminal; with ``state`` (``SUCCESS``), as that.

        Raises ``DeadlineExpired``, and ``ExpectationFailed`` when one ended otherwise.
        """
        ended = await self.tasks.race(
            self.tink.wait_until_finished(),
            deadline or self.pace.deadline(timedelta(seconds=self.item.deadline_s)),
            waiting_for="the workflow's end",
        )
        for name, found in ended.items():
            if state is not None and found != state:
                raise ExpectationFailed(f"workflow {name}: expected {state}, found {found}")

    async def take_dossier(self, reason: str) -> None:
        """Look at everything once, before it is taken down; within five seconds."""
        taker = DossierTaker(
            self.machine, run_dir=self.run_dir, timeline=self.timeline, states=self._states
        )
        await taker.take(reason)

    def _states(self) -> dict[str, Any]:
        workflows = self.tink.server.engine.workflows.values()
        return {
            "tink": {
                each.id: {
                    "state": str(each.state),
                    "actions": {action.name: str(action.state) for _, action in each.actions},
                }
                for each in workflows
            },
            "tasks": sorted(task.get_name() for task in asyncio.all_tasks()),
        }

    async def check_disks(self) -> None:
        """Record how the disks were used, and how they compare with what the scenario expects."""
        for use in await self.machine.disk_use():
            self.timeline.record("machine", "disk.measured", **asdict(use))
        for name, expectation in disk_expectations(self.item):
            disk = self.disks.get(name)
            if disk is not None:
                found = await asyncio.to_thread(check_disk, name, expectation.value, disk.path)
                self.timeline.record("machine", "disk.checked", **found)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_named(name: str, event: Event) -> bool:
    return event.name == name
