"""What a lab is resumed from.

It is brought up as always, gets what ``harness.lab_checkpoints`` saved, and goes on: for the
machine no time has passed, and the run's clock agrees.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from harness.checkpoint import sparse
from harness.checkpoint.memory import NAME as MEMORY
from harness.checkpoint.memory import MemoryRefused, Unpacking, unpacking
from harness.checkpoint.points import Point
from harness.checkpoint.store import Saved
from harness.clock import Clock, Deadline
from harness.errors import DeadlineExpired, HostTooSlow
from harness.lab_checkpoints import (
    AUTHORITY,
    CAPTURE,
    TIMELINE,
    VARIABLES,
    CheckpointRefused,
)
from harness.machine.machine import Machine
from harness.machine.qemu import CONSOLES
from harness.machine.ram import Ram
from harness.net.gate import SynWatcher
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline, read_timeline

_ANSWERS_WITHIN: Final = timedelta(seconds=15)
"""A machine that was resumed sends its SYN again in this time, or is no good."""
_SPARE_MIB: Final = 128
"""Of the host's memory, beside what a checkpoint's machine needs at once."""


class Resumption:
    """A checkpoint, from which a lab is resumed."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self.meta = saved.meta
        self.key = saved.key
        self.point = Point(saved.meta["point"])
        self.began_s = time.monotonic()
        self._unpacking: Unpacking | None = None

    def turn_back(self, clock: Clock) -> None:
        """Have the calendar show the point's time already while the lab comes up.

        Certificates and workflows are made then, for a machine that knows no other calendar.
        """
        clock.started_at = self.started_at + timedelta(seconds=self.t - clock.now())

    @contextlib.asynccontextmanager
    async def unpack(self, folder: Path) -> AsyncIterator[Ram]:
        """Unpack the machine's RAM beside the block; it is on the tmpfs at ``folder``.

        Raises ``CheckpointRefused``.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                begun = unpacking(self._saved.folder / MEMORY, folder=folder)
                self._unpacking = await stack.enter_async_context(begun)
            except MemoryRefused as error:
                raise CheckpointRefused(error.message) from error
            yield self._unpacking.ram

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
            if (self._saved.folder / VARIABLES).exists():
                shutil.copyfile(self._saved.folder / VARIABLES, run_dir / VARIABLES)
                (run_dir / VARIABLES).chmod(0o600)
        except (OSError, ValueError) as error:
            raise CheckpointRefused(f"its files can't be had: {error}") from error

    def authority(self) -> bytes | None:
        """Return the throwaway CA that the guest may know; None: it knows none.

        Raises ``CheckpointRefused``.
        """
        try:
            return (self._saved.folder / AUTHORITY).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointRefused(f"its CA can't be read: {error}") from error

    def lay_out_capture(self, run_dir: Path) -> None:
        """Put the frames so far into ``run_dir``. Raises ``CheckpointRefused``."""
        try:
            shutil.copyfile(self._saved.folder / CAPTURE, run_dir / CAPTURE)
        except OSError as error:
            raise CheckpointRefused(f"its capture can't be had: {error}") from error

    async def load(self, machine: Machine, *, timeline: Timeline, tasks: TaskKeeper) -> None:
        """Start a machine that has the RAM of ``unpack``; its CPU is held.

        Raises ``CheckpointRefused``.
        """
        assert self._unpacking is not None

        async def started() -> None:
            version = await machine.monitor.execute("query-version")
            if version != self.meta["qemu"]:
                raise CheckpointRefused(
                    f"it is of another QEMU: {_version(self.meta['qemu'])}, not {_version(version)}"
                )
            machine.restore(self.meta["machine"])

        try:
            await self._unpacking.load(machine, timeline=timeline, tasks=tasks, started=started)
        except MemoryRefused as error:
            raise CheckpointRefused(error.message) from error

    def events(self, so_far: Sequence[Event], *, pid: int | None, written: int = 0) -> list[Event]:
        """Return the events of a run that was resumed: how its lab came up, then what was saved.

        ``so_far`` is how this lab came up, of which the first ``written`` events can't be changed;
        ``pid`` is its QEMU's. Raises ``CheckpointRefused``.
        """
        try:
            saved = read_timeline(self._saved.folder / TIMELINE)
        except (OSError, ValueError) as error:
            raise CheckpointRefused(f"its timeline can't be read: {error}") from error
        if not saved:
            raise CheckpointRefused("its timeline is empty")
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
