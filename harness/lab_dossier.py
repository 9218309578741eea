"""Takes the dossier of a lab in which nothing moves any more: within five seconds, then no more."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from harness.dossier import FOLDER, Dossier, DossierItem
from harness.machine.inspection import Inspection, attempt
from harness.machine.machine import Machine
from harness.net.pcapng_tail import last_frames
from harness.net.sockets import socket_table
from harness.timeline import Event, Timeline
from harness.wire.frame_line import frame_line

_LIMIT: Final = timedelta(seconds=4.5)
"""For all of it."""
_LOOK: Final = timedelta(seconds=1.5)
_SYSRQ_LOOK: Final = timedelta(seconds=3)
_FRAMES: Final = 60
_EVENTS: Final = 12
"""Of each source."""
_LARGEST: Final = 512_000
"""Octets of one text; its end is kept."""
_CONSOLE_ARG: Final = re.compile(r"\bconsole=(ttyS\d)")

Look = Callable[[], Awaitable[str | bytes]]


class DossierTaker:
    """Looks at everything in one lab."""

    def __init__(
        self,
        machine: Machine,
        *,
        run_dir: Path,
        timeline: Timeline,
        states: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """``states`` tells, in JSON's types, what the servers hold to be true."""
        self._machine = machine
        self._run_dir = run_dir
        self._timeline = timeline
        self._states = states
        self._inspection = Inspection(machine, run_dir)
        self._items: list[DossierItem] = []
        self._missing: list[str] = []

    async def take(self, reason: str) -> None:
        """Write the dossier into the run folder; a part that can't be had is left out, and told.

        Takes at most five seconds. Never raises: a dossier must not hide what it is about.
        """
        began_s = self._timeline.clock.now()
        self._timeline.record("lab", "dossier.begun", reason=reason)
        try:
            (self._run_dir / FOLDER).mkdir(exist_ok=True)
            async with asyncio.timeout(_LIMIT.total_seconds()):
                await self._look()
        except TimeoutError:
            self._missing.append("the rest: the time was up")
        except Exception as error:
            self._missing.append(f"the rest: {error!r}")
        try:
            if self._missing:
                self._keep("missing", "What could not be had", "\n".join(self._missing))
            Dossier(taken_at=began_s, items=tuple(self._items)).write(self._run_dir)
        except OSError:
            return
        self._timeline.record(
            "lab",
            "dossier.taken",
            items=[one.name for one in self._items],
            duration_s=round(self._timeline.clock.now() - began_s, 3),
        )

    async def _look(self) -> None:
        """Look first at what is here already, last at what changes by it: SysRq prints."""
        look = self._inspection
        for name in self._machine.consoles:
            await self._try(f"console-{name}", f"Last lines of {name}", self._console(name))
        await self._try("connections", "Sockets of the lab", _now(socket_table))
        await self._try("frames", "Last frames", _now(self._frames))
        await self._try("servers", "What the servers know", _now(self._servers), kind="json")
        await asyncio.gather(
            self._try("status", "State of QEMU", look.status),
            self._try("registers", "CPU registers", look.registers),
        )
        await asyncio.gather(
            self._try("devices", "Devices", look.devices),
            self._try("screen", "Screen", look.screen, kind="png"),
            *(self._ask_linux(console) for console in self._linux_consoles()),
        )

    async def _ask_linux(self, console: str) -> None:
        title = f"What Linux says on {console} (SysRq)"
        asked = partial(self._inspection.sysrq, console)
        await self._try(f"sysrq-{console}", title, asked, limit=_SYSRQ_LOOK)

    async def _try(
        self, name: str, title: str, look: Look, *, kind: str = "text", limit: timedelta = _LOOK
    ) -> None:
        found, why = await attempt(look, limit)
        if found:
            self._keep(name, title, found, kind)
        else:
            self._missing.append(f"{title}: {why or 'there is nothing'}")

    def _keep(self, name: str, title: str, found: str | bytes, kind: str = "text") -> None:
        suffix = {"text": "txt"}.get(kind, kind)
        path = f"{FOLDER}/{name}.{suffix}"
        data = found if isinstance(found, bytes) else found.encode(errors="replace")
        (self._run_dir / path).write_bytes(data if kind != "text" else data[-_LARGEST:])
        self._items.append(DossierItem(name=name, title=title, path=path, kind=kind))

    def _console(self, name: str) -> Look:
        return _now(lambda: self._inspection.console(name))

    def _frames(self) -> str:
        frames = last_frames(self._run_dir / "capture.pcapng", _FRAMES)
        began_ns = int(self._timeline.clock.started_at.timestamp() * 1e9)
        return "\n".join(
            f"{(time_ns - began_ns) / 1e9:10.3f}  {frame_line(frame)}" for time_ns, frame in frames
        )

    def _servers(self) -> str:
        by_source: dict[str, list[Event]] = {}
        for event in self._timeline.events:
            if event.name not in ("console.line.seen", "qmp.event.seen"):
                by_source.setdefault(event.source, []).append(event)
        last = {
            source: [{"t": round(one.t, 3), "name": one.name, **one.fields} for one in events]
            for source, events in ((key, list_[-_EVENTS:]) for key, list_ in by_source.items())
            if source not in ("run", "faults")
        }
        return json.dumps(
            {"states": self._states(), "last_events": last},
            indent=1,
            ensure_ascii=False,
            default=str,
        )

    def _linux_consoles(self) -> list[str]:
        """Return the serial ports on which the kernel that runs now listens."""
        found: list[str] = []
        for event in self._timeline.events:
            if event.name in ("machine.powered_on", "machine.reset"):
                found = []
            elif event.name == "guest.cmdline.seen":
                found = _CONSOLE_ARG.findall(str(event.get("cmdline")))
        return [name for name in dict.fromkeys(found) if name in self._machine.consoles]


def _now(look: Callable[[], str]) -> Look:
    async def run() -> str:
        return look()

    return run
