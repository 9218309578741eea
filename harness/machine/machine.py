"""A machine that can be powered on, watched and powered off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from harness.clock import Deadline
from harness.errors import GuestPanic, HostUnfit, LabError, MonitorLost, QemuExited, SetupFailed
from harness.machine.console import Console
from harness.machine.disk_use import DiskUse, disk_use
from harness.machine.effort import Effort, effort_of
from harness.machine.halts import HaltTeller
from harness.machine.milestones import Milestones
from harness.machine.qemu import CONSOLES, QEMU, Channels, MachineSpec, qemu_command
from harness.machine.qmp import Monitor
from harness.machine.ram import Ram
from harness.machine.serial import SerialLine
from harness.process import command_line, minimal_environment, send_signal, start_program
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

_START: Final = timedelta(seconds=30)
_QUIT: Final = timedelta(seconds=3)
_LOOK: Final = timedelta(seconds=1)
_SOCKET_PATH_LIMIT: Final = 107


class Machine:
    """One QEMU with its monitor and its consoles.

    QEMU ending when nobody asked it to fails the lab (``QemuExited``), and so does a guest's
    kernel panic (``GuestPanic``) unless ``panic_is_lost`` is false: every wait that goes through
    ``TaskKeeper.race`` ends at once with that cause.
    """

    def __init__(
        self,
        *,
        spec: MachineSpec,
        run_dir: Path,
        private_dir: Path,
        timeline: Timeline,
        tasks: TaskKeeper,
        panic_is_lost: bool = True,
        ram: Ram | None = None,
    ) -> None:
        """Files that stay go to ``run_dir``, sockets for people to ``private_dir``.

        ``ram`` is closed with the machine; without one it makes its own.
        """
        self.spec = spec
        self._ram = ram
        self.name = spec.name
        self.monitor = Monitor(spec.name)
        self.consoles: dict[str, Console] = {
            name: Console(name=name, machine=spec.name, timeline=timeline, tasks=tasks)
            for name in CONSOLES
        }
        self._run_dir = run_dir
        self._private_dir = private_dir
        self._timeline = timeline
        self._tasks = tasks
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._events: asyncio.Task[None] | None = None
        self._halts: asyncio.Task[None] | None = None
        self._expected_end = False
        self._effort: Effort | None = None
        self._files = contextlib.ExitStack()
        self._ended = asyncio.Event()
        self._milestones = Milestones(
            machine=spec.name,
            timeline=timeline,
            on_panic=self._panicked if panic_is_lost else None,
        )

    @property
    def ram(self) -> Ram:
        """Its RAM, which is there before QEMU and until the machine is powered off."""
        if self._ram is None:
            self._ram = Ram(self.spec.memory_mib << 20)
        return self._ram

    @property
    def pid(self) -> int | None:
        """QEMU's process id while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start QEMU with the CPU held, its monitor and consoles connected.

        Raises ``HostUnfit`` without QEMU, ``SetupFailed`` with QEMU's own words when it refuses.
        """
        (self._run_dir / "qemu.cmd").write_text(command_line(qemu_command(self.spec)) + "\n")
        ram = self.ram
        ours, theirs = socket.socketpair()
        lines = {name: self._serial_line(name) for name in CONSOLES}
        attach = self._private_dir / f"{self.name}-qmp"
        channels = Channels(
            monitor=theirs.fileno(),
            consoles={name: line.path for name, line in lines.items()},
            ram=ram.fileno(),
            attach=attach if _fits(attach) else None,
        )
        argv = ["setpriv", "--pdeathsig", "KILL", *qemu_command(self.spec, channels)]
        try:
            with self._log().open("ab") as log:
                self._process = await start_program(
                    *argv,
                    env=minimal_environment(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[ram.fileno(), theirs.fileno()],
                    start_new_session=True,
                )
        except BaseException as error:
            ours.close()
            for line in lines.values():
                line.close()
            if isinstance(error, OSError):
                raise SetupFailed(f"QEMU can't be started: {error.strerror}") from error
            raise
        finally:
            theirs.close()
        self._watch = self._tasks.spawn(self._wait_for_end(self._process), name=f"QEMU {self.name}")
        try:
            await self._connect(ours, lines)
        except (MonitorLost, QemuExited) as error:
            self._expected_end = True
            await self._kill()
            words = "\n    ".join(self.last_lines())
            raise SetupFailed(f"QEMU does not start:\n    {words}", hint=self._hint()) from error
        self._events = self._tasks.spawn(
            self.monitor.run(self._monitor_said), name=f"monitor {self.name}"
        )

    async def _connect(self, monitor: socket.socket, lines: Mapping[str, SerialLine]) -> None:
        """Read the consoles, and return when the monitor has greeted."""
        try:
            for name, console in self.consoles.items():
                # Not QEMU's own logfile=: that repeats an octet whenever the line is full.
                console.read_data(self._serial_log(name))
                await console.connect(lines[name].reading, lines[name].writing)
                await self._let_people_in(console)
                console.read_lines(self._milestones.read)
            await self._tasks.race(
                self.monitor.connect(monitor),
                Deadline.after(_START),
                waiting_for=f"{self.name}: the monitor's greeting",
            )
        finally:
            for line in lines.values():  # it greets when it has opened everything
                line.taken()

    def _serial_line(self, console: str) -> SerialLine:
        try:
            return SerialLine(self._private_dir / f"{self.name}-{console}-line")
        except OSError as error:
            raise SetupFailed(f"no line to {console} can be made: {error.strerror}") from error

    async def _let_people_in(self, console: Console) -> None:
        path = self._private_dir / f"{self.name}-{console.name}"
        if _fits(path):
            await console.serve(path)

    def _serial_log(self, console: str) -> Callable[[bytes], None]:
        """Return what writes a console's octets, as they are, to its file in the run folder."""
        try:
            file = self._files.enter_context(
                (self._run_dir / f"serial-{console}.log").open("ab", buffering=0)
            )
        except OSError as error:
            raise SetupFailed(f"the log of {console} can't be made: {error.strerror}") from error

        def write(data: bytes) -> None:
            try:
                file.write(data)
            except OSError as error:
                self._tasks.fail(
                    SetupFailed(
                        f"the log of {console} can't be written: {error.strerror}",
                        hint="is the disk full?",
                    )
                )

        return write

    async def power_on(self) -> None:
        """Let the CPU go; ``start`` it first when that was not done.

        A machine that goes on from a checkpoint has been powered on already: nothing to do.
        """
        if self.spec.incoming:
            return
        if self._process is None:
            await self.start()
        assert self._process is not None
        # Recorded first: a fast firmware must not be seen before its machine was powered on.
        self._timeline.record(
            self.name,
            "machine.powered_on",
            machine=self.name,
            mac=self.spec.mac,
            nics=[
                {"mac": nic.mac, "model": nic.model, "boots": nic.bootindex, "link": nic.link}
                for nic in self.spec.nics
            ],
            firmware=str(self.spec.firmware),
            accel=self.spec.accel,
            cpus=self.spec.cpus,
            memory_mib=self.spec.memory_mib,
            pid=self._process.pid,
        )
        await self.let_go()

    async def let_go(self) -> None:
        """Let the CPU of a machine go on that was resumed. Raises ``MonitorLost``."""
        for nic in self.spec.nics:
            if not nic.link:
                await self.set_link(nic.mac, up=False)
        await self.monitor.execute("cont")
        if self._process is not None:
            halts = HaltTeller(self.name, self._process.pid, self.monitor, self._timeline)
            self._halts = self._tasks.spawn(halts.run(), name=f"halts of {self.name}")

    def state(self) -> dict[str, Any]:
        """Return what consoles and milestones know, of JSON's types, for ``restore``."""
        return {
            "consoles": {name: console.state() for name, console in self.consoles.items()},
            "milestones": self._milestones.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know what another machine's consoles and milestones did."""
        for name, console in self.consoles.items():
            console.restore(state["consoles"][name])
        self._milestones.restore(state["milestones"])

    async def insert(self, medium: Path) -> None:
        """Put ``medium``, an ISO, into the CD drive. Raises ``MonitorLost``."""
        await self.monitor.execute(
            "blockdev-change-medium",
            id="cdrom",
            filename=str(medium),
            format="raw",
            **{"read-only-mode": "read-only"},
        )

    async def reset(self) -> None:
        """Press the reset button."""
        await self.monitor.execute("system_reset")

    async def set_link(self, mac: str, *, up: bool) -> None:
        """Plug the cable of the NIC with ``mac`` in, or out: the guest sees its carrier change."""
        number = [nic.mac for nic in self.spec.nics].index(mac)
        await self.monitor.execute("set_link", name=f"net{number}", up=up)

    async def disk_use(self) -> list[DiskUse]:
        """Return what the guest did with its disks; nothing when QEMU does not tell in a second."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(LabError, asyncio.TimeoutError):
                async with asyncio.timeout(_LOOK.total_seconds()):
                    return await disk_use(self.monitor, self.spec.disks)
        return []

    def expect_end(self) -> None:
        """Take QEMU's end for nothing unusual from now on."""
        self._expected_end = True

    async def power_off(self) -> None:
        """Pull the plug: QEMU ends within 3 seconds, all console output is in. Idempotent."""
        self._expected_end = True
        if self._process is not None and self._process.returncode is None:
            self._effort = effort_of(self.pid)
            with contextlib.suppress(LabError, asyncio.TimeoutError):
                async with asyncio.timeout(_QUIT.total_seconds()):
                    await self.monitor.execute("quit")
                    await self._ended.wait()
        await self._kill()

    async def _kill(self) -> None:
        if self._process is not None:
            send_signal(self._process)
        if self._watch is not None:
            await asyncio.wait({self._watch})
        await self.monitor.close()
        for task in (self._events, self._halts):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for console in self.consoles.values():
            await console.close()
        self._files.close()
        if self._ram is not None:
            self._ram.close()

    async def wait_for_end(self) -> None:
        """Return once QEMU has ended, however it did."""
        await self._ended.wait()

    async def _wait_for_end(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        self._ended.set()
        lines = self.last_lines()
        done = asdict(self._effort) if self._effort else {}
        self._timeline.record(
            self.name,
            "machine.exited",
            machine=self.name,
            status=status,
            last_lines=lines or None,
            **done,
        )
        if not self._expected_end:
            raise QemuExited(status, lines)

    def _monitor_said(self, event: str, data: Mapping[str, Any]) -> None:
        self._timeline.record(self.name, "qmp.event.seen", event=event, data=dict(data))
        if event == "RESET":
            # The reset a machine begins with is not one that it did.
            self._milestones.reboot()
            self._record_stop("machine.reset", data)
        elif event == "BLOCK_IO_ERROR" and data.get("action") == "stop":
            self._disk_failed(data)
        elif event == "SHUTDOWN" and not self._expected_end:
            self._record_stop("machine.shutdown", data)

    def _disk_failed(self, data: Mapping[str, Any]) -> None:
        """QEMU has paused the machine: the host can't store what the guest wrote."""
        self._tasks.fail(
            SetupFailed(
                f"the image of {self.name}'s disk can't be written: {data.get('reason')}",
                hint=f"is the disk full? the images are in {self._run_dir}",
            )
        )

    def _record_stop(self, name: str, data: Mapping[str, Any]) -> None:
        self._timeline.record(
            self.name, name, machine=self.name, reason=data.get("reason"), guest=data.get("guest")
        )

    def _panicked(self, line: str) -> None:
        self._tasks.fail(GuestPanic(line))

    def _log(self) -> Path:
        return self._run_dir / "qemu.log"

    def last_lines(self) -> list[str]:
        """Return the last things QEMU itself said (``qemu.log``)."""
        with contextlib.suppress(OSError):
            return self._log().read_text(errors="replace").splitlines()[-8:]
        return []

    def _hint(self) -> str:
        said = "\n".join(self.last_lines())
        if "Cannot allocate memory" in said or "cannot set up guest memory" in said:
            return f"give the machine less than {self.spec.memory_mib} MiB"
        return f"see {self._log()} and the command in {self._run_dir / 'qemu.cmd'}"


def _fits(path: Path) -> bool:
    """Return whether ``path`` is short enough for a unix socket."""
    return len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT


def check() -> None:
    """Raise ``HostUnfit`` unless QEMU is installed."""
    import shutil

    if shutil.which(QEMU) is None:
        raise HostUnfit(f"{QEMU} is not installed", hint="install the package qemu-system-x86")
