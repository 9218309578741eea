"""One ``hooklab`` command, run as a user runs it, with its time and the memory of its processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BuildFailed
from harness.host.usage import LinuxUsage
from harness.paths import source_root
from harness.process import command_line, send_signal, start_program
from harness.timeline import Event, read_timeline

_SAMPLE_EVERY_S = 0.25
"""How often memory is read. The kernel keeps the peak, so that only its last rise can be missed."""
_TREE_EVERY = 4
"""Every so many samples all processes are looked at: the kernel walks their page tables for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """What one command took."""

    status: int
    began_s: float
    """CLOCK_MONOTONIC."""
    wall_s: float
    sealed_peak_bytes: int
    """Peak resident memory of the process that is the lab: services, monitor, gRPC server."""
    outer_peak_bytes: int
    """The same of the command itself."""
    tree_peak_bytes: int = 0
    """Peak of what the command and all below it take, QEMU included (PSS); 0: not measured."""
    output: str


async def run_command(
    *words: str, cwd: Path, sources: Path | None = None, env: Mapping[str, str] | None = None
) -> CommandRun:
    """Run ``hooklab WORDS`` from ``cwd``; ``sources`` is another checkout to take it from."""
    usage = LinuxUsage()
    argv = [sys.executable, "-P", "-m", "harness", *words]
    root = sources or source_root()
    began_s = time.monotonic()
    process = await start_program(
        *argv,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root), **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    communicating = asyncio.gather(process.communicate())
    sealed = outer = tree = samples = 0
    try:
        while not communicating.done():
            await asyncio.wait({communicating}, timeout=_SAMPLE_EVERY_S)
            samples += 1
            if samples % _TREE_EVERY == 0:
                pids = {process.pid}
                tree = max(tree, await asyncio.to_thread(usage.proportional_memory_of, pids))
            outer = max(outer, _peak_bytes(process.pid))
            sealed = max(sealed, max(map(_peak_bytes, _sealed_below(process.pid)), default=0))
    except BaseException:
        send_signal(process, signal.SIGTERM)
        await process.wait()
        raise
    ((output, _),) = communicating.result()
    assert process.returncode is not None
    return CommandRun(
        status=process.returncode,
        began_s=began_s,
        wall_s=time.monotonic() - began_s,
        sealed_peak_bytes=sealed,
        outer_peak_bytes=outer,
        tree_peak_bytes=tree,
        output=output.decode(errors="replace"),
    )


def _peak_bytes(pid: int) -> int:
    """Return VmHWM of a process, 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(found.split()[1]) << 10 if found else 0


def _sealed_below(pid: int) -> list[int]:
    """Return the processes below ``pid`` that run ``harness.sealed``."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
        try:
            words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"harness.sealed" in words and words[0].rpartition(b"/")[2].startswith(b"python"):
            found.append(parent)
    return found


def own_records(scratch: Path) -> dict[str, str]:
    """Return the environment of a run that leaves its records in ``scratch``.

    What is booted to be measured is none of the runs that ``hooklab trend`` compares.
    """
    return {"HOOKLAB_RUNS": str(scratch / "runs"), "HOOKLAB_HISTORY": str(scratch / "history")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One run of a scenario's item."""

    command: CommandRun
    result: Mapping[str, Any]
    """Its entry of ``--json``."""
    events: Sequence[Event]

    @property
    def run_dir(self) -> Path:
        """Where the run left its files."""
        return Path(self.result["run_dir"])

    def first(self, name: str, **fields: Any) -> Event:
        """Return the first event ``name`` with these fields. Raises ``BuildFailed`` without one."""
        for event in self.events:
            if event.name == name and all(event.get(key) == value for key, value in fields.items()):
                return event
        raise BuildFailed(
            f"a run without {name} can't be measured; it ended {self.result['outcome']}",
            hint=f"see {self.run_dir}",
        )


async def boot(
    scenario: Path,
    *,
    only: str,
    scratch: Path,
    expected: Sequence[int] = (0,),
    start: str = "cold",
) -> Boot:
    """Run one item of ``scenario`` with its run folder in ``scratch``; it begins at ``start``.

    Raises ``BuildFailed`` with the command's words when it ends otherwise than ``expected``.
    """
    written = scratch / "out.json"
    words = ["run", str(scenario), "-k", only, "--json", str(written), "--start", start]
    done = await run_command(*words, cwd=scratch, env=own_records(scratch))
    if done.status not in expected or not written.is_file():
        tail = "\n".join(done.output.splitlines()[-15:])
        raise BuildFailed(f"{command_line(['hooklab', *words])} ended with {done.status}\n{tail}")
    (result,) = json.loads(written.read_text(encoding="utf-8"))
    written.unlink()
    events = read_timeline(Path(result["run_dir"]) / "timeline.jsonl")
    return Boot(command=done, result=result, events=events)
