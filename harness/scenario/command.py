"""``hooklab run``: load every scenario, make ready, run all, say how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from harness.attach import ways_in
from harness.brief import Hold
from harness.errors import Position, ScenarioError, ScenarioErrors
from harness.facts import before_pause, machine_time
from harness.hook.images import known_images
from harness.output import check_writable
from harness.paths import runs_root
from harness.progress import PlainProgress
from harness.report.text import LiveProgress, Style, relative, tally, wants_colour
from harness.scenario.changes import COMMAND_LINE, parse_changes
from harness.scenario.item import Item, Start
from harness.scenario.lock import is_lock, read_lock
from harness.scenario.prepare import prepare
from harness.scenario.repeated import comparison, with_seeds
from harness.scenario.resolve import load_items
from harness.scenario.runner import Outcome, RunInterrupted, RunResult, run_item
from harness.scenario.several import ending_of, jobs_that_fit, run_several
from harness.tasks import TaskKeeper
from harness.timeline import Event
from harness.verdict import judge
from harness.zygote import Zygote

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNFIT: Final = 3
EXIT_INTERRUPTED: Final = 130
_TICK_S: Final = 0.2
"""How often the elapsed time moves on while nothing happens."""


def run_command(
    paths: Sequence[Path],
    *,
    json_file: Path | None,
    only: str | None,
    junit_file: Path | None = None,
    pause_on_failure: bool = False,
    changes: Sequence[str] = (),
    jobs: int | None = 1,
    start: Start | None = None,
    repeat: int = 1,
) -> int:
    """Run the scenarios in ``paths`` with ``changes`` (``KEY=VALUE``); return the exit status.

    At most ``jobs`` run at once; None is as many as fit. ``start`` is for all of them. Each is run
    ``repeat`` times, with other seeds, and compared. Raises ``ScenarioError`` before anything
    starts, ``HostUnfit`` and ``BuildFailed``.
    """
    check_writable("--json", json_file)
    check_writable("--junit", junit_file)
    if pause_on_failure and jobs != 1:
        raise ScenarioError(
            "--pause-on-failure is for one lab at a time", hint="leave -j out, or choose with -k"
        )
    items = load_all(paths, only=only, changes=parse_changes(changes))
    if start is not None:
        items = [replace(item, start=start) for item in items]
    items = with_seeds(items, repeat)
    results: list[RunResult] = []
    began_s = time.monotonic()
    try:
        hold: Hold = "failure" if pause_on_failure else "never"
        asked = _Asked()
        asyncio.run(
            _until_a_signal(_run_all(items, runs_root(), results, hold, jobs, asked=asked), asked)
        )
    except (asyncio.CancelledError, KeyboardInterrupt):
        cut_off = [
            relative(result.run_dir) for result in results if result.outcome is Outcome.INTERRUPTED
        ]
        where = f"; what there is of it: {', '.join(cut_off)}" if cut_off else ""
        print(f"hooklab: interrupted{where}", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        if json_file is not None:
            text = json.dumps([result.to_data() for result in results], indent=2)
            json_file.write_text(text + "\n", encoding="utf-8")
        if junit_file is not None:
            from harness.report.junit import write_junit

            write_junit(results, junit_file)
    if repeat > 1:
        print(comparison(results))
    if len(results) > 1:
        outcomes = [result.outcome.value for result in results]
        told = tally(outcomes, (machine_time(result.events) for result in results))
        print(f"{told}; {time.monotonic() - began_s:.0f} s in all")
    return exit_status(results)


def exit_status(results: Iterable[RunResult]) -> int:
    """Return 0 when all passed, 3 when the host alone kept some from it, else 1."""
    outcomes = {result.outcome for result in results}
    if outcomes <= {Outcome.PASSED}:
        return EXIT_OK
    return EXIT_UNFIT if outcomes <= {Outcome.PASSED, Outcome.HOST_TOO_SLOW} else EXIT_FAILED


class _Asked:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.got: list[int] = []

    @property
    def all_over(self) -> bool:
        """Whether nothing more may begin: Ctrl-C ends a lab that is kept, and no more than that."""
        return any(number != signal.SIGINT for number in self.got)


async def _until_a_signal(work: Coroutine[Any, Any, None], asked: _Asked) -> None:
    """Await ``work``; Ctrl-C, SIGTERM and SIGHUP cancel it, a second one less patiently.

    The third has its usual effect: everything of a lab ends with this process, however it ends.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup, a shell's background job
    ]
    got = asked.got

    def stop(number: int) -> None:
        got.append(number)
        task.cancel()
        if len(got) == 2:
            for each in numbers:
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        await work
    except Exception:
        if got:  # a program that got the same Ctrl-C from the terminal and said so first
            raise asyncio.CancelledError from None
        raise


