"""The clock of the watch: asks, while a run goes on, whether it need not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final, NoReturn

from harness.errors import Decided
from harness.timeline import Event, Timeline
from harness.verdict import Watch

_LOOK_EVERY_S: Final = 0.5


async def until_decided(
    watch: Watch,
    timeline: Timeline,
    unsettled: Callable[[], Collection[str]],
    *,
    now: Callable[[], float] | None = None,
) -> NoReturn:
    """Return never: record ``run.decided`` and raise ``Decided`` when nothing can save the run.

    That is at most half a second, and usually at once, after the event that decided it.
    ``unsettled`` tells the places where something is still to change by itself. ``now`` is the
    clock by which the watch waits (default: real time); one that stands still while the host
    holds the machine up keeps silence that is the host's from counting.
    """
    now = now or timeline.clock.now
    for event in timeline.events:
        watch.feed(event)
    woken = asyncio.Event()

    def hear(event: Event) -> None:
        watch.feed(event)
        woken.set()

    end = timeline.subscribe(hear)
    try:
        while (ending := watch.look(now(), unsettled())) is None:
            woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await woken.wait()
    finally:
        end()
    timeline.record(
        "run",
        "run.decided",
        rule=ending.rule,
        because=ending.because,
        evidence=[event.seq for event in ending.evidence],
        hang=ending.hang,
    )
    raise Decided(ending.because, hang=ending.hang)
