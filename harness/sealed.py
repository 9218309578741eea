"""What runs inside the seal: build the lab of one item, run it to its end, leave a timeline.

Started by ``harness.scenario.runner`` as ``python -m harness.sealed RUN_DIR FD``; ``FD`` is an
open file with the ``Brief``, which also carries the clock's origin. Every event
goes to ``timeline.jsonl`` and, as the same line, to stdout; stdin is the life line, whose end
asks for a clean stop. Exit status: 0 when the run came to an end, whatever it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.seal import life_line_ended, settle_in

if TYPE_CHECKING:
    from harness.brief import Brief
    from harness.clock import Clock
    from harness.lab import Lab
    from harness.timeline import Event, Timeline


def main(argv: list[str]) -> int:
    """Become the lab's process tree, then run the item of the run folder in ``argv``."""
    from harness.errors import LabError
    from harness.output import escape_unknown_characters

    escape_unknown_characters()  # events go out as lines of text
    try:
        settle_in()
        # Heavy imports come after the fork, so that PID 1 stays small.
        return asyncio.run(_run(Path(argv[1]), int(argv[2])))
    except (LabError, OSError) as error:
        with contextlib.suppress(OSError):
            print(error, file=sys.stderr, flush=True)  # to lab.log
        return 1


async def _run(run_dir: Path, brief_fd: int) -> int:
    from harness import __version__
    from harness.brief import read_brief
    from harness.clock import Clock

    brief = read_brief(brief_fd)
    item = brief.item
    began = datetime.now(UTC) - timedelta(seconds=time.monotonic() - brief.origin_s)
    clock = Clock(origin_s=brief.origin_s, started_at=began)
    timeline, unwritable = _open_timeline(run_dir / "timeline.jsonl", clock)
    teller = Teller(timeline)
    timeline.record(
        "run",
        "run.started",
        scenario=item.title,
        item=item.id,
        run_dir=str(run_dir),
        wall=began.isoformat(),
        version=__version__,
    )
    if unwritable is None:
        outcome = await _until_stopped(brief, run_dir, timeline, teller)
    else:
        outcome = _ended(unwritable, timeline)
    timeline.record("run", "run.finished", outcome=outcome)
    timeline.close()
    return 0


def _open_timeline(file: Path, clock: Clock) -> tuple[Timeline, OSError | None]:
    """Return the timeline; one that is only told, and why, when ``file`` can't be written."""
    from harness.timeline import Timeline

    try:
        return Timeline(file, clock), None
    except OSError as error:
        return Timeline(None, clock), error


