"""How much of a machine's time its processors worked, as the host's scheduler counts it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.host.schedstat import PROC, threads_of

_NS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What the busiest of a machine's processors did. What is left of its time it was idle."""

    busy_s: float
    """Seconds it ran. A firmware that polls runs, too."""
    delayed_s: float
    """Seconds it wanted to run while the host had no processor for it."""


def effort_of(pid: int | None, proc: Path = PROC) -> Effort | None:
    """Return what a QEMU that still runs has done; None where the kernel does not tell.

    QEMU calls the threads of processors "CPU 0/TCG" (``debug-threads=on``).
    """
    found: list[tuple[float, float]] = []
    for thread in threads_of(str(pid), proc):
        with contextlib.suppress(OSError):  # QEMU's helpers come and go
            if (thread.task / "comm").read_text().startswith("CPU "):
                found.append((thread.ran_ns / _NS, thread.waited_ns / _NS))
    if not found:
        return None
    busy, delayed = max(found, key=sum)
    return Effort(busy_s=round(busy, 3), delayed_s=round(delayed, 3))
