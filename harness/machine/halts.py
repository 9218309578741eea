"""A machine whose processors stopped for good: halted, and deaf to interrupts.

So end what can't go on and has nobody to tell: Linux's decompressor with a damaged kernel
(``arch/x86/boot/compressed/error.c``), a Linux that was told to halt and can't switch off, small
boot programs. Nothing but a reset wakes such a processor (Intel SDM, volume 2, HLT); an idle
operating system halts too, but hears interrupts.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from harness.errors import LabError
from harness.machine.effort import effort_of
from harness.machine.qmp import Monitor
from harness.timeline import Timeline

_LOOK_EVERY_S: Final = 1.0
_IDLE_S: Final = 0.02
"""Processor time in that long of a machine that may have stopped; a look costs it none."""
_LOOKS: Final = 2
"""Looks at a processor that did not move before it is believed."""
_INTERRUPTS: Final = 0x200
"""IF in EFLAGS and RFLAGS."""
_EACH: Final = re.compile(r"^CPU#\d+\s*$", re.MULTILINE)
_FLAGS: Final = re.compile(r"\b[ER]FL=([0-9a-f]{8,16})\b")
_PLACE: Final = re.compile(r"\b[ER]IP=([0-9a-f]{8,16})\b")


def stopped_at(registers: str) -> str | None:
    """Return where a machine stopped for good, in hexadecimal; None: it did not.

    ``registers`` is the monitor's ``info registers -a``. It is the first processor's place; those
    that nobody has started yet are halted and deaf, too.
    """
    processors = [part for part in _EACH.split(registers)[1:] if part.strip()]
    for processor in processors:
        flags = _FLAGS.search(processor)
        if flags is None or int(flags[1], 16) & _INTERRUPTS or "HLT=1" not in processor:
            return None
    place = _PLACE.search(processors[0]) if processors else None
    return place[1] if place else None


class HaltTeller:
    """Records ``machine.cpu.halted``, once until the machine moves again."""

    def __init__(self, machine: str, pid: int, monitor: Monitor, timeline: Timeline) -> None:
        """``machine`` is its name, ``pid`` its QEMU."""
        self._machine = machine
        self._pid = pid
        self._monitor = monitor
        self._timeline = timeline

    async def run(self) -> None:
        """Return when there is nobody left to ask: QEMU is gone, or its times are not told."""
        looks, told, place = 0, False, ""
        effort = effort_of(self._pid)
        while effort is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            before, effort = effort.busy_s, effort_of(self._pid)
            if effort is None:
                return
            if effort.busy_s - before > _IDLE_S:
                looks, told = 0, False
                continue
            if told:
                continue
            try:
                found = await self._look()
            except (LabError, OSError):
                return
            looks = looks + 1 if found and found == place else int(found is not None)
            place = found or ""
            if looks == _LOOKS:
                told = True
                self._timeline.record(
                    self._machine, "machine.cpu.halted", machine=self._machine, at=found
                )

    async def _look(self) -> str | None:
        if not (await self._monitor.execute("query-status")).get("running"):
            return None  # a checkpoint is just being saved
        return stopped_at(await self._monitor.said("info registers -a"))
