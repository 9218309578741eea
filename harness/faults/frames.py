"""What faults do to Ethernet frames: a cable asks about each, and about those that were held.

Sans-IO. A frame that is not held goes at once and unchanged; what is held is due at a time, or
when enough others have overtaken it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.faults.deeds import (
    Corrupt,
    Deed,
    Delay,
    Drop,
    Duplicate,
    Reorder,
    Trickle,
    Truncate,
)
from harness.faults.dialects.frame import FROM_MACHINE, HEADER_OCTETS, TO_MACHINE, frame_facts
from harness.faults.plan import Strike, no_strike

_LINE_HOLDS_S: Final = 1.0
"""A slow line's buffer: what would leave it later is lost."""
_FRAME: Final = "frame"


@dataclass(order=True, slots=True)
class _Held:
    due_s: float
    number: int
    """Frames with one due time leave in the order they came."""
    frame: bytes = field(compare=False)
    to_machine: bool = field(compare=False)
    behind: int = field(compare=False, default=0)
    """How many must still overtake it; 0: it goes at its time only."""
    gone: bool = field(compare=False, default=False)


class FrameTampering:
    """The faults of one cable."""

    def __init__(
        self, strike: Strike, *, mac: str, is_open: Callable[[], bool] = lambda: True
    ) -> None:
        """``mac`` is the machine's; while ``is_open`` is false every frame is lost."""
        self._strike = strike
        self._mac = mac
        self._is_open = is_open
        self._held: list[_Held] = []
        self._count = 0
        self._overtakable = 0
        self._free_s: dict[tuple[bool, Trickle], float] = {}
        self._passed: Counter[tuple[bool, Trickle]] = Counter()

    def frame(self, frame: bytes, *, to_machine: bool, now: float) -> Sequence[bytes]:
        """Return what goes on at once, the same way, because ``frame`` came along."""
        if not self._is_open():
            return ()
        if self._strike is no_strike:
            return (frame,)
        direction = TO_MACHINE if to_machine else FROM_MACHINE
        deeds = self._strike(_FRAME, mac=self._mac, **frame_facts(frame, direction))
        going: list[bytes] = []
        if not deeds:
            going.append(frame)
        else:
            for held in self._done(deeds, frame, to_machine, now):
                if held.due_s > now:
                    heapq.heappush(self._held, held)
                    self._overtakable += held.behind > 0
                else:
                    going.append(held.frame)
        return [*going, *self._overtaken(to_machine, len(going))] if self._overtakable else going

    @property
    def next_due_s(self) -> float | None:
        """When the next held frame is due; None when none is held."""
        while self._held and self._held[0].gone:
            heapq.heappop(self._held)
        return self._held[0].due_s if self._held else None

    def due(self, now: float) -> Sequence[tuple[bytes, bool]]:
        """Return the held frames that go now, and whether each goes to the machine."""
        going = []
        while (next_s := self.next_due_s) is not None and next_s <= now:
            held = heapq.heappop(self._held)
            self._overtakable -= held.behind > 0
            if self._is_open():
                going.append((held.frame, held.to_machine))
        return going

    def _done(
        self, deeds: Sequence[Deed], frame: bytes, to_machine: bool, now: float
    ) -> list[_Held]:
        parts = [_Held(now, 0, frame, to_machine)]
        for deed in deeds:
            match deed:
                case Drop():
                    parts = []
                case Delay(seconds=seconds):
                    for part in parts:
                        part.due_s += seconds
                case Duplicate(times=times, seconds=gap):
                    parts = [
                        _Held(part.due_s + copy * gap, 0, part.frame, to_machine, part.behind)
                        for part in parts
                        for copy in range(times + 1)
                    ]
                case Reorder(behind=behind, seconds=seconds):
                    for part in parts:
                        part.due_s, part.behind = part.due_s + seconds, behind
                case Corrupt():
                    for part in parts:
                        part.frame = deed.apply(part.frame)
                case Truncate(octets=octets):
                    for part in parts:
                        part.frame = part.frame[: max(octets, HEADER_OCTETS)]
                case Trickle():
                    parts = [part for part in parts if self._queued(part, deed)]
        for part in parts:
            self._count += 1
            part.number = self._count
        return parts

    def _queued(self, part: _Held, line: Trickle) -> bool:
        """Put a frame at the end of a slow line; return False when it holds no more."""
        key = (part.to_machine, line)
        self._passed[key] += len(part.frame)
        if self._passed[key] <= line.at:
            return True
        began_s = max(part.due_s, self._free_s.get(key, 0.0))
        if not line.octets_per_s or began_s - part.due_s > _LINE_HOLDS_S:
            return False
        part.due_s = self._free_s[key] = began_s + len(part.frame) / line.octets_per_s
        return True

    def _overtaken(self, to_machine: bool, passed: int) -> list[bytes]:
        """Return the held frames that ``passed`` more have now overtaken."""
        going = []
        for held in sorted(self._held):
            if held.behind and held.to_machine is to_machine and not held.gone:
                held.behind = max(0, held.behind - passed)
                if not held.behind:
                    held.gone = True
                    self._overtakable -= 1
                    going.append(held.frame)
        return going
