"""A machine's memory and devices, out of one QEMU into a file and from it into another.

QEMU migrates through a pipe to or from a child of ours (``pump``). Both ends must be satisfied:
QEMU with the stream, and the child with the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from harness.clock import Deadline
from harness.errors import LabError
from harness.machine.machine import Machine
from harness.process import minimal_environment, start_program
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline

NAME: Final = "memory.zst"
_SOURCES: Final = str(Path(__file__).resolve().parent.parent.parent)
_PIPE_BYTES: Final = 1 << 20
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
_WITHIN: Final = timedelta(seconds=60)
_UNLIMITED: Final = 1 << 40
UNMIGRATABLE: Final = frozenset({"nvme", "usb-net"})
"""Devices that QEMU 7.2 can't save (``.unmigratable`` in hw/nvme/ctrl.c, hw/usb/dev-network.c)."""


class MemoryRefused(LabError):
    """A machine's memory could not be saved, or not be had again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of a machine's memory."""

    sha256: str
    """Of the file."""
    bytes: int
    """Its size."""
    memory_bytes: int
    """Of QEMU's stream, which the file holds."""


async def save_memory(
    machine: Machine, file: Path, *, timeline: Timeline, tasks: TaskKeeper
) -> Packed:
    """Write the memory of ``machine``, whose CPU is stopped, to ``file``.

    The machine can go on afterwards, however this ends. Raises ``MemoryRefused``.
    """
    ours, theirs = os.pipe()
    try:
        async with _pump("pack", file, stdin=ours) as process:
            os.close(ours)
            ours = -1
            await _prepare(machine)
            await machine.monitor.send_descriptor("memory", theirs)
            os.close(theirs)
            theirs = -1
            since = timeline.last_seq
            await machine.monitor.execute("migrate", uri="fd:memory")
            await _until_ended(machine, timeline, tasks, since, process)
            said = await _ended_well(process)
    except LabError as error:
        raise MemoryRefused(f"the machine's memory can't be saved: {error.message}") from error
    finally:
        for descriptor in (ours, theirs):
            if descriptor >= 0:
                os.close(descriptor)
    return Packed(**json.loads(said))


async def load_memory(
    machine: Machine,
    file: Path,
    memory_bytes: int,
    *,
    timeline: Timeline,
    tasks: TaskKeeper,
    started: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Start ``machine``, which is ``incoming``, and give it the memory in ``file``.

    ``memory_bytes`` is what ``Packed`` said. ``started`` is called when QEMU runs and has nothing
    yet: unpacking has begun by then, and may turn out to be for nothing. The machine's CPU is
    still held afterwards. Raises ``MemoryRefused``: the machine is of no use then.
    """
    theirs, ours = os.pipe()
    try:
        async with _pump("unpack", file, str(memory_bytes), stdout=ours) as process:
            os.close(ours)
            ours = -1
            await machine.start()
            if started:
                await started()
            await _prepare(machine)
            await machine.monitor.send_descriptor("memory", theirs)
            os.close(theirs)
            theirs = -1
            since = timeline.last_seq
            await machine.monitor.execute("migrate-incoming", uri="fd:memory")
            await _until_ended(machine, timeline, tasks, since, process)
            await _ended_well(process)
    except LabError as error:
        raise MemoryRefused(f"the machine's memory can't be had: {error.message}") from error
    finally:
        for descriptor in (ours, theirs):
            if descriptor >= 0:
                os.close(descriptor)


async def _prepare(machine: Machine) -> None:
    await machine.monitor.execute(
        "migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}]
    )
    # No frames in the guest's name: the servers have the addresses that it knows.
    parameters = {"max-bandwidth": _UNLIMITED, "announce-rounds": 0}
    await machine.monitor.execute("migrate-set-parameters", **parameters)


async def _until_ended(
    machine: Machine,
    timeline: Timeline,
    tasks: TaskKeeper,
    since: int,
    process: asyncio.subprocess.Process,
) -> None:
    """Return once QEMU has all; raise ``MemoryRefused`` at once when it or the child can't go on.

    A QEMU whose stream ends too early may wait for ever.
    """

    def ended(event: Event) -> bool:
        if event.name != "qmp.event.seen" or event.get("event") != "MIGRATION":
            return False
        return event["data"].get("status") in _ENDED

    deadline = Deadline.after(_WITHIN)
    migrating = tasks.spawn(timeline.wait_for(ended, since=since), name="migration")
    pumping = tasks.spawn(process.wait(), name="pump")
    waited: set[asyncio.Task[Any]] = {migrating, pumping}
    try:
        while not migrating.done():
            if pumping.done():
                if process.returncode != 0:
                    await _ended_well(process)
                waited.discard(pumping)
            await tasks.race(
                asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED),
                deadline,
                waiting_for="the end of QEMU's migration",
            )
        status = migrating.result()["data"]["status"]
    finally:
        for task in (migrating, pumping):
            task.cancel()
        await asyncio.gather(migrating, pumping, return_exceptions=True)
    if status != "completed":
        found: dict[str, Any] = await machine.monitor.execute("query-migrate")
        raise MemoryRefused(str(found.get("error-desc") or status))


@contextlib.asynccontextmanager
async def _pump(
    way: str, file: Path, *more: str, stdin: int = -1, stdout: int = -1
) -> AsyncIterator[asyncio.subprocess.Process]:
    for descriptor in (stdin, stdout):
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # a smaller pipe is only slower
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        process = await start_program(
            *("setpriv", "--pdeathsig", "KILL", sys.executable),
            *("-m", "harness.checkpoint.pump", way, os.fspath(file), *more),
            env=minimal_environment({"PYTHONPATH": _SOURCES, "PYTHONSAFEPATH": "1"}),
            stdin=stdin if stdin >= 0 else asyncio.subprocess.DEVNULL,
            stdout=stdout if stdout >= 0 else asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise MemoryRefused(f"{sys.executable}: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


async def _ended_well(process: asyncio.subprocess.Process) -> bytes:
    """Return what the child printed; raises ``MemoryRefused`` unless all went well."""
    printed, words = await process.communicate()
    if process.returncode != 0:
        raise MemoryRefused(words.decode(errors="replace").strip() or "it was killed")
    return printed or b""
