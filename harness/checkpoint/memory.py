"""A machine's memory and devices, out of one QEMU into a file and from it into another.

RAM is a file that is ours as well as QEMU's (``harness.machine.ram``): threads of our own pack it
and unpack it, beside all that is to be done meanwhile. QEMU migrates what is left, its devices, to
and from a socket: QEMU 11 takes no file for ``fd:``, and QEMU 7 knows no ``file:``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.checkpoint.frames import GivenUp, Packer, Unpacker
from harness.clock import Deadline
from harness.errors import LabError
from harness.machine.machine import Machine
from harness.machine.ram import Ram
from harness.tasks import TaskKeeper, in_any_case
from harness.timeline import Event, Timeline

NAME: Final = "memory.zst"
_CAPABILITIES: Final = ("events", "x-ignore-shared")
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
_WITHIN: Final = timedelta(seconds=60)
_UNLIMITED: Final = 1 << 40
UNMIGRATABLE: Final = frozenset({"nvme", "usb-net"})
"""Devices that QEMU 7.2 can't save (``.unmigratable`` in hw/nvme/ctrl.c, hw/usb/dev-network.c)."""
T = TypeVar("T")


class MemoryRefused(LabError):
    """A machine's memory could not be saved, or not be had again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of a machine's memory."""

    bytes: int
    """The file's size."""
    memory_bytes: int
    """What of the RAM was in use: a machine that gets it back takes so much at once."""


async def save_memory(
    machine: Machine, file: Path, *, timeline: Timeline, tasks: TaskKeeper
) -> Packed:
    """Write the memory of ``machine``, whose CPU is stopped, to ``file``.

    The machine can go on afterwards, however this ends. Raises ``MemoryRefused``.
    """
    packer, ram = Packer(file), machine.ram.fileno()
    try:
        async with _beside(lambda: packer.pack(ram), packer.stop) as packed:
            with _channel() as (ours, theirs):
                async with _beside(lambda: _all_of(ours), lambda: _cut(ours)) as received:
                    await _migrate(machine, "migrate", theirs, timeline=timeline, tasks=tasks)
                    theirs.close()
                    await tasks.race(
                        _until_it_may_go_on(machine),
                        Deadline.after(_WITHIN),
                        waiting_for="QEMU to be done with it",
                    )
                    devices = await tasks.race(
                        asyncio.shield(received),
                        Deadline.after(_WITHIN),
                        waiting_for="the end of QEMU's devices",
                    )
            await asyncio.shield(packed)
        contents = await asyncio.to_thread(packer.finish, devices)
    except (LabError, OSError) as error:
        raise MemoryRefused(f"the machine's memory can't be saved: {_why(error)}") from error
    return Packed(bytes=contents.file_bytes, memory_bytes=contents.filled_bytes)


class Unpacking:
    """A file whose RAM is being unpacked, for a machine that may not be there yet."""

    def __init__(
        self, ram: Ram, devices: asyncio.Future[bytes], unpacked: asyncio.Future[None]
    ) -> None:
        self.ram = ram
        """What the machine is to have."""
        self._devices = devices
        self._unpacked = unpacked

    async def load(
        self,
        machine: Machine,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        started: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start ``machine``, which is ``incoming`` and has our ``ram``, and give it its devices.

        ``started`` is called when QEMU runs and has nothing yet. The machine's CPU is still held
        afterwards, all of its RAM there. Raises ``MemoryRefused``: the machine is of no use then.
        """
        assert machine.ram is self.ram
        try:
            if machine.spec.memory_mib << 20 != self.ram.size_bytes:
                raise MemoryRefused("it is of a machine with more or less of it")
            await machine.start()
            if started:
                await started()
            devices = await asyncio.shield(self._devices)
            # Not before: what virtio has to do it looks up in the guest's rings.
            await asyncio.shield(self._unpacked)
            with _channel() as (ours, theirs):
                async with _beside(lambda: ours.sendall(devices), lambda: _cut(ours)):
                    await _migrate(
                        machine, "migrate-incoming", theirs, timeline=timeline, tasks=tasks
                    )
        except (LabError, OSError, ValueError) as error:
            raise MemoryRefused(f"the machine's memory can't be had: {_why(error)}") from error


@contextlib.asynccontextmanager
async def unpacking(file: Path, *, folder: Path | None = None) -> AsyncIterator[Unpacking]:
    """Unpack the RAM in ``file`` beside whatever is done in the block; its end gives it up.

    ``folder`` is where the RAM is, as for ``Ram``. Raises ``MemoryRefused``.
    """
    with contextlib.ExitStack() as stack:
        try:
            unpacker = stack.enter_context(Unpacker(file))
            ram = Ram(unpacker.contents.ram_bytes, folder=folder)
        except (LabError, OSError, ValueError) as error:
            raise MemoryRefused(f"the machine's memory can't be had: {_why(error)}") from error
        stack.callback(ram.close)
        # A machine that is given up closes its RAM, whatever is being done to it.
        target = os.dup(ram.fileno())
        stack.callback(os.close, target)
        async with (
            _beside(unpacker.rest, unpacker.stop) as devices,
            _beside(lambda: unpacker.unpack(target), unpacker.stop) as unpacked,
        ):
            yield Unpacking(ram, devices, unpacked)


@contextlib.asynccontextmanager
async def _beside(
    work: Callable[[], T], stop: Callable[[], None]
) -> AsyncIterator[asyncio.Future[T]]:
    """Do ``work`` in a thread beside the block, at whose end it is stopped and has ended."""
    doing = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        yield doing
    finally:
        stop()
        with contextlib.suppress(LabError, OSError, ValueError, GivenUp):
            await in_any_case(doing)


@contextlib.contextmanager
def _channel() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the two ends of a connection: ours, and one for QEMU."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def _all_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other end is closed, or this one cut."""
    received = bytearray()
    while data := connection.recv(1 << 20):
        received += data
    return bytes(received)


def _cut(connection: socket.socket) -> None:
    """Let go whoever waits on ``connection``."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


async def _migrate(
    machine: Machine, command: str, end: socket.socket, *, timeline: Timeline, tasks: TaskKeeper
) -> None:
    """Have QEMU's devices migrated to or from the connection at ``end``; return once they are."""
    monitor = machine.monitor
    capabilities = [{"capability": name, "state": True} for name in _CAPABILITIES]
    await monitor.execute("migrate-set-capabilities", capabilities=capabilities)
    # No frames in the guest's name: the servers have the addresses that it knows.
    parameters = {"max-bandwidth": _UNLIMITED, "announce-rounds": 0}
    await monitor.execute("migrate-set-parameters", **parameters)
    await monitor.send_descriptor("devices", end.fileno())

    def ended(event: Event) -> bool:
        if event.name != "qmp.event.seen" or event.get("event") != "MIGRATION":
            return False
        return event["data"].get("status") in _ENDED

    since = timeline.last_seq
    await monitor.execute(command, uri="fd:devices")
    seen = await tasks.race(
        timeline.wait_for(ended, since=since),
        Deadline.after(_WITHIN),
        waiting_for="the end of QEMU's migration",
    )
    if (status := seen["data"]["status"]) != "completed":
        found: dict[str, Any] = await monitor.execute("query-migrate")
        raise MemoryRefused(str(found.get("error-desc") or status))


async def _until_it_may_go_on(machine: Machine) -> None:
    """Return once QEMU, which tells the end a moment early, takes ``cont``."""
    while (await machine.monitor.execute("query-status"))["status"] == "finish-migrate":
        continue


def _why(error: Exception) -> str:
    if isinstance(error, LabError):
        return error.message
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