class Teller:
    """Tells the outer process of each event that is in the file."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._told = 0
        timeline.subscribe(self._hear)

    def _hear(self, _event: Event) -> None:
        if not self._timeline.held:
            self.go_on()

    def go_on(self) -> None:
        """Tell all that was not told."""
        news = self._timeline.events[self._told :]
        # When the outer process was killed there is nobody to tell: the life line's end says so.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.writelines(event.to_json() + "\n" for event in news)
            sys.stdout.flush()
        self._told = self._timeline.last_seq


async def _until_stopped(brief: Brief, run_dir: Path, timeline: Timeline, teller: Teller) -> str:
    """Run the lab until it ends or the life line does; return how it ended, in a word."""
    from harness.tasks import TaskKeeper

    keeper = TaskKeeper()
    pause = Pause(brief, timeline)
    stopped = keeper.spawn(life_line_ended(), name="life line")
    driving = keeper.spawn(_drive(brief, run_dir, timeline, pause, teller), name="run")
    await asyncio.wait({stopped, driving}, return_when=asyncio.FIRST_COMPLETED)
    if not driving.done() and pause.holds:
        pause.release()
        await asyncio.wait({driving})
    if not driving.done():
        asked = not stopped.cancelled() and stopped.exception() is None and stopped.result()
        reason = "somebody asked for it" if asked else "it was killed before its end"
        timeline.record("run", "run.interrupted", reason=reason)
    await keeper.close()
    if driving.cancelled():
        return "interrupted"
    return _ended(driving.exception(), timeline)


def _ended(error: BaseException | None, timeline: Timeline) -> str:
    from harness.errors import (
        DeadlineExpired,
        Decided,
        ExpectationFailed,
        HostTooSlow,
        LabError,
        MachineLost,
    )

    match error:
        case None:
            return "ended"
        case ExpectationFailed() | AssertionError():
            return "failed"
        case MachineLost():
            return "machine lost"  # the events that say so are on the timeline already
        case DeadlineExpired():
            return "deadline"
        case HostTooSlow():
            timeline.record(
                "host",
                "host.too_slow",
                waited_for=error.waited_for,
                given_s=round(error.seconds, 3),
                granted_s=round(error.seconds - error.owed_s, 3),
                duration_s=round(error.took_s, 3),
            )
            return "host too slow"
        case Decided():
            return "decided"
        case LabError() | OSError():
            timeline.record("lab", "lab.failed", error=str(error), kind=type(error).__name__)
            return "error"
        case _:
            import traceback

            traceback.print_exception(error)  # to lab.log
            timeline.record("lab", "lab.failed", error=repr(error), kind=type(error).__name__)
            return "error"


async def _drive(
    brief: Brief, run_dir: Path, timeline: Timeline, pause: Pause, teller: Teller
) -> None:
    from harness.checkpoint.choice import Choice
    from harness.errors import DeadlineExpired, Decided, MachineLost
    from harness.resuming import begun

    choosing = Choice(
        brief.item, brief.checkpoints, record=partial(timeline.record, "lab"), clock=timeline.clock
    )
    async with choosing as choice, begun(brief, run_dir, timeline, choice, teller) as lab:
        failure: Exception | None = None
        try:
            await _play(brief, lab)
        except Exception as error:
            failure = error  # raised below, once nobody wants to look at the lab any more
            hang = isinstance(error, DeadlineExpired | MachineLost) or (
                isinstance(error, Decided) and error.hang
            )
            if hang:
                await lab.take_dossier(str(error))
        finally:
            await lab.check_disks()  # however the run ends: what is on them is evidence
        if pause.wanted(failure):
            # What this lab has not saved it never will; others would wait for it.
            await lab.saver.close()
            await choice.close()
            await pause.hold(failure)
        if failure is not None:
            raise failure


async def _play(brief: Brief, lab: Lab) -> None:
    if brief.item.python:
        from harness.scenario.python import call_test

        lab.about_to_power_on()  # the function does it
        await call_test(brief.item.python, lab)
    else:
        if not lab.resumed:
            await lab.power_on()
        await lab.run_to_end()


class Pause:
    """Keeps a lab alive after its run, for people who want to look at it."""

    def __init__(self, brief: Brief, timeline: Timeline) -> None:
        self._brief = brief
        self._timeline = timeline
        self._let_go = asyncio.Event()
        self.holds = False
        """Whether it keeps the lab alive just now."""

    def wanted(self, failure: Exception | None) -> bool:
        """Whether this run's lab is to be kept, by how the run ended."""
        if self._brief.hold != "failure" or failure is not None:
            return self._brief.hold != "never"
        from harness.scenario.expectations import check_expectations
        from harness.verdict import judge

        events = self._timeline.events
        met = all(one.met for one in check_expectations(self._brief.item, events))
        return not met or judge(events).failed_in is not None

    async def hold(self, failure: Exception | None) -> None:
        """Return once it is released."""
        self._timeline.record(
            "run",
            "run.paused",
            outcome=_ended(failure, self._timeline),
            reason=str(failure) if failure is not None else "the run came to its end",
        )
        self.holds = True
        await self._let_go.wait()
        self.holds = False
        self._timeline.record("run", "run.released")

    def release(self) -> None:
        """Let the lab go."""
        self._let_go.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