def load_all(
    paths: Sequence[Path], *, only: str | None = None, changes: Mapping[str, Any] | None = None
) -> list[Item]:
    """Return the items of all scenarios in ``paths``, folders searched, ``changes`` laid over.

    All mistakes of all files are raised at once, as ``ScenarioErrors``.
    """
    items: list[Item] = []
    mistakes: list[ScenarioError] = []
    for file in _files(paths):
        try:
            if is_lock(file):
                if changes:
                    raise ScenarioError(
                        "a locked scenario can't be changed",
                        at=Position(file=file),
                        hint="run the scenario it was made from with --set",
                    )
                items.append(read_lock(file))
            else:
                items += load_items(
                    file, known_images=known_images(), changes=changes, changed_by=COMMAND_LINE
                )
        except ScenarioErrors as errors:
            mistakes += errors.errors
        except ScenarioError as error:
            mistakes.append(error)
    if mistakes:
        raise mistakes[0] if len(mistakes) == 1 else ScenarioErrors(mistakes)
    chosen = [item for item in items if only is None or only in item.id]
    if not chosen:
        known = ", ".join(item.id for item in items) or "none"
        raise ScenarioError("no scenario to run", hint=f"items here: {known}")
    return chosen


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if _is_folder(path):
            found = [file for file in sorted(path.rglob("*.y*ml")) if _may_be_scenario(file)]
            if not found:
                raise ScenarioError(f"{path}: no scenario in this folder")
            files += found
        elif path.suffix == ".py":
            raise ScenarioError(
                "scenarios in Python are run by pytest",
                at=Position(file=path),
                hint=f"hooklab test {path}",
            )
        else:
            files.append(path)
    return files


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise ScenarioError(f"can't be read: {error.strerror}", at=Position(file=path)) from error


def _may_be_scenario(file: Path) -> bool:
    """Whether ``file`` looks like a scenario; or can't be read, which its loader tells."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return False
        return "scenario:" in file.read_text(errors="replace")
    except OSError:
        return True


async def _run_all(
    items: Sequence[Item],
    runs: Path,
    results: list[RunResult],
    hold: Hold,
    jobs: int | None = 1,
    *,
    asked: _Asked,
) -> None:
    with Zygote() as zygote:
        if len(items) > 1:
            zygote.begin()  # it has its imports behind it when all else is ready
        run = partial(run_item, start=zygote.start) if len(items) > 1 else run_item
        ready = await prepare(items, progress=PlainProgress(), runs=runs)
        if jobs is None:
            jobs = jobs_that_fit(ready)
        if jobs > 1 and len(ready) > 1:
            await run_several(ready, runs=runs, jobs=jobs, results=results, run=run)
            return
        for item in ready:
            if asked.all_over:
                raise asyncio.CancelledError
            try:
                results.append(await _run_shown(item, runs, hold, run))
            except RunInterrupted as interrupted:
                results.append(interrupted.result)
                raise


def up_command(path: Path, *, only: str | None = None, changes: Sequence[str] = ()) -> int:
    """Run one item, and keep its lab alive until somebody asks for its end; return the status.

    Raises what ``run_command`` raises, and ``ScenarioError`` for more than one item.
    """
    items = load_all([path], only=only, changes=parse_changes(changes))
    if len(items) > 1:
        known = ", ".join(item.id for item in items)
        raise ScenarioError(f"one machine at a time, and there are {known}", hint="choose with -k")
    results: list[RunResult] = []
    try:
        asked = _Asked()
        work = _run_all(items, runs_root(), results, "always", asked=asked)
        asyncio.run(_until_a_signal(work, asked))
    except (asyncio.CancelledError, KeyboardInterrupt):
        if not results:
            return EXIT_INTERRUPTED
        print(f"down   {relative(results[0].run_dir)}")
    return EXIT_OK


class _PauseTeller:
    """Says what to do with a lab that stays, and that it stays."""

    def __init__(self, item: Item, style: Style, hold: Hold) -> None:
        self._item = item
        self._style = style
        self._hold = hold
        self._run_dir = ""
        self._events: list[Event] = []

    def feed(self, event: Event) -> None:
        """Take in the next event."""
        if self._hold == "never":
            return
        self._events.append(event)
        if event.name == "run.started":
            self._run_dir = relative(Path(str(event.get("run_dir"))))
        elif event.name == "machine.powered_on" and self._hold == "always":
            print(self._style.dim(ways_in(self._run_dir)), flush=True)
        elif event.name == "run.paused":
            verdict = judge(before_pause(self._events))
            failed = f"failed in {verdict.failed_in.words}: " if verdict.failed_in else ""
            state = "UP" if self._hold == "always" else "PAUSED"
            print(
                f"{self._style.bold(state)}  {failed}{verdict.because}\n"
                f"{ways_in(self._run_dir)}\n"
                f"{_how_to_end()} ends this lab",
                flush=True,
            )


def _how_to_end() -> str:
    """Return what ends a lab that stays; a background job of a shell hears no Ctrl-C."""
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return f"kill {os.getpid()}" if deaf else "Ctrl-C"


async def _run_shown(item: Item, runs: Path, hold: Hold, run: Callable[..., Any]) -> RunResult:
    """Run one item with its progress on the terminal."""
    style = Style(colour=wants_colour(sys.stdout))
    live = LiveProgress.on(sys.stdout, item)
    tasks = TaskKeeper()
    teller = _PauseTeller(item, style, hold)
    still = asyncio.Event()

    def feed(event: Event) -> None:
        if event.name == "run.paused":
            still.set()
            live.finish()
        if not still.is_set():
            live.feed(event)
        teller.feed(event)

    tasks.spawn(_tick(live, still), name="elapsed time")
    try:
        result: RunResult = await run(
            item, runs=runs, listener=feed, hold=hold, on_wait=PlainProgress().say
        )
    finally:
        await tasks.close()
        live.finish()
    print(ending_of(result, style, on_terminal=sys.stdout.isatty()))
    return result


async def _tick(live: LiveProgress, still: asyncio.Event) -> None:
    while live.live and not still.is_set():
        await asyncio.sleep(_TICK_S)
        with contextlib.suppress(OSError):  # a terminal that went away
            live.tick()


__all__ = ["Outcome", "load_all", "run_command"]
