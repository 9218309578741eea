"""What the lab adds to a boot: everything that is neither QEMU nor the guest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.bench.measured import Boot, boot
from harness.bench.table import Row
from harness.paths import source_root
from harness.progress import Progress

OVERHEAD_GOAL_S = 1.0
_DEADLINE_S = 3.0

_SCENARIO = """\
scenario: A machine is powered on and given up after three seconds
base: {base}
machine: {{firmware: uefi}}
deadline: {deadline:g} s
"""


async def measure_labs(*, times: int, scratch: Path, progress: Progress) -> list[Row]:
    """Start and stop a lab ``times`` times around a machine that runs three seconds."""
    scenario = scratch / "given-up.yaml"
    hello = source_root() / "scenarios" / "hello.yaml"
    scenario.write_text(_SCENARIO.format(base=hello, deadline=_DEADLINE_S), encoding="utf-8")
    labs = []
    for number in range(1, times + 1):
        with progress.step(f"lab {number} of {times}: start and stop"):
            labs.append(await boot(scenario, only="uefi", scratch=scratch, expected=(1,)))
    return rows_of(labs)


def rows_of(labs: Sequence[Boot]) -> list[Row]:
    """Return the table of these samples."""
    start = tuple(each.first("machine.powered_on").t for each in labs)
    # A busy host stretches the deadline: the dossier begins when it has passed.
    given = tuple(each.first("dossier.begun").t - on for each, on in zip(labs, start, strict=True))
    both = tuple(each.events[-1].t - on for each, on in zip(labs, given, strict=True))
    return [
        Row(
            what="lab start",
            samples=start,
            how="namespaces, Python, bridge, capture, services, QEMU up to its CPU's first step",
        ),
        Row(
            what="lab stop",
            samples=tuple(all_of_it - began for all_of_it, began in zip(both, start, strict=True)),
            how="from the deadline to the last event; QEMU's end included",
        ),
        Row(what="lab start and stop", samples=both, goal=OVERHEAD_GOAL_S),
        Row(
            what="hooklab run, less the machine's time",
            samples=tuple(each.command.wall_s - on for each, on in zip(labs, given, strict=True)),
            how="from exec to exit: also the command's Python, scenario, checks, verdict, report",
        ),
    ]
