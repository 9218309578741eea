"""Several scenarios at once: who makes checkpoints first, the longest first, as many as fit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from harness.checkpoint.order import makers_first
from harness.host.capacity import Capacity, runtime_folder
from harness.host.durations import expected_durations, longest_first
from harness.host.usage import LinuxUsage
from harness.report.board import Board, name_of
from harness.report.text import Style, final_block
from harness.scenario.item import Item
from harness.scenario.runner import (
    Listener,
    Outcome,
    RunInterrupted,
    RunResult,
    need_of,
    run_item,
)
from harness.tasks import TaskKeeper
from harness.timeline import Event

_TICK_S: Final = 0.2
_LOOK_S: Final = 2.0
"""How often the memory of all labs is measured, which takes some 10 ms a lab."""


class RunsItem(Protocol):
    """Runs one item: ``harness.scenario.runner.run_item``."""

    async def __call__(
        self, item: Item, *, runs: Path, listener: Listener, on_wait: Any
    ) -> RunResult:
        """Return what ``item`` came to; raise ``RunInterrupted`` when cancelled."""


def jobs_that_fit(items: Sequence[Item]) -> int:
    """Return how many of ``items`` this host could run at once, were nothing else on it."""
    capacity = Capacity(runtime_folder())
    return min((capacity.fitting(need_of(item)) for item in items), default=1)


async def run_several(
    items: Sequence[Item],
    *,
    runs: Path,
    jobs: int,
    results: list[RunResult],
    out: TextIO | None = None,
    run: RunsItem = run_item,
) -> None:
    """Run ``items``, at most ``jobs`` at once, and put what they came to into ``results``.

    These are in the order of ``items``, whichever ended first. When this is cancelled all labs are
    stopped cleanly, and what was cut off is among the results. When one can't be run at all, the
    others are stopped and its exception is raised.
    """
    batch = _Batch(items=items, runs=runs, board=Board(out or sys.stdout), run=run)
    keeper = TaskKeeper()
    keeper.spawn(batch.tick(), name="elapsed time")
    keeper.spawn(batch.watch_memory(), name="memory of all labs")
    tasks = {
        keeper.spawn(batch.one_after_the_other(), name=f"job {number}")
        for number in range(max(1, min(jobs, len(items))))
    }
    try:
        await _all(tasks)
    finally:
        await keeper.close()
        batch.board.finish()
        results += [batch.found[index] for index in sorted(batch.found)]
    batch.board.say(batch.summary())


def ending_of(result: RunResult, style: Style, *, on_terminal: bool) -> str:
    """Return how a run ended, for a person; on a terminal as wide as that."""
    return final_block(
        item=result.item,
        passed=result.passed,
        verdict=result.verdict,
        total_s=result.duration_s,
        run_dir=result.run_dir,
        style=style,
        outcomes=result.findings,
        differences=result.differences,
        events=result.events,
        width=shutil.get_terminal_size().columns if on_terminal else None,
        host_too_slow=result.outcome is Outcome.HOST_TOO_SLOW,
    )


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    """Await ``tasks``; pass each cancellation on to them, and stop all when one fails."""
    cancelled = False
    failure: BaseException | None = None
    while tasks:
        try:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            cancelled = True
            for task in tasks:
                task.cancel()
            continue
        errors = [task.exception() for task in done if not task.cancelled()]
        new = next((error for error in errors if error is not None), None)
        if new is not None and failure is None:
            failure = new
            for task in tasks:
                task.cancel()
    if cancelled:
        raise asyncio.CancelledError
    if failure is not None:
        raise failure


@dataclass(kw_only=True)
class _Batch:
    items: Sequence[Item]
    runs: Path
    board: Board
    run: RunsItem
    found: dict[int, RunResult] = field(default_factory=dict)
    """By the item's place among all."""
    _started: set[int] = field(default_factory=set)
    _most: int = 0
    _peak_bytes: int = 0

    def __post_init__(self) -> None:
        order = longest_first(
            range(len(self.items)), expected_durations(), id_of=lambda n: self.items[n].id
        )
        self._queue = iter(makers_first(order, item_of=self.items.__getitem__))

    async def one_after_the_other(self) -> None:
        """Run items until none is left."""
        for index in self._queue:
            item = self.items[index]
            row = self.board.add(item)

            def feed(event: Event, index: int = index, listener: Listener = row.feed) -> None:
                self._started.add(index)
                self._most = max(self._most, len(self._started))
                listener(event)

            try:
                result = await self.run(item, runs=self.runs, listener=feed, on_wait=row.wait)
            except RunInterrupted as interrupted:
                self.found[index] = interrupted.result
                raise
            finally:
                self._started.discard(index)
                self.board.remove(row)
            self.found[index] = result
            self.board.say(self._outcome(result))

    async def tick(self) -> None:
        """Let the elapsed times move on."""
        while True:
            await asyncio.sleep(_TICK_S)
            with contextlib.suppress(OSError):  # a terminal that went away
                self.board.draw()

    async def watch_memory(self) -> None:
        """Keep the most that all labs and this process took at a time."""
        usage = LinuxUsage()
        while True:
            await asyncio.sleep(_LOOK_S)
            now = await asyncio.to_thread(usage.proportional_memory_of, [os.getpid()])
            self._peak_bytes = max(self._peak_bytes, now)

    def summary(self) -> str:
        """Return what being several took: ``at once: up to 2 labs, 2.1 GiB of memory``."""
        labs = f"up to {self._most} lab{'s' if self._most != 1 else ''}"
        memory = f", {self._peak_bytes / (1 << 30):.1f} GiB of memory" if self._peak_bytes else ""
        return f"at once: {labs}{memory}"

    def _outcome(self, result: RunResult) -> str:
        style = self.board.style
        block = ending_of(result, style, on_terminal=self.board.live)
        return f"{style.bold(name_of(result.item))}   {block}"
