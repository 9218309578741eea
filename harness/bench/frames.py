"""Frames a second through each kind of segment, and what a capture costs.

The machine's end sends full frames as QEMU does, and the lab's kernel answers each with one as
long: nothing but the segment itself is measured. The baseline is the plain bridge, whose frames
no program of ours sees.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.bench.table import Row, ratio
from harness.namespaces import own_namespaces
from harness.net.segment import probe_tun
from harness.process import run
from harness.progress import PlainProgress

WIRE_GOAL: Final = 0.3
_HOW: Final = "1514 octets each, both ways, 64 echoes on their way at a time"


async def measure_frames(
    *, times: int, scratch: Path, progress: PlainProgress, echoes: int = 20_000
) -> list[Row]:
    """Return the frames a second of wire, bridge and captured bridge; without taps, of wire."""
    reason = probe_tun()
    sides = ["wire"] if reason else ["bridge", "wire", "captured"]
    if reason:
        progress.say(f"frames: only the wire, there are no taps here ({reason})")
    orders = {"times": times, "folder": str(scratch), "sides": sides, "echoes": echoes}
    with progress.step("frames: each segment by turns"):
        argv = [*own_namespaces(), sys.executable, "-m", "harness.bench.frame_lab"]
        done = await run(argv, stdin=json.dumps(orders).encode() + b"\n")
    found: Mapping[str, Sequence[float]] = json.loads(done.stdout.splitlines()[-1])
    return rows_of(found)


def rows_of(found: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return the table of these samples, in frames a second."""

    def row(side: str, what: str, how: str = "") -> Row:
        return Row(
            what=what,
            samples=tuple(found[side]),
            unit="/s",
            more_is_better=True,
            by="best",
            how=how,
        )

    wire = row("wire", "frames, the wire (a pump in Python)", _HOW)
    if "bridge" not in found:
        return [wire]
    bridge = row("bridge", "frames, the plain bridge (a tap)", _HOW)
    captured = row("captured", "frames, the plain bridge with its capture")
    return [
        bridge,
        wire,
        ratio("  wire / plain bridge", wire, bridge, goal=WIRE_GOAL),
        captured,
        ratio("  with / without a capture", captured, bridge),
    ]
