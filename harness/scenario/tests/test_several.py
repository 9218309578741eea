"""Several items at once: the longest first, results in their order, all stopped by a Ctrl-C."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.host.durations import record_duration
from harness.report.record import read_run
from harness.report.tests.folders import failed_boot, make_run
from harness.scenario.item import Item
from harness.scenario.runner import Outcome, RunInterrupted, RunResult
from harness.scenario.several import jobs_that_fit, run_several
from harness.scenario.tests.samples import good_boot, hello

_OUTCOMES = {"bad": Outcome.FAILED, "slow": Outcome.HOST_TOO_SLOW}
"""Of items by name; all others pass."""


class Player:
    """Runs items from tapes, each until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.now = 0
        self.most = 0
        self.may_end: dict[str, asyncio.Event] = {}
        self.began = asyncio.Condition()
        self.error: Exception | None = None

    async def __call__(self, item: Item, *, runs: Path, listener: Any, on_wait: Any) -> RunResult:
        self.begun.append(item.name)
        self.now += 1
        self.most = max(self.most, self.now)
        tape = failed_boot() if item.name in _OUTCOMES else good_boot()
        for event in tape.events:
            listener(event)
        result: RunResult = read_run(make_run(runs / f"{item.name}-{item.variant}", tape, item))  # type: ignore[assignment]
        result = RunResult(
            item=item, outcome=_OUTCOMES.get(item.name, Outcome.PASSED),
            verdict=result.verdict, tracker=result.tracker, findings=(), differences=(),
            error=None, duration_s=60.0, run_dir=result.run_dir, events=tuple(tape.events),
        )  # fmt: skip
        try:
            async with self.began:
                self.began.notify_all()
            if item.name == "impossible":
                raise OSError(28, "No space left on device")
            await self.may_end.setdefault(item.name, asyncio.Event()).wait()
        except asyncio.CancelledError:
            raise RunInterrupted(replace(result, outcome=Outcome.INTERRUPTED)) from None
        finally:
            self.now -= 1
        return result

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once ``condition`` holds; looked at whenever an item begins."""
        async with asyncio.timeout(10):
            async with self.began:
                await self.began.wait_for(condition)

    def let_go(self, name: str) -> None:
        """Let an item end as soon as it has begun."""
        self.may_end.setdefault(name, asyncio.Event()).set()


def items(*names: str) -> list[Item]:
    return [replace(hello(), name=name) for name in names]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOOKLAB_HISTORY", str(tmp_path / "history"))
    monkeypatch.setenv("HOOKLAB_RUNTIME", str(tmp_path / "runtime"))


async def test_the_longest_first_and_results_in_their_order(tmp_path: Path) -> None:
    for name, seconds in (("a", 10.0), ("b", 90.0), ("bad", 50.0)):
        record_duration(f"{name}[uefi]", seconds)
    player, out = Player(), io.StringIO()
    results: list[RunResult] = []
    for name in ("a", "b", "bad", "new"):
        player.let_go(name)
    await run_several(
        items("a", "b", "bad", "new"), runs=tmp_path, jobs=2, results=results, out=out, run=player
    )
    assert player.begun == ["new", "b", "bad", "a"]
    assert [result.item.name for result in results] == ["a", "b", "bad", "new"]
    lines = out.getvalue().splitlines()
    assert sum("PASSED in 60.0 s   report" in line for line in lines) == 3
    assert sum(line.startswith("bad [uefi]   FAILED in workflow") for line in lines) == 1
    assert lines[-1].startswith("at once: up to ")


async def test_a_host_that_was_too_slow_is_told_as_that(tmp_path: Path) -> None:
    player, out = Player(), io.StringIO()
    results: list[RunResult] = []
    for name in ("slow", "bad"):
        player.let_go(name)
    await run_several(
        items("slow", "bad"), runs=tmp_path, jobs=2, results=results, out=out, run=player
    )
    told = [line for line in out.getvalue().splitlines() if "in workflow after" in line]
    assert sorted(line.partition(" in workflow")[0] for line in told) == [
        "bad [uefi]   FAILED",
        "slow [uefi]   HOST TOO SLOW",
    ]


async def test_no_more_at_once_than_wanted_and_the_next_when_one_ends(tmp_path: Path) -> None:
    player, out = Player(), io.StringIO()
    results: list[RunResult] = []
    work = asyncio.get_running_loop().create_task(
        run_several(
            items("a", "b", "c"), runs=tmp_path, jobs=2, results=results, out=out, run=player
        )
    )  # fmt: skip
    await player.until(lambda: len(player.begun) == 2)
    player.let_go("b")
    await player.until(lambda: player.begun == ["a", "b", "c"])
    player.let_go("a")
    player.let_go("c")
    await work
    assert player.most == 2
    assert len(results) == 3
    assert "at once: up to 2 labs" in out.getvalue()


async def test_ctrl_c_stops_all_and_keeps_what_there_is(tmp_path: Path) -> None:
    player = Player()
    results: list[RunResult] = []
    player.let_go("a")
    work = asyncio.get_running_loop().create_task(
        run_several(
            items("a", "b", "c", "d"), runs=tmp_path, jobs=2, results=results, out=io.StringIO(),
            run=player,
        )
    )  # fmt: skip
    await player.until(lambda: "c" in player.begun)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert player.now == 0
    assert [(result.item.name, result.outcome.value) for result in results] == [
        ("a", "passed"), ("b", "interrupted"), ("c", "interrupted")
    ]  # fmt: skip


async def test_one_that_cannot_be_run_stops_the_others(tmp_path: Path) -> None:
    player = Player()
    results: list[RunResult] = []
    with pytest.raises(OSError, match="No space"):
        await run_several(
            items("a", "impossible", "c"), runs=tmp_path, jobs=2, results=results,
            out=io.StringIO(), run=player,
        )  # fmt: skip
    assert player.now == 0
    assert [result.outcome.value for result in results] == ["interrupted"]


def test_what_fits_is_at_least_one() -> None:
    large = replace(hello(), memory_mib=1 << 30)
    assert jobs_that_fit([hello(), large]) == 1
    assert jobs_that_fit([]) == 1
    assert jobs_that_fit([replace(hello(), accel="kvm", cpus=1)]) >= 1
