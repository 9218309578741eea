"""Saving a running lab at a point, and what a lab is resumed from.

A builder's lab holds the machine's SYN, stops the CPU, and saves memory, disks, consoles, capture,
timeline and the little that servers know. A resumed lab is brought up as always, gets all of that,
and goes on: for the machine no time has passed, and the run's clock agrees.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from socket import socket
from typing import Any, Final, Protocol

from harness.checkpoint import sparse
from harness.checkpoint.memory import NAME as MEMORY
from harness.checkpoint.memory import MemoryRefused, Packed, load_memory, save_memory
from harness.checkpoint.points import Point, ports
from harness.checkpoint.store import Draft, Saved
from harness.clock import Clock, Deadline
from harness.errors import DeadlineExpired, HostTooSlow, LabError
from harness.machine.devices import Disk
from harness.machine.machine import Machine
from harness.machine.qemu import CONSOLES
from harness.net.capture import Capture
from harness.net.gate import Syn, SynWatcher, connections, reopen, shut
from harness.scenario.item import Item
from harness.services import Numbers, Service
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline, read_timeline

_TIMELINE: Final = "timeline.jsonl"
_CAPTURE: Final = "capture.pcapng"
_VARIABLES: Final = "uefi-vars.fd"
_NOT_SAVED: Final = ("checkpoint.", "lab.resumed", "host.")
_OF_SAVING: Final = frozenset({"STOP", "RESUME", "MIGRATION", "MIGRATION_PASS"})
_SPOILS: Final[Mapping[str, str]] = {
    "guest.error.seen": "a failure",
    "machine.reset": "the machine was reset",
    "tftp.transfer.timed_out": "a transfer timed out",
    "http.response.aborted": "a download was given up",
}
"""What must not have happened before a lab is saved."""
_RETRANSMITS: Final[Mapping[Point, int]] = {Point.HOOK_UP: 3, Point.WORKER_UP: 3}
"""How many SYNs are waited for, at most. Linux sends the second after 1 s and doubles that then
(RFC 6298 §2). The CPU is stopped just before the next one is due: until then a resumed machine
would have nothing to say. iPXE's come too soon to aim at."""
_FIRST_RETRANSMIT_S: Final = 1.0
_BEFORE_S: Final = 0.12
_ANSWERS_WITHIN: Final = timedelta(seconds=15)
"""A machine that was resumed sends its SYN again in this time, or is no good."""
_COMMITTED_WITHIN_S: Final = 5.0
_SPARE_MIB: Final = 128
"""Of the host's memory, beside what a checkpoint's machine needs at once."""


class CheckpointRefused(LabError):
    """A checkpoint can't be made or used; the run goes on without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What of a lab is saved."""

    item: Item
    run_dir: Path
    timeline: Timeline
    tasks: TaskKeeper
    machine: Machine
    capture: Capture
    interface: str
    disks: Mapping[str, Disk]
    services: Sequence[Service]
    listeners: Callable[[Point], list[socket]]
    """The sockets that a point's SYN may go to."""
    passed_s: Callable[[], float]
    """Tells how much of the scenario's deadline has passed."""

    @property
    def own(self) -> set[str]:
        """The lab's own addresses."""
        return {"127.0.0.1", self.item.network.server, self.item.network.addresses} - {""}


class Builds(Protocol):
    """The checkpoints that a run makes."""

    drafts: dict[Point, Draft]

    async def finished(self, point: Point) -> None:
        """Let others build ``point``, or use what was built. Idempotent."""


