"""A look into a machine that does not move: monitor, CPU time, screen, consoles, SysRq.

Every look is short and harms nothing: whatever does not answer in time is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from harness.clock import Deadline
from harness.errors import LabError
from harness.machine.console import LineSplitter
from harness.machine.machine import Machine
from harness.machine.screen import png_of_ppm

_BETWEEN_S: Final = 0.3
"""Between two looks at the same register: a CPU that works has gone on by then."""
_LAST_OCTETS: Final = 64_000
_LAST_LINES: Final = 200
_SYSRQ: Final = {"l": "what each CPU does", "w": "tasks that wait", "t": "every task"}
"""Linux, Documentation/admin-guide/sysrq.rst."""
_SYSRQ_QUIET_S: Final = 0.15
_SYSRQ_LONGEST: Final = timedelta(seconds=1.2)


class Inspection:
    """Looks into one machine."""

    def __init__(self, machine: Machine, run_dir: Path) -> None:
        self._machine = machine
        self._run_dir = run_dir

    async def status(self) -> str:
        """Return whether the machine runs, and which of QEMU's threads use a CPU.

        Raises ``LabError`` when QEMU does not answer.
        """
        state = await self._machine.monitor.execute("query-status")
        before = _cpu_ticks(self._machine.pid)
        await asyncio.sleep(_BETWEEN_S)
        after = _cpu_ticks(self._machine.pid)
        per_s = os.sysconf("SC_CLK_TCK") * _BETWEEN_S
        lines = [f"status {state.get('status')}, running {state.get('running')}", "", "threads:"]
        lines += [
            f"  {name}  {100 * max(0, ticks - before.get(name, ticks)) / per_s:.0f} % CPU"
            for name, ticks in sorted(after.items())
        ]
        return "\n".join(lines)

    async def registers(self) -> str:
        """Return the CPUs' registers, twice. Raises ``LabError``."""
        first = await self._said("info registers -a")
        await asyncio.sleep(_BETWEEN_S)
        second = await self._said("info registers -a")
        moved = "the CPU has gone on" if first != second else "nothing has changed"
        return f"{first}\n\n{_BETWEEN_S:g} s later ({moved}):\n\n{second}"

    async def devices(self) -> str:
        """Return block devices, network and character devices. Raises ``LabError``."""
        parts = [
            f"{what}:\n{await self._said(what)}"
            for what in ("info block", "info network", "info chardev", "info pic")
        ]
        return "\n\n".join(parts)

    async def screen(self) -> bytes:
        """Return what the graphics card shows as a PNG.

        Raises ``LabError`` or ``OSError`` without one, ``ValueError`` for a dump that is none.
        """
        file = self._run_dir / "screen.ppm"
        try:
            await self._machine.monitor.execute("screendump", filename=str(file))
            return png_of_ppm(file.read_bytes())
        finally:
            with contextlib.suppress(OSError):
                file.unlink()

    def console(self, name: str) -> str:
        """Return the last lines of a console, as a terminal shows them. Raises ``OSError``."""
        with (self._run_dir / f"serial-{name}.log").open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _LAST_OCTETS))
            splitter = LineSplitter()
            lines = splitter.feed(stream.read())
        if splitter.partial:
            lines.append(splitter.partial)
        return "\n".join(lines[-_LAST_LINES:])

    async def sysrq(self, console: str) -> str:
        """Ask a Linux on ``console`` what its tasks do; return what it printed, maybe nothing."""
        parts = []
        for key, title in _SYSRQ.items():
            said = await self._ask(console, key)
            if not said.strip():
                break  # nobody listens
            parts.append(f"SysRq-{key}: {title}\n\n{said}")
        return "\n\n".join(parts)

    async def _ask(self, console: str, key: str) -> str:
        heard = bytearray()
        port = self._machine.consoles[console]
        end = port.read_data(heard.extend)
        try:
            with port.aside():
                # A BREAK, and then a character within five seconds.
                await self._machine.monitor.execute("chardev-send-break", id=console)
                await port.write(key.encode())
                deadline = Deadline.after(_SYSRQ_LONGEST)
                before = -1
                while not deadline.expired and len(heard) != before:
                    before = len(heard)
                    await asyncio.sleep(_SYSRQ_QUIET_S)
        finally:
            end()
        splitter = LineSplitter()
        return "\n".join([*splitter.feed(bytes(heard)), splitter.partial])

    async def _said(self, command: str) -> str:
        answer = await self._machine.monitor.said(command)
        return answer.replace("\r\n", "\n").strip()


def _cpu_ticks(pid: int | None) -> dict[str, int]:
    """Return the CPU time that each thread of a process has used; see proc(5)."""
    ticks: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
            fields = rest.split()
            ticks[name] = ticks.get(name, 0) + int(fields[11]) + int(fields[12])
    return ticks


async def attempt(
    look: Callable[[], Awaitable[str | bytes]], limit: timedelta
) -> tuple[str | bytes | None, str]:
    """Return what ``look`` found, or None and why it found nothing."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await look(), ""
    except TimeoutError:
        return None, f"no answer within {limit.total_seconds():g} s"
    except (LabError, OSError, ValueError) as error:
        return None, str(error)
