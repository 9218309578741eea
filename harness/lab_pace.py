"""Tells the timeline when the host holds the lab up."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

from harness.host.pace import Pace
from harness.timeline import Timeline

_LOOK_EVERY_S: Final = 0.5
_TELL_EVERY_S: Final = 5.0
_NOTABLE: Final = 0.1
"""The share of an interval that must be lost to be told."""


class PaceTeller:
    """Looks at the pace twice a second; records ``host.stalled`` every five, where there is one."""

    def __init__(self, pace: Pace, timeline: Timeline) -> None:
        self._pace = pace
        self._timeline = timeline

    async def run(self) -> NoReturn:
        """Return never."""
        told = self._timeline.clock.now()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._pace.now()
            if self._timeline.clock.now() - told >= _TELL_EVERY_S:
                told = self._timeline.clock.now()
                self.tell()

    def tell(self) -> None:
        """Record what was lost since the last time, if that is worth it."""
        stall = self._pace.take_stall()
        if stall.stalled_s < _NOTABLE * stall.duration_s or not stall.stalled_s:
            return
        self._timeline.record(
            "host",
            "host.stalled",
            duration_s=round(stall.duration_s, 3),
            stalled_s=round(stall.stalled_s, 3),
            ran_s=round(stall.ran_s, 3),
            waited_s=round(stall.waited_s, 3),
            machine_ran_s=round(stall.machine_ran_s, 3),
            machine_waited_s=round(stall.machine_waited_s, 3),
            by=stall.by,
        )
