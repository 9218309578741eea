"""``hooklab bench``: measure, and print one table a part."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.bench.boots import measure_boots
from harness.bench.builds import measure_builds
from harness.bench.costs import measure_report, measure_timeline
from harness.bench.frames import measure_frames
from harness.bench.labs import measure_labs
from harness.bench.pulls import measure_pulls
from harness.bench.resume import measure_resume
from harness.bench.servers import measure_servers
from harness.bench.suite import measure_suite
from harness.bench.table import Row, ratio, render
from harness.errors import LabError, ScenarioError
from harness.host.history import append
from harness.output import check_writable
from harness.paths import cache_root
from harness.progress import PlainProgress
from harness.report.remembered import code_version

Measure = Callable[..., Awaitable[list[Row]]]


async def _measure_registry(*, times: int, scratch: Path, progress: PlainProgress) -> list[Row]:
    with progress.step("registry: pulls of 200 MiB"):
        found = await measure_pulls(scratch, repeats=times)
    rows = {
        kind: Row(what=f"pull of 200 MiB, {label}", samples=found[kind])
        for kind, label in (
            ("aiohttp", "bare aiohttp"),
            ("http", "registry, HTTP"),
            ("https", "registry, TLS"),
        )
    }
    how = "one client over loopback; the registry with its timeline on disk"
    return [*rows.values(), ratio("registry / bare", rows["http"], rows["aiohttp"], how=how)]


PARTS: Final[dict[str, tuple[str, Measure]]] = {
    "build": ("Building", measure_builds),
    "registry": ("The registry", _measure_registry),
    "servers": ("The servers, against others of their kind", measure_servers),
    "frames": ("Frames through the segment", measure_frames),
    "timeline": ("The timeline", measure_timeline),
    "report": ("The report of a run of a minute", measure_report),
    "lab": ("The lab itself", measure_labs),
    "resume": ("Checkpoints", measure_resume),
    "suite": ("Scenarios at once", measure_suite),
    "boot": ("A cold boot to a finished workflow", measure_boots),
}


def bench_command(parts: Sequence[str], *, times: int, json_file: Path | None) -> int:
    """Measure ``parts`` (none: all) ``times`` times each; return 0, or 1 when a goal is missed.

    Raises ``ScenarioError`` for an unknown part, and what the measured commands raise.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise ScenarioError(
            f"no such part: {', '.join(unknown)}", hint=f"known here: {', '.join(PARTS)}"
        )
    if times < 1:
        raise ScenarioError(f"-n takes a number from 1 on, found {times}")
    check_writable("--json", json_file)
    rows = asyncio.run(_measure(parts or list(PARTS), times))
    remember(rows)
    if json_file:
        data = {part: [row.to_data() for row in found] for part, found in rows.items()}
        json_file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    missed = [row.what for found in rows.values() for row in found if row.is_met is False]
    print(f"goals missed: {'; '.join(missed)}" if missed else "every goal is met")
    return 1 if missed else 0


def remember(rows: Mapping[str, Sequence[Row]]) -> None:
    """Add what was measured to this host's history, which ``hooklab trend`` shows.

    A row that is set in belongs to the one above, whose name it has there: ``cold / resumed`` is
    told of each point, and ``the lab / dnsmasq`` of each protocol.
    """
    code = code_version()
    for part, found in rows.items():
        above = ""
        for row in found:
            what = row.what.strip()
            if row.what == what:
                above = what
            elif above:
                what = f"{above}: {what}"
            append("bench", {"part": part, "code": code, **row.to_data(), "what": what})


async def _measure(parts: Sequence[str], times: int) -> dict[str, list[Row]]:
    progress = PlainProgress()
    rows: dict[str, list[Row]] = {}
    print(
        f"{platform.node()}: {os.cpu_count()} CPUs, medians of {times} or more",
        flush=True,
    )
    base = cache_root() / "bench"
    base.mkdir(parents=True, exist_ok=True)
    for part in parts:
        title, measure = PARTS[part]
        # In the cache, because hard links and large files need its file system.
        scratch = Path(tempfile.mkdtemp(prefix=f"{part}-", dir=base))
        try:
            rows[part] = await measure(times=times, scratch=scratch, progress=progress)
        except LabError:
            progress.say(f"what there is of it is kept: {scratch}")
            raise
        except BaseException:  # Ctrl-C, a full disk: nobody wants what may be gigabytes
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        print(render(title, rows[part]), flush=True)
    return rows
