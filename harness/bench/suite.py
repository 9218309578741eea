"""Scenarios a minute, by how many run at once.

The scenario is a boot that is decided at its kernel: firmware and iPXE are emulated, the servers
serve, and the verdict ends it. One after another is the baseline; the others are as many at once
as the host has CPUs, and half of that.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Final

from harness.bench.measured import own_records, run_command
from harness.bench.table import Row, ratio
from harness.errors import BuildFailed
from harness.paths import source_root
from harness.progress import Progress

_LABS_A_JOB: Final = 2
"""How many each of the most jobs gets: enough that beginning and end do not count for much."""

_SCENARIO: Final = """\
scenario: A boot that is decided at its kernel, number {number}
base: {base}
machine: {{firmware: uefi}}
faults:
  - at: http
    when: {{file: kernel}}
    do: {{status: 404}}
deadline: 5 min
expect:
  - no event: guest.kernel.started
verdict:
  failed in: kernel-initramfs
  blame: http
"""


def numbers_of_jobs(cpus: int) -> list[int]:
    """Return the numbers of jobs to measure: 1, half of the CPUs, all of them."""
    return sorted({1, max(1, cpus // 2), cpus})


async def measure_suite(*, times: int, scratch: Path, progress: Progress) -> list[Row]:
    """Run the same scenarios with each number of jobs ``times`` times, by turns.

    Raises ``BuildFailed`` when one of them does not end as its scenario says.
    """
    jobs = numbers_of_jobs(len(os.sched_getaffinity(0)))
    count = _LABS_A_JOB * jobs[-1]
    folder = scratch / "suite"
    await asyncio.to_thread(_write_scenarios, folder, count)
    found: dict[int, list[float]] = {number: [] for number in jobs}
    for turn in range(1, times + 1):
        for number in jobs:
            with progress.step(f"suite {turn} of {times}: {count} scenarios, {number} at once"):
                found[number].append(count * 60 / await _seconds(folder, number, scratch, count))
    return rows_of(found)


def rows_of(found: dict[int, list[float]]) -> list[Row]:
    """Return the table of these samples: scenarios a minute by number of jobs."""
    rows = {
        number: Row(
            what=f"scenarios a minute, -j {number}",
            samples=tuple(samples),
            unit="/min",
            more_is_better=True,
            how="from exec to exit, boots that are decided at their kernel" if number == 1 else "",
        )
        for number, samples in found.items()
    }
    one = rows[1]
    more = [row for number, row in rows.items() if number != 1]
    return [
        one,
        *(each for row in more for each in (row, ratio(f"  {row.what[-4:]} / -j 1", row, one))),
    ]


def _write_scenarios(folder: Path, count: int) -> None:
    folder.mkdir()
    hello = source_root() / "scenarios" / "hello.yaml"
    for number in range(count):
        text = _SCENARIO.format(number=number, base=hello)
        (folder / f"decided-{number}.yaml").write_text(text, encoding="utf-8")


async def _seconds(folder: Path, jobs: int, scratch: Path, count: int) -> float:
    written = scratch / "suite.json"
    done = await run_command(
        *("run", str(folder), "-j", str(jobs), "--start", "cold", "--json", str(written)),
        cwd=scratch,
        env=own_records(scratch),
    )
    results = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else []
    if done.status != 0 or len(results) != count:
        tail = "\n".join(done.output.splitlines()[-15:])
        raise BuildFailed(f"a suite with -j {jobs} ended with {done.status}\n{tail}")
    written.unlink()
    return done.wall_s
