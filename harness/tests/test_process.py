"""Another program is run to its end, or it and all that it started are gone."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.process import CommandFailed, run, send_signal, start_program
from harness.tasks import TaskKeeper
from harness.tests.processes import stat_of

SHELL_WITH_A_CHILD = "sleep 60 & echo $$ $! >&2; wait"
"""As a compiler does: it starts another that holds the same pipes."""


def is_alive(pid: int) -> bool:
    return stat_of(pid)[:1] not in ([], ["Z"])


def until_reaped(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        threading.Event().wait(0.01)


def is_soon_gone(pid: int) -> bool:
    """A process lets go of its pipes a moment before it has ended."""
    deadline = Deadline.after(timedelta(seconds=10))
    while is_alive(pid) and not deadline.expired:
        os.sched_yield()
    return not is_alive(pid)


async def test_what_it_printed_is_kept_and_its_stderr_is_told_line_by_line() -> None:
    lines: list[str] = []
    done = await run(
        ["sh", "-c", "cat; echo one >&2; echo two >&2"], stdin=b"x", on_line=lines.append
    )
    assert (done.status, done.stdout, done.stderr) == (0, b"x", b"one\ntwo\n")
    assert lines == ["one", "two"]


async def test_a_failure_tells_the_command_its_status_and_its_last_words() -> None:
    with pytest.raises(CommandFailed, match=r"sh failed with status 3: sh -c .*\nno such luck$"):
        await run(["sh", "-c", "echo no such luck >&2; exit 3"])
    with pytest.raises(CommandFailed, match="could not be started"):
        await run(["/no/such/program"])


async def test_a_signal_leaves_the_status_to_the_thread_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def took_it(_popen: object) -> None:
        raise AssertionError("asked whether the program has ended: its status is lost")

    process = await start_program("sleep", "60")
    with monkeypatch.context() as patched:
        patched.setattr("subprocess.Popen.poll", took_it)
        send_signal(process, signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    send_signal(process)  # to nobody


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_program_is_gone_with_what_it_started(times: int) -> None:
    tasks = TaskKeeper()
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = tasks.spawn(run(["sh", "-c", SHELL_WITH_A_CHILD], on_line=told.set_result), name="sh")
    pids = [int(word) for word in (await asyncio.wait_for(told, 10)).split()]
    assert [is_alive(pid) for pid in pids] == [True, True]
    for _ in range(times):  # told again while it is being ended
        running.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [is_soon_gone(pid) for pid in pids] == [True, True]


async def test_what_outlives_a_program_and_holds_its_pipes_is_ended_as_well() -> None:
    tasks = TaskKeeper()
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = tasks.spawn(
        run(["sh", "-c", "sleep 60 & echo $$ $! >&2"], on_line=told.set_result), name="sh"
    )
    shell, child = [int(word) for word in (await asyncio.wait_for(told, 10)).split()]
    await asyncio.to_thread(until_reaped, shell)
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.cancelled()
    assert is_soon_gone(child)


@pytest.mark.parametrize("times", [1, 2])
def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing_behind(times: int) -> None:
    """CPython tells what was left behind when its loop is closed: as a warning, an error here."""

    async def cancelled_after(rounds: int) -> None:
        starting = TaskKeeper().spawn(
            start_program(
                *("sleep", "60"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                process_group=0,
            ),
            name="sleep",
        )
        for _ in range(rounds):
            await asyncio.sleep(0)
        for _ in range(times):
            starting.cancel()
            await asyncio.sleep(0)
        try:
            process = await starting
        except asyncio.CancelledError:
            return
        process.kill()
        await process.communicate()

    gc.collect()
    before = set(Path("/proc/self/fd").iterdir())
    for rounds in range(12):
        asyncio.run(cancelled_after(rounds))
        gc.collect()
    # What tests before this one left to other threads may be closed meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= before
