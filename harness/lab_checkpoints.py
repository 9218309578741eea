"""Saving a running lab at a point.

A builder's lab holds the machine's SYN, stops the CPU, and saves memory, disks, consoles, capture,
timeline and the little that servers know: what ``harness.lab_resumption`` goes on from.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from socket import socket
from typing import Any, Final, Protocol

from harness.certificates import write_for_owner
from harness.checkpoint import sparse
from harness.checkpoint.memory import NAME as MEMORY
from harness.checkpoint.memory import Packed, save_memory
from harness.checkpoint.points import Point, ports
from harness.checkpoint.store import Draft, Saved
from harness.errors import LabError
from harness.machine.devices import Disk
from harness.machine.machine import Machine
from harness.machine.qemu import CONSOLES
from harness.net.capture import Capture
from harness.net.gate import Syn, SynWatcher, connections, reopen, shut
from harness.scenario.item import Item
from harness.services import Numbers, Service
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline

TIMELINE: Final = "timeline.jsonl"
CAPTURE: Final = "capture.pcapng"
VARIABLES: Final = "uefi-vars.fd"
AUTHORITY: Final = "ca.key"
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
_COMMITTED_WITHIN_S: Final = 5.0


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
    authority: Callable[[], bytes | None]
    """Tells the throwaway CA, if something has asked for one: the guest may trust it."""

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
        """Hold off the machine's SYNs from now on, until each point was saved. Idempotent."""
        if not self._drafts or self._watcher is not None:
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
            if (authority := parts.authority()) is not None:
                write_for_owner(draft.folder / AUTHORITY, authority)
            sizes = {
                name: (parts.run_dir / name).stat().st_size
                for name in (CAPTURE, *(f"serial-{console}.log" for console in CONSOLES))
            }
        finally:
            clock.go_on()
            await machine.monitor.execute("cont")
            parts.capture.follow_clock()
            self._let_in(point)
        held_s = time.monotonic() - began_s
        saved = await asyncio.to_thread(self._commit, draft, meta, events, sizes)
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
        variables = self._parts.run_dir / VARIABLES
        if variables.exists():
            shutil.copyfile(variables, folder / VARIABLES)

    def _commit(
        self,
        draft: Draft,
        meta: Mapping[str, Any],
        events: Sequence[Event],
        sizes: Mapping[str, int],
    ) -> Saved:
        """Copy what only grows as far as it was then, and make the draft a checkpoint."""
        for name, size in sizes.items():
            _copy_head(self._parts.run_dir / name, draft.folder / name, size)
        with (draft.folder / TIMELINE).open("w", encoding="utf-8") as file:
            file.writelines(event.to_json() + "\n" for event in events)
        return draft.commit(meta)

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
