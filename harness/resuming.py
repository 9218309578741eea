"""Begin a run's lab where it can begin: at a checkpoint, or else at power-on.

A checkpoint that turns out to be of no use costs the time that was spent on it and nothing else:
what its lab left is removed, and the run begins again as if there had been none.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Protocol

from harness.brief import Brief
from harness.checkpoint.choice import Choice
from harness.errors import LabError
from harness.lab import Lab
from harness.lab_resumption import Resumption, lacks_memory
from harness.timeline import Timeline

_MEMINFO: Final = Path("/proc/meminfo")
_LEFT: Final = ("*.img", "uefi-vars.fd", "serial-*.log", "capture.pcapng", "qemu.log")
"""What a lab that could not be resumed leaves in the run folder."""


class Telling(Protocol):
    """Tells somebody of the timeline's events."""

    def go_on(self) -> None:
        """Tell what was not told."""


@contextlib.asynccontextmanager
async def begun(
    brief: Brief, run_dir: Path, timeline: Timeline, choice: Choice, teller: Telling
) -> AsyncIterator[Lab]:
    """Yield the lab of ``brief``: one that goes on already, or one that is to be powered on."""
    async with contextlib.AsyncExitStack() as stack:
        lab = None
        if choice.saved is not None:
            lab = await _resumed(stack, brief, run_dir, timeline, choice, teller)
        if lab is None:
            lab = await stack.enter_async_context(
                Lab(brief, run_dir=run_dir, timeline=timeline, builds=choice)
            )
        yield lab


async def _resumed(
    stack: contextlib.AsyncExitStack,
    brief: Brief,
    run_dir: Path,
    timeline: Timeline,
    choice: Choice,
    teller: Telling,
) -> Lab | None:
    """Return the lab that goes on from the checkpoint; None when it came to nothing."""
    assert choice.saved is not None
    if (reason := lacks_memory(choice.saved.meta, _MEMINFO.read_text())) is not None:
        await choice.cold(reason, of_use=True)
        return None
    clock = timeline.clock
    before = list(timeline.events), clock.origin_s, clock.started_at
    timeline.hold()
    trying = contextlib.AsyncExitStack()
    try:
        resumption = Resumption(choice.saved)
        lab = await trying.enter_async_context(
            Lab(
                brief,
                run_dir=run_dir,
                timeline=timeline,
                resumption=resumption,
                builds=choice,
            )
        )
        await lab.resume()
    except (LabError, OSError, ValueError, KeyError, TypeError) as error:
        await trying.aclose()
        events, clock.origin_s, clock.started_at = before
        clock.held_s = None
        timeline.replace(events)
        timeline.release()
        _remove_what_is_left(run_dir)
        await choice.cold(str(error))
        return None
    except BaseException:
        await trying.aclose()
        timeline.release()
        teller.go_on()
        raise
    choice.let_go()
    timeline.release()
    teller.go_on()
    await stack.enter_async_context(trying)
    return lab


def _remove_what_is_left(run_dir: Path) -> None:
    for pattern in _LEFT:
        for path in run_dir.glob(pattern):
            path.unlink()
