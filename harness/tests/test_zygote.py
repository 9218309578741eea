"""What a zygote forks is what ``unshare`` would have executed, and dies when it has to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.clock import Deadline
from harness.paths import source_root
from harness.seal import SealedProcess, Starter, seal
from harness.tests.nobody import NOBODY, SYSTEM_PYTHON, needs_root, open_dir, open_sources
from harness.tests.test_seal import namespaces_in_use
from harness.zygote import Zygote

__all__ = ["open_dir"]

pytestmark = pytest.mark.service

PROGRAM = "harness.tests.zygote_inner"
SOON = timedelta(seconds=20)

# What a command line tool does, as a program that a test can kill.
OUTER = """
import asyncio, sys
from pathlib import Path
from harness.seal import seal
from harness.zygote import Zygote
async def main():
    folder = Path(sys.argv[1])
    with Zygote(["harness.tests.zygote_inner"]) as zygote:
        argv = [sys.executable, "-m", "harness.tests.zygote_inner", "stay"]
        sealed = await seal(argv, run_dir=folder, start=zygote.start,
                            on_line=lambda line: print(line, flush=True))
        return await sealed.wait()
sys.exit(asyncio.run(main()))
"""


class Told:
    """A sealed process, and the lines that it wrote."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()
        self.sealed: SealedProcess

    def hear(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def facts(self) -> dict[str, Any]:
        async with asyncio.timeout(SOON.total_seconds()):
            while not self.lines:
                self._news.clear()
                await self._news.wait()
        found: dict[str, Any] = json.loads(self.lines[0])
        return found


async def start(run_dir: Path, mode: str, starter: Starter | None, *words: str) -> Told:
    """Start the program, with a descriptor for each of ``words``, from which it can be read."""
    told = Told()
    run_dir.mkdir(exist_ok=True)
    descriptors = []
    for word in words:
        descriptors.append(os.memfd_create("word"))
        os.write(descriptors[-1], word.encode())
        os.lseek(descriptors[-1], 0, os.SEEK_SET)
    argv = [sys.executable, "-m", PROGRAM, *map(str, descriptors), mode]
    told.sealed = await seal(
        argv,
        run_dir=run_dir,
        on_line=told.hear,
        env={"OF_THIS_RUN": run_dir.name},
        pass_fds=descriptors,
        start=starter,
    )
    for descriptor in descriptors:
        os.close(descriptor)
    return told


@pytest.fixture
async def zygote() -> AsyncIterator[Zygote]:
    with Zygote([PROGRAM]) as made:
        yield made


async def until_gone(namespace: str) -> None:
    """Wait for the kernel to have ended a lab: there is no event to wait for from outside."""
    deadline = Deadline.after(SOON)
    while namespace in namespaces_in_use():
        assert not deadline.expired
        await asyncio.sleep(0)


async def test_what_is_forked_finds_what_is_executed_would(
    tmp_path: Path, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start(tmp_path / "first", "tell", zygote.start)
    assert await first.sealed.wait() == 7
    monkeypatch.chdir(tmp_path)  # since the zygote was begun
    monkeypatch.setenv("HOME", "/elsewhere")
    run_dir = tmp_path / "run"
    executed = await start(run_dir, "tell", None, "one", "two")
    assert await executed.sealed.wait() == 7
    forked = await start(run_dir, "tell", zygote.start, "one", "two")
    assert await forked.sealed.wait() == 7
    assert type(executed.sealed._process) is not type(forked.sealed._process)
    one, other = await executed.facts(), await forked.facts()
    assert other["words"] == ["one", "two"]
    assert other["environment"]["HOME"] == "/elsewhere"
    for found in (one, other):  # ids are used again: they may be the same in both
        for name, space in found.pop("spaces").items():
            ours = str(Path(f"/proc/self/ns/{name}").readlink())
            assert (space == ours) == (name == "user" and os.geteuid() == 0)
    # Their numbers are those of this process, other ones at each start.
    for found in (one, other):
        found["kinds"] = sorted(found.pop("descriptors").values())
        assert found["kinds"].count("/memfd") == 2
    assert other == one


async def test_descriptors_keep_their_numbers_whichever_they_are(
    tmp_path: Path, zygote: Zygote
) -> None:
    numbers = range(510, 517)
    for number in numbers:
        word = os.memfd_create("word")
        os.write(word, b"%d" % number)
        os.lseek(word, 0, os.SEEK_SET)
        os.dup2(word, number)
        os.close(word)
    told = Told()
    argv = [sys.executable, "-m", PROGRAM, *map(str, numbers), "tell"]
    for mixed in (numbers, reversed(numbers)):
        told.sealed = await seal(
            argv, run_dir=tmp_path, on_line=told.hear, pass_fds=list(mixed), start=zygote.start
        )
        assert await told.sealed.wait() == 7
        assert (await told.facts())["words"] == [str(number) for number in numbers]
        told.lines.clear()
        for number in numbers:
            os.lseek(number, 0, os.SEEK_SET)
    for number in numbers:
        os.close(number)


async def test_its_imports_are_done_once(tmp_path: Path, zygote: Zygote) -> None:
    for name in ("one", "two"):
        told = await start(tmp_path / name, "tell", zygote.start)
        assert await told.sealed.wait() == 7
        assert (tmp_path / name / "lab.log").read_text() == ""
    assert zygote._process is not None
    assert zygote._process.poll() is None


async def test_a_signal_is_told(tmp_path: Path, zygote: Zygote) -> None:
    forked = await start(tmp_path, "abort", zygote.start)
    assert await forked.sealed.wait() == 128 + signal.SIGTERM
    assert forked.sealed.status == 128 + signal.SIGTERM


async def test_a_stop_ends_the_life_line_of_one_only(tmp_path: Path, zygote: Zygote) -> None:
    one = await start(tmp_path / "one", "stay", zygote.start)
    two = await start(tmp_path / "two", "stay", zygote.start)
    spaces = [(await each.facts())["spaces"] for each in (one, two)]
    assert spaces[0]["net"] != spaces[1]["net"]
    assert await one.sealed.stop(Deadline.after(SOON)) == 7
    assert one.lines[1:] == ["asked"]
    await until_gone(spaces[0]["net"])
    assert two.sealed.status is None
    assert spaces[1]["net"] in namespaces_in_use()
    two.sealed.kill()
    assert await two.sealed.wait() == -signal.SIGKILL
    await until_gone(spaces[1]["net"])


async def test_the_way_in_is_told(tmp_path: Path, zygote: Zygote) -> None:
    told = await start(tmp_path, "stay", zygote.start)
    await told.facts()
    init = told.sealed.init_pid
    assert json.loads((tmp_path / "attach.json").read_text())["pid"] == init
    assert Path(f"/proc/{init}/root/dev/shm/ram").is_dir()
    await told.sealed.stop(Deadline.after(SOON))


async def test_with_the_zygote_ends_what_it_forked_and_another_one_goes_on(
    tmp_path: Path, zygote: Zygote
) -> None:
    told = await start(tmp_path / "one", "stay", zygote.start)
    spaces = (await told.facts())["spaces"]
    assert zygote._process is not None
    zygote._process.kill()
    assert await told.sealed.wait() == -signal.SIGKILL
    await until_gone(spaces["net"])
    again = await start(tmp_path / "two", "tell", zygote.start)
    assert await again.sealed.wait() == 7


@pytest.mark.parametrize("modules", [["no.such.module"], ["harness.tests.zygote_barred"]])
async def test_without_a_zygote_it_is_executed(tmp_path: Path, modules: list[str]) -> None:
    with Zygote([PROGRAM, *modules]) as broken:
        told = await start(tmp_path, "tell", broken.start)
        assert await told.sealed.wait() == 7
        assert (tmp_path / "lab.log").read_text() == ""
        assert isinstance(told.sealed._process, asyncio.subprocess.Process)


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path, zygote: Zygote) -> None:
    before = namespaces_in_use()
    for turns in (0, 1, 5, 50):
        starting = asyncio.create_task(  # noqa: TID251 - awaited right here
            start(tmp_path, "stay", zygote.start)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    deadline = Deadline.after(SOON)
    while namespaces_in_use() - before:
        assert not deadline.expired
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "user", [pytest.param([], id="me"), pytest.param(NOBODY, id="nobody", marks=needs_root)]
)
async def test_kill_9_of_the_outer_process_leaves_nothing(user: list[str], open_dir: Path) -> None:
    python = SYSTEM_PYTHON if user else sys.executable
    with subprocess.Popen(  # noqa: ASYNC220 - as in test_seal
        [*user, python, "-c", OUTER, str(open_dir)],
        env={**os.environ, "PYTHONPATH": str(open_sources() if user else source_root())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as outer:
        assert outer.stdout is not None
        found = json.loads(outer.stdout.readline())
        assert found["status"]["Uid"].split() == ["0"] * 4
        assert found["parent"] == 1
        assert found["spaces"]["net"] in namespaces_in_use()
        outer.kill()
    await until_gone(found["spaces"]["net"])


def test_it_ends_with_its_owner() -> None:
    zygote = Zygote([PROGRAM])
    zygote.begin()
    process = zygote._process
    assert process is not None
    zygote.close()
    assert process.returncode == 0
