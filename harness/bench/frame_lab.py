"""The lab's end of ``harness.bench.frames``: both kinds of segment, by turns, and a capture.

Runs as ``python -m harness.bench.frame_lab`` in namespaces of its own, with its orders on stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from harness.bench.cpu import go_first
from harness.bench.frame_load import LAB
from harness.clock import Deadline
from harness.errors import SetupFailed
from harness.net.capture import Capture
from harness.net.segment import Segment, SegmentKind
from harness.process import send_signal, start_program
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

_ECHOES: Final = 20_000
_WINDOW: Final = 64
_FEW: Final = 100
"""Echoes before anything is measured: addresses are known then, and code is warm."""
_READY: Final = timedelta(seconds=10)


async def measure(
    *, times: int, folder: str, sides: Sequence[str], echoes: int = _ECHOES
) -> dict[str, list[float]]:
    """Return the frames a second of each side: ``bridge``, ``wire`` or ``captured`` (a bridge)."""
    found: dict[str, list[float]] = defaultdict(list)
    for turn in range(times):
        for side in reversed(sides) if turn % 2 else sides:
            private = Path(folder) / f"{side}{turn}"
            private.mkdir()
            async with _machine(side, private) as machine:
                await _ask(machine, count=_FEW, window=1)
                seconds = await _ask(machine, count=echoes, window=_WINDOW)
                found[side].append(2 * echoes / seconds)
    return found


@asynccontextmanager
async def _machine(side: str, private: Path) -> AsyncIterator[Process]:
    """Make a segment with one machine for as long as the block lasts."""
    kind = SegmentKind.WIRE if side == "wire" else SegmentKind.BRIDGE
    timeline, tasks = Timeline(None), TaskKeeper()
    segment = Segment(
        timeline=timeline, tasks=tasks, address=f"{LAB}/24", kind=kind, private_dir=private
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.close)
        await segment.start()
        stack.push_async_callback(segment.stop)
        port = await segment.plug_in("machine")
        if side == "captured":
            capture = Capture(
                timeline=timeline,
                tasks=tasks,
                interface=segment.bridge,
                path=private / "capture.pcapng",
            )
            await capture.start()
            stack.push_async_callback(capture.stop)
        process = await start_program(
            *(
                sys.executable,
                "-m",
                "harness.bench.frame_load",
                kind,
                port.name,
                os.fspath(private),
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await _line(process)
            await tasks.race(port.ready(), Deadline.after(_READY), waiting_for="the port")
            yield process
        finally:
            send_signal(process)
            await process.wait()


async def _ask(machine: Process, **order: int) -> float:
    assert machine.stdin is not None
    machine.stdin.write(json.dumps(order).encode() + b"\n")
    return float(await _line(machine))


async def _line(machine: Process) -> bytes:
    assert machine.stdout is not None
    line = await machine.stdout.readline()
    if not line:
        raise SetupFailed(f"the machine gave up with {await machine.wait()}")
    return line.strip()


def main() -> None:
    """Measure, and print what was found as JSON."""
    orders = json.loads(sys.stdin.readline())
    go_first()
    print(json.dumps(asyncio.run(measure(**orders))))


if __name__ == "__main__":
    main()
