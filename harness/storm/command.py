"""``hooklab storm``: simulated machines by the hundred through a whole netboot, and their table."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles

from harness.errors import ScenarioError
from harness.namespaces import own_namespaces
from harness.output import check_writable
from harness.process import run
from harness.storm.plan import MOST_MACHINES, STEPS, StormPlan, StormResult


def storm_command(*, machines: int, over_s: float | None, json_file: Path | None) -> int:
    """Run a storm and print its table; return 0 when every machine finished, else 1.

    ``over_s`` None spreads the power-ons so that 50 machines start each second. Raises
    ``ScenarioError`` for numbers out of range.
    """
    if not 1 <= machines <= MOST_MACHINES:
        raise ScenarioError(f"--machines takes 1 to {MOST_MACHINES}, found {machines}")
    if over_s is not None and not 0 <= over_s <= 3600:
        raise ScenarioError(f"--over takes 0 to 3600 seconds, found {over_s:g}")
    check_writable("--json", json_file)
    plan = StormPlan(machines=machines, over_s=machines / 50 if over_s is None else over_s)
    print(f"{machines} machines, powered on over {plan.over_s:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="hooklab-storm-") as folder:
        result = asyncio.run(storm(plan, Path(folder)))
    print(table(plan, result))
    if json_file:
        json_file.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return 1 if result.failed else 0


async def storm(plan: StormPlan, folder: Path) -> StormResult:
    """Run ``plan`` in namespaces of its own; its timeline is left in ``folder``.

    Raises ``CommandFailed`` when the lab can't be had.
    """
    argv = [*own_namespaces(), sys.executable, "-m", "harness.storm.lab", str(folder)]
    done = await run(argv, stdin=plan.to_json().encode() + b"\n")
    return StormResult(**json.loads(done.stdout))


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the ``percent``-th percentile (1 to 99) of ``samples``, of which there is one."""
    if len(samples) == 1:
        return samples[0]
    return quantiles(samples, n=100, method="inclusive")[percent - 1]


def table(plan: StormPlan, result: StormResult) -> str:
    """Return the storm as text: a line for each step, then what became of the machines."""
    lines = [f"  {'step':22} {'machines':>8} {'median':>9} {'p99':>9} {'most':>9}   ms"]
    for step in STEPS:
        samples = [1000 * seconds for seconds in result.seconds.get(step, ())]
        if samples:
            middle, late = percentile(samples, 50), percentile(samples, 99)
            lines.append(
                f"  {step:22} {len(samples):8} {middle:9.1f} {late:9.1f} {max(samples):9.1f}"
            )
    lines.append(
        f"{result.finished} of {plan.machines} machines finished their workflow in "
        f"{result.wall_s:.1f} s; {result.failed} failed; "
        f"{result.retransmits} datagrams were sent again"
    )
    lines += [f"  {error}" for error in result.errors]
    return "\n".join(lines)
