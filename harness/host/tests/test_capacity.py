"""Room is shared between processes, given in turn, and given back however its holder ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.doctor import Needs, Status, check_memory
from harness.errors import HostUnfit
from harness.host import capacity as capacities
from harness.host.capacity import Capacity, Holder, Need, runtime_folder
from harness.host.usage import LinuxUsage

GIB = 1 << 30


@dataclass
class Host:
    """A host of which a test says what it has."""

    cpus_there: float = 2.0
    free: int = 8 * GIB
    taken: int = 0
    """By labs, of their memory."""
    others: float = 0.0
    """CPUs that other programs use, on top of what the labs do."""
    labs: float = 0.0
    _busy_s: float = 0.0
    _at_s: float = 0.0

    def cpus(self) -> float:
        return self.cpus_there

    def free_memory(self) -> int:
        return self.free

    def busy_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        self._busy_s += (now_s - self._at_s) * (self.others + self.labs)
        self._at_s = now_s
        return self._busy_s

    def memory_of(self, pids: Iterable[int]) -> int:
        return self.taken if list(pids) else 0


def need(what: str = "one", *, gib: float = 1.0, cpus: float = 1.0) -> Need:
    return Need(what=what, memory_bytes=int(gib * GIB), cpus=cpus)


@dataclass
class Waiting:
    """A lab that wants in, and what it was told."""

    told: list[str]
    inside: asyncio.Event
    leave: asyncio.Event
    task: asyncio.Task[None]

    async def waits_for(self, words: str) -> None:
        """Return once it was told that it waits for ``words``."""
        while not (self.told and words in self.told[-1]):
            assert not self.inside.is_set(), self.told
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def wanted(capacity: Capacity, what: Need) -> AsyncIterator[Waiting]:
    """Let a lab ask for room as long as the block lasts."""
    told: list[str] = []
    inside, leave = asyncio.Event(), asyncio.Event()

    async def lab() -> None:
        async with capacity.admitted(what, on_wait=told.append):
            inside.set()
            await leave.wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(lab())
        yield Waiting(told=told, inside=inside, leave=leave, task=task)
        leave.set()
        task.cancel() if not inside.is_set() else None


async def test_the_only_lab_never_waits(tmp_path: Path) -> None:
    host = Host(free=GIB // 4, cpus_there=0.5, others=9.0)
    async with wanted(Capacity(tmp_path, usage=host), need(gib=4, cpus=4)) as lab:
        await lab.inside.wait()
        assert lab.told == []


async def test_cpus_are_counted_and_the_one_who_has_them_is_named(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path, usage=Host())
    async with wanted(capacity, need("a")) as a, wanted(capacity, need("b")) as b:
        await a.inside.wait()
        await b.inside.wait()
        async with wanted(capacity, need("c")) as c:
            await c.waits_for("2 of 2 CPUs taken")
            assert f"(process {os.getpid()})" in c.told[-1]
            a.leave.set()
            await c.inside.wait()
            assert {holder.what for holder in capacity.holders()} == {"b", "c"}
    assert capacity.holders() == []


async def test_memory_that_labs_may_still_take_is_not_free(tmp_path: Path) -> None:
    host = Host(cpus_there=8, free=6 * GIB, taken=1 * GIB)
    capacity = Capacity(tmp_path, usage=host)
    async with wanted(capacity, need("a", gib=4)) as a:
        await a.inside.wait()  # 3 of its 4 GiB are still to come
        async with wanted(capacity, need("b", gib=3)) as b:
            await b.waits_for("3.0 GiB needed, 2.8 GiB free")
            host.taken, host.free = 4 * GIB, 4 * GIB
            await b.inside.wait()


async def test_who_comes_first_is_let_in_first_though_less_would_do(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path, usage=Host(cpus_there=2))
    async with wanted(capacity, need("a", cpus=1)) as a:
        await a.inside.wait()
        async with wanted(capacity, need("large", cpus=2)) as large:
            await large.waits_for("1 of 2 CPUs taken")
            async with wanted(capacity, need("small", cpus=1)) as small:
                await small.waits_for("whoever came first")
                a.leave.set()
                await large.inside.wait()
                assert not small.inside.is_set()
                large.leave.set()
                await small.inside.wait()


async def test_other_programs_are_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(others=1.5, labs=1.0)
    capacity = Capacity(tmp_path, usage=host)
    async with wanted(capacity, need("a")) as a:
        await a.inside.wait()
        async with wanted(capacity, need("b")) as b:
            await b.waits_for("a quieter host, 10 s at most: its CPUs are busy")
            host.others = 0.1
            await b.inside.wait()
    host.others = 1.5
    monkeypatch.setattr(capacities, "_PATIENCE_S", 0.3)
    async with wanted(capacity, need("a")) as a, wanted(capacity, need("b")) as b:
        await a.inside.wait()
        await b.inside.wait()


async def test_one_that_gives_up_while_it_waits_is_not_in_the_way(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path, usage=Host(cpus_there=1))
    async with wanted(capacity, need("a")) as a:
        await a.inside.wait()
        async with wanted(capacity, need("b")) as b:
            await b.waits_for("1 of 1 CPUs taken")
            b.task.cancel()
        async with wanted(capacity, need("c")) as c:
            await c.waits_for("1 of 1 CPUs taken")
            a.leave.set()
            await c.inside.wait()


_HOLDER = """
import asyncio, sys
from pathlib import Path
from harness.host.capacity import Capacity, Need
async def main():
    async with Capacity(Path(sys.argv[1])).admitted(Need(what="theirs", memory_bytes=1, cpus=99)):
        print("in", flush=True)
        sys.stdin.read()