class Saver:
    """Saves a lab at the points that its machine comes by."""

    def __init__(self, builds: Builds | None, parts: Parts) -> None:
        self._builds = builds
        self._drafts = dict(builds.drafts) if builds else {}
        self._parts = parts
        self._shut: dict[Point, list[socket]] = {}
        self._watcher: SynWatcher | None = None
        self._saving: set[asyncio.Task[None]] = set()
        self._past: Point | None = None
        """What is just being saved, its story taken: nothing that happens now spoils it."""
        self._again = asyncio.Event()
        self._left: set[str] = set()
        """Connections that were open when Linux began: iPXE ends none, and no Linux knows them."""
        self._unsubscribe: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Hold off the machine's SYNs from now on, until each point was saved."""
        if not self._drafts:
            return
        item = self._parts.item
        wanted = frozenset[int]().union(*(ports(item, point) for point in self._drafts))
        try:
            self._watcher = SynWatcher(self._parts.interface, wanted, self._seen)
        except OSError as error:
            for point in list(self._drafts):
                self._refuse(point, f"SYNs can't be watched: {error.strerror}")
            return
        for point in self._drafts:
            if point is not Point.IPXE:
                self._hold(point)
        self._unsubscribe = self._parts.timeline.subscribe(self._follow)

    def _follow(self, event: Event) -> None:
        script = str(event.get("file", "")).endswith(".ipxe")
        if event.name == "dhcp.ack.sent" and script and Point.IPXE in self._drafts:
            self._hold(Point.IPXE)
        elif event.name == "guest.kernel.started":
            self._left = {one.partition(" (")[0] for one in connections(self._parts.own)}
        elif event.name in _SPOILS:  # on a busy host, say: no story for others to begin with
            reason = event.get("line") or _SPOILS[event.name]
            for point in self._drafts.keys() - {self._past}:
                self._refuse(point, f"the boot did not go as usual: {reason}")

    def _hold(self, point: Point) -> None:
        if point in self._shut:
            return
        self._shut[point] = self._parts.listeners(point)
        for listener in self._shut[point]:
            shut(listener, self._parts.own)

    def _let_in(self, point: Point) -> None:
        for listener in self._shut.pop(point, ()):
            reopen(listener)

    def _refuse(self, point: Point, reason: str) -> None:
        draft = self._drafts.pop(point, None)
        self._let_in(point)
        if draft is not None:
            self._parts.timeline.record(
                "lab", "checkpoint.refused", point=str(point), key=draft.key, reason=reason
            )
            if self._builds:
                self._parts.tasks.spawn(self._builds.finished(point), name=f"no {point}")

    def _seen(self, syn: Syn) -> None:
        for point in self._shut:
            if point in self._drafts and syn.port in ports(self._parts.item, point):
                if self._saving:
                    self._again.set()
                else:
                    task = self._parts.tasks.spawn(
                        self._at(point, syn, self._drafts[point]), name=f"checkpoint {point}"
                    )
                    self._saving.add(task)
                    task.add_done_callback(self._saving.discard)
                return

    async def _at(self, point: Point, syn: Syn, draft: Draft) -> None:
        """Save the lab at ``point``; whatever comes of it, the machine goes on."""
        try:
            await self._until_the_next_is_due(_RETRANSMITS.get(point, 0))
            if point not in self._drafts:
                return
            for one in connections(self._parts.own):
                if one.partition(" (")[0] not in self._left:
                    raise CheckpointRefused(f"another connection is open: {one}")
            await self._save(point, syn, draft)
        except (LabError, OSError) as error:
            self._refuse(point, str(error))
        finally:
            self._past = None
            self._drafts.pop(point, None)
            self._let_in(point)
            if self._builds:
                await self._builds.finished(point)

    async def _until_the_next_is_due(self, most: int) -> None:
        """Wait until just before the machine sends its SYN again; ``most`` times if it was late."""
        for number in range(most):
            self._again.clear()
            try:
                async with asyncio.timeout(_FIRST_RETRANSMIT_S * 2**number - _BEFORE_S):
                    await self._again.wait()
            except TimeoutError:
                return

    async def _save(self, point: Point, syn: Syn, draft: Draft) -> None:
        parts = self._parts
        clock, machine = parts.timeline.clock, parts.machine
        began_s = time.monotonic()
        await machine.monitor.execute("stop")
        clock.hold()
        try:
            packed = await save_memory(
                machine, draft.folder / MEMORY, timeline=parts.timeline, tasks=parts.tasks
            )
            # What the machine said last was still on its way when the CPU was stopped.
            if point not in self._drafts:
                return
            self._past = point
            events = _story(parts.timeline.events)
            meta = {
                **self._meta(point, syn, packed),
                "qemu": await machine.monitor.execute("query-version"),
            }
            await asyncio.to_thread(self._copy_disks, draft.folder)
            sizes = {
                name: (parts.run_dir / name).stat().st_size
                for name in (_CAPTURE, *(f"serial-{console}.log" for console in CONSOLES))
            }
        finally:
            clock.go_on()
            await machine.monitor.execute("cont")
            parts.capture.follow_clock()
            self._let_in(point)
        held_s = time.monotonic() - began_s
        saved = await asyncio.to_thread(self._commit, draft, meta, events, sizes, packed)
        size = saved.size_bytes
        saved.close()
        parts.timeline.record(
            "lab",
            "checkpoint.saved",
            point=str(point),
            key=draft.key,
            duration_s=round(held_s, 3),
            memory_bytes=packed.memory_bytes,
            bytes=size,
            files={path.name: path.stat().st_size for path in saved.folder.iterdir()},
        )

    def _meta(self, point: Point, syn: Syn, packed: Packed) -> dict[str, Any]:
        parts = self._parts
        clock = parts.timeline.clock
        return {
            "point": str(point),
            "t": clock.now(),
            "started_at": clock.started_at.isoformat(),
            "saved_at": datetime.now(clock.started_at.tzinfo).isoformat(),
            "passed_s": parts.passed_s(),
            "item": parts.item.id,
            "memory_bytes": packed.memory_bytes,
            "memory_mib": parts.machine.spec.memory_mib,
            "machine": parts.machine.state(),
            "neighbours": {syn.address: syn.mac},
            "port": syn.port,
            "numbers": {
                each.name: each.numbered for each in parts.services if isinstance(each, Numbers)
            },
        }

    def _copy_disks(self, folder: Path) -> None:
        for name, disk in self._parts.disks.items():
            sparse.pack(disk.path, folder / f"{name}.disk")
        variables = self._parts.run_dir / _VARIABLES
        if variables.exists():
            shutil.copyfile(variables, folder / _VARIABLES)

    def _commit(
        self,
        draft: Draft,
        meta: Mapping[str, Any],
        events: Sequence[Event],
        sizes: Mapping[str, int],
        packed: Packed,
    ) -> Saved:
        """Copy what only grows as far as it was then, and make the draft a checkpoint."""
        for name, size in sizes.items():
            _copy_head(self._parts.run_dir / name, draft.folder / name, size)
        with (draft.folder / _TIMELINE).open("w", encoding="utf-8") as file:
            file.writelines(event.to_json() + "\n" for event in events)
        return draft.commit(meta, digests={MEMORY: packed.sha256})

    async def close(self) -> None:
        """Let everything in, and wait for what is as good as saved. Idempotent.

        What is not is given up: whoever ends a run waits for no memory to be written.
        """
        self._unsubscribe()
        if self._watcher is not None:
            self._watcher.close()
        if self._saving:
            if self._past is None:
                for task in self._saving:
                    task.cancel()
            await asyncio.wait(set(self._saving), timeout=_COMMITTED_WITHIN_S)
        for point in list(self._shut):
            self._let_in(point)
        self._drafts.clear()


