"""Checkpoints: what saving takes, what resuming takes, and the cold way to the same point.

A run from ``hook-up`` goes on to its end; one from another point is given up when its guest has
answered, seconds later.
The machine has a MAC address of its own, so that nothing saved before fits; what was saved for it
is removed at the end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.bench.measured import Boot, boot, run_command
from harness.bench.table import Row, ratio
from harness.errors import BuildFailed
from harness.paths import source_root
from harness.progress import Progress

POINTS: Final = ("ipxe", "hook-up", "worker-up")
RESUME_GOAL_S: Final = 1.0
GAIN_GOAL: Final = 40.0
SAVE_GOAL_S: Final = 2.0
SIZE_GOAL_MB: Final = 300.0
HELLO_GOAL_S: Final = 30.0
_SAVED: Final = "checkpoint.saved"
_HELD_TO: Final = ("hook-up", "worker-up")
"""Points that are far enough from power-on for the gain that is asked for."""
_FROM_GUEST: Final = (
    "http.request.received",
    "registry.tls.failed",  # docker tries TLS first, and the registry has none
    "registry.request.received",
    "tink.connection.accepted",
)

_SCENARIO: Final = """\
scenario: Hello, begun at {start}
base: {base}
machine: {{firmware: uefi, mac: "{mac}"}}
start: {start}
"""
_DEADLINE: Final = "deadline: {deadline:g} s\n"
_GIVEN_UP_AFTER_S: Final = 5.0
_TO_THE_END: Final = "hook-up"
"""The point from which a whole hello is measured."""


async def measure_resume(*, times: int, scratch: Path, progress: Progress) -> list[Row]:
    """Boot hello once cold, saving at every point, and then ``times`` times from each."""
    mac = "52:54:00:" + secrets.token_bytes(3).hex(":")

    async def hello(start: str, deadline_s: float | None = None) -> Boot:
        scenario = await asyncio.to_thread(
            write_scenario, scratch, start=start, mac=mac, deadline_s=deadline_s
        )
        expected = (0,) if deadline_s is None else (0, 1)
        return await boot(scenario, only="uefi", scratch=scratch, start=start, expected=expected)

    with progress.step("resume: a cold boot that saves at every point"):
        cold = await hello("auto")
    saved = {event["point"]: str(event["key"]) for event in cold.events if event.name == _SAVED}
    for point in POINTS:
        if point not in saved:
            progress.say(f"resume: nothing was saved at {point}; {cold.run_dir} says why")
    try:
        resumed: dict[str, list[Boot]] = {point: [] for point in POINTS if point in saved}
        for turn in range(1, times + 1):
            for point in resumed:
                with progress.step(f"resume {turn} of {times}: from {point}"):
                    resumed[point].append(await hello(point, _given_up_s(cold, point)))
    finally:
        for key in saved.values():
            await run_command("cache", "clear", key, cwd=scratch)
    return rows_of(cold, resumed)


def write_scenario(folder: Path, *, start: str, mac: str, deadline_s: float | None = None) -> Path:
    """Write hello with a start and a MAC address of its own; return its path.

    ``deadline_s`` is another one than hello's; a checkpoint does not depend on it.
    """
    scenario = folder / f"from-{start}.yaml"
    base = source_root() / "scenarios" / "hello.yaml"
    text = _SCENARIO.format(start=start, base=base, mac=mac)
    if deadline_s is not None:
        text += _DEADLINE.format(deadline=deadline_s)
    scenario.write_text(text, encoding="utf-8")
    return scenario


def _given_up_s(cold: Boot, point: str) -> float | None:
    """Return when a run from ``point`` is given up, in seconds since power-on; None: never."""
    if point == _TO_THE_END:
        return None
    passed_s = cold.first(_SAVED, point=point).t - cold.first("machine.powered_on").t
    return round(passed_s + _GIVEN_UP_AFTER_S, 1)


def rows_of(cold: Boot, resumed: Mapping[str, Sequence[Boot]]) -> list[Row]:
    """Return the table of these boots. Raises ``BuildFailed`` for one that was not resumed."""
    rows: list[Row] = []
    powered_on = cold.first("machine.powered_on").t
    for point, boots in resumed.items():
        saved = cold.first(_SAVED, point=point)
        way = Row(
            what=f"cold to {point}",
            samples=(_point_of(boots[0]) - powered_on,),
            how="from the start of QEMU's CPU" if not rows else "",
        )
        answered = Row(
            what=f"resumed at {point}, to a guest that answers",
            samples=tuple(map(_answered_s, boots)),
            goal=RESUME_GOAL_S,
            how="from the lab's start to the first that its guest asks a server",
        )
        rows += [
            way,
            answered,
            ratio(
                "  cold / resumed", way, answered,
                goal=GAIN_GOAL if point in _HELD_TO else None, more_is_better=True,
            ),
            Row(
                what=f"saving at {point}",
                samples=(float(saved["duration_s"]),),
                goal=SAVE_GOAL_S,
                how="how long the machine stands still",
            ),
            Row(
                what="  size of the checkpoint",
                samples=(saved["bytes"] / 1e6,),
                unit="MB",
                goal=SIZE_GOAL_MB,
            ),
        ]  # fmt: skip
    if "hook-up" not in resumed:
        return rows
    all_of_it = Row(what="hello, cold", samples=(cold.command.wall_s,), how="from exec to exit")
    from_hook = Row(
        what="hello from hook-up",
        samples=tuple(each.command.wall_s for each in resumed["hook-up"]),
        goal=HELLO_GOAL_S,
    )
    quotient = ratio("  cold / from hook-up", all_of_it, from_hook, more_is_better=True)
    return [*rows, all_of_it, from_hook, quotient]


def _point_of(resumed: Boot) -> float:
    """Return when its machine came to the point, in seconds since its lab was started."""
    event = resumed.first("lab.resumed")
    return float(event["saved_s"]) + float(event["duration_s"])


def _answered_s(resumed: Boot) -> float:
    event = resumed.first("lab.resumed")
    for later in resumed.events:
        if later.seq > event.seq and later.name in _FROM_GUEST:
            return float(event["duration_s"]) + later.t - event.t
    raise BuildFailed("a resumed guest asked no server", hint=f"see {resumed.run_dir}")