asyncio.run(main())
"""


async def test_a_killed_process_gives_its_room_back(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path, usage=Host())
    theirs = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLDER, str(tmp_path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert theirs.stdout is not None
        assert await theirs.stdout.readline() == b"in\n"
        assert capacity.holders() == [
            Holder(what="theirs", pid=theirs.pid, memory_bytes=1, cpus=99.0)
        ]
        async with wanted(capacity, need("ours")) as ours:
            await ours.waits_for(f"theirs (process {theirs.pid})")
            theirs.send_signal(signal.SIGKILL)
            await ours.inside.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            theirs.kill()
        await theirs.communicate()


async def test_a_damaged_file_of_a_dead_process_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs" / "x.lab").write_text("{")
    capacity = Capacity(tmp_path, usage=Host())
    async with wanted(capacity, need()) as lab:
        await lab.inside.wait()
    assert capacity.holders() == []


def test_a_real_cpu_has_room_for_more_guests_than_an_emulated_one(tmp_path: Path) -> None:
    capacity = Capacity(tmp_path, usage=Host(cpus_there=2, free=64 * GIB))
    tcg = Need.of_guest("a", memory_mib=2048, cpus=1, accel="tcg")
    kvm = Need.of_guest("a", memory_mib=2048, cpus=2, accel="kvm")
    assert capacity.fitting(tcg) == 2
    assert capacity.fitting(kvm) == 4
    scarce = Capacity(tmp_path, usage=Host(cpus_there=16, free=5 * GIB))
    assert scarce.fitting(tcg) == 2
    assert Capacity(tmp_path, usage=Host(cpus_there=0.5, free=0)).fitting(tcg) == 1


def test_the_runtime_folder_is_ours_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOKLAB_RUNTIME", str(tmp_path / "mine"))
    assert runtime_folder() == tmp_path / "mine"
    monkeypatch.delenv("HOOKLAB_RUNTIME")
    assert runtime_folder().stat().st_uid == os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0 if os.getuid() else 1)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(Path, "lstat", lambda _: Path("/proc/self").stat())
    with pytest.raises(HostUnfit, match="another user's"):
        runtime_folder()


async def test_memory_of_a_tree_counts_what_its_children_take() -> None:
    usage = LinuxUsage()
    grandparent = await asyncio.create_subprocess_exec(
        sys.executable, "-c",
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import sys; b = bytes(1) * (64 << 20);"
        " print(1, flush=True); sys.stdin.read()'])",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert grandparent.stdout is not None
    await grandparent.stdout.readline()
    taken = usage.memory_of([grandparent.pid])
    shared = usage.proportional_memory_of([grandparent.pid])
    await grandparent.communicate(b"")
    assert 64 << 20 < shared <= taken < 256 << 20
    assert usage.memory_of([grandparent.pid]) == 0


def test_what_the_host_has_is_plausible() -> None:
    usage = LinuxUsage()
    assert 0 < usage.cpus() <= (os.cpu_count() or 1)
    assert 0 < usage.free_memory() < 1 << 44
    before = usage.busy_s()
    assert before > 0
    assert usage.busy_s() >= before


def test_a_runtime_folder_that_cannot_be_made_is_told_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOOKLAB_RUNTIME", str(tmp_path / "file" / "below"))
    with pytest.raises(HostUnfit, match="can't be written: Not a directory") as told:
        runtime_folder()
    assert "HOOKLAB_RUNTIME" in (told.value.hint or "")
    found = check_memory(Needs())
    assert found.status is Status.FAIL
    assert "can't be written" in found.found


def test_a_link_that_somebody_laid_there_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOKLAB_RUNTIME", raising=False)
    link = os.lstat("/proc/self")
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(Path, "lstat", lambda _: link)
    monkeypatch.setattr(os, "geteuid", lambda: link.st_uid)
    with pytest.raises(HostUnfit, match="another user's"):
        runtime_folder()


async def test_a_full_disk_keeps_a_lab_out_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    need = Need(what="a", memory_bytes=1, cpus=1)
    with pytest.raises(HostUnfit, match="can't be written: No space left on device"):
        async with Capacity(tmp_path).admitted(need):
            pytest.fail("let in")
    assert [path.name for path in (tmp_path / "labs").iterdir()] == ["turn"]


def test_what_a_control_group_read_from_disk_is_free(tmp_path: Path) -> None:
    for name, text in (
        ("memory.max", f"{1 << 30}"),
        ("memory.current", f"{(1 << 30) - 4096}"),
        ("memory.stat", f"anon 4096\ninactive_file {1 << 29}\nactive_file 0"),
    ):
        (tmp_path / name).write_text(f"{text}\n")
    assert LinuxUsage(groups=[tmp_path]).free_memory() == (1 << 29) + 4096
    (tmp_path / "memory.stat").unlink()
    assert LinuxUsage(groups=[tmp_path]).free_memory() == 4096


async def test_a_line_that_nobody_can_join_is_told_with_a_way_out(tmp_path: Path) -> None:
    """The folder of another user, say, who began with sudo."""
    (tmp_path / "labs" / "turn").mkdir(parents=True)
    with pytest.raises(HostUnfit, match="can't be written: Is a directory"):
        async with Capacity(tmp_path).admitted(Need(what="a", memory_bytes=1, cpus=1)):
            pytest.fail("let in")