def _story(events: Sequence[Event]) -> list[Event]:
    """Return what a resumed run tells of the machine, from power-on."""
    first = next(at for at, event in enumerate(events) if event.name == "machine.powered_on")
    return [
        event
        for event in events[first:]
        if not event.name.startswith(_NOT_SAVED)
        and not (event.name == "qmp.event.seen" and event.get("event") in _OF_SAVING)
    ]


def _copy_head(source: Path, target: Path, size: int) -> None:
    with source.open("rb") as file, target.open("xb") as copy:
        while size > 0 and (data := file.read(min(size, 1 << 22))):
            copy.write(data)
            size -= len(data)


class Resumption:
    """A checkpoint, from which a lab is resumed."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self.meta = saved.meta
        self.key = saved.key
        self.point = Point(saved.meta["point"])
        self.began_s = time.monotonic()

    def turn_back(self, clock: Clock) -> None:
        """Have the calendar show the point's time already while the lab comes up.

        Certificates and workflows are made then, for a machine that knows no other calendar.
        """
        clock.started_at = self.started_at + timedelta(seconds=self.t - clock.now())

    def lay_out(self, run_dir: Path, disks: Sequence[str]) -> None:
        """Put disks, firmware variables and consoles' logs into ``run_dir``.

        Raises ``CheckpointRefused``.
        """
        try:
            for name in disks:
                sparse.unpack(self._saved.folder / f"{name}.disk", run_dir / f"{name}.img")
            for console in CONSOLES:
                name = f"serial-{console}.log"
                shutil.copyfile(self._saved.folder / name, run_dir / name)
            if (self._saved.folder / _VARIABLES).exists():
                shutil.copyfile(self._saved.folder / _VARIABLES, run_dir / _VARIABLES)
                (run_dir / _VARIABLES).chmod(0o600)
        except (OSError, ValueError) as error:
            raise CheckpointRefused(f"its files can't be had: {error}") from error

    def lay_out_capture(self, run_dir: Path) -> None:
        """Put the frames so far into ``run_dir``. Raises ``CheckpointRefused``."""
        try:
            shutil.copyfile(self._saved.folder / _CAPTURE, run_dir / _CAPTURE)
        except OSError as error:
            raise CheckpointRefused(f"its capture can't be had: {error}") from error

    async def load(self, machine: Machine, *, timeline: Timeline, tasks: TaskKeeper) -> None:
        """Start a machine with the memory; its CPU is held. Raises ``CheckpointRefused``."""

        async def started() -> None:
            version = await machine.monitor.execute("query-version")
            if version != self.meta["qemu"]:
                raise CheckpointRefused(
                    f"it is of another QEMU: {_version(self.meta['qemu'])}, not {_version(version)}"
                )
            machine.restore(self.meta["machine"])

        size, file = int(self.meta["memory_bytes"]), self._saved.folder / MEMORY
        try:
            await load_memory(machine, file, size, timeline=timeline, tasks=tasks, started=started)
        except MemoryRefused as error:
            raise CheckpointRefused(error.message) from error

    def events(self, so_far: Sequence[Event], *, pid: int | None, written: int = 0) -> list[Event]:
        """Return the events of a run that was resumed: how its lab came up, then what was saved.

        ``so_far`` is how this lab came up, of which the first ``written`` events can't be changed;
        ``pid`` is its QEMU's. Raises ``CheckpointRefused``.
        """
        try:
            saved = read_timeline(self._saved.folder / _TIMELINE)
        except (OSError, ValueError) as error:
            raise CheckpointRefused(f"its timeline can't be read: {error}") from error
        powered = saved[0]
        saved[0] = replace(powered, fields={**powered.fields, "pid": pid})
        begun = [
            replace(event, t=min(event.t, powered.t))
            for event in so_far[written:]
            if event.name not in ("qmp.event.seen", "console.line.seen")
        ]
        return [*so_far[:written], *begun, *saved]

    def record(self, timeline: Timeline) -> None:
        """Tell that the lab was resumed, and what that saved."""
        took_s = time.monotonic() - self.began_s
        timeline.record(
            "lab",
            "lab.resumed",
            point=str(self.point),
            key=self.key,
            saved_s=round(self.t - took_s, 3),
            duration_s=round(took_s, 3),
            built_by=self.meta["item"],
            saved_at=self.meta["saved_at"],
            wall=self.meta["started_at"],
            bytes=self._saved.size_bytes,
        )

    @property
    def passed_s(self) -> float:
        """How much of a scenario's deadline has passed."""
        return float(self.meta["passed_s"])

    @property
    def t(self) -> float:
        """Seconds on the run's clock at the point."""
        return float(self.meta["t"])

    @property
    def started_at(self) -> datetime:
        """When the run began, by the lab's own calendar."""
        return datetime.fromisoformat(self.meta["started_at"])

    def close(self) -> None:
        """Let the checkpoint be removed when room is needed."""
        self._saved.close()


def lacks_memory(meta: Mapping[str, Any], meminfo: str) -> str | None:
    """Return why this host has too little memory for a checkpoint's machine just now, or None."""
    available = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.M)
    free_mib = int(available[1]) >> 10 if available else 0
    needed_mib = (int(meta.get("memory_bytes", 0)) >> 20) + _SPARE_MIB
    if free_mib >= needed_mib:
        return None
    return f"its machine needs {needed_mib} MiB at once, and the host has {free_mib} MiB"


class FirstSyn:
    """Waits for the SYN of a machine that was resumed: the proof that it goes on."""

    def __init__(self, interface: str, wanted: frozenset[int]) -> None:
        self._came = asyncio.Event()
        self._watcher = SynWatcher(interface, wanted, lambda _syn: self._came.set())

    async def wait(
        self, tasks: TaskKeeper, *, deadline: Callable[[timedelta], Deadline] = Deadline.after
    ) -> None:
        """Return once it came. Raises ``CheckpointRefused`` when it does not.

        ``deadline`` makes a deadline of how long it may take.
        """
        try:
            await tasks.race(
                self._came.wait(), deadline(_ANSWERS_WITHIN), waiting_for="its first SYN"
            )
        except (DeadlineExpired, HostTooSlow) as error:
            raise CheckpointRefused("its machine does not go on") from error

    def close(self) -> None:
        """Watch no more."""
        self._watcher.close()


def _version(found: Mapping[str, Any]) -> str:
    with contextlib.suppress(KeyError, TypeError):
        numbers = found["qemu"]
        return f"{numbers['major']}.{numbers['minor']}.{numbers['micro']} {found['package']}"
    return str(found)
