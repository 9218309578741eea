"""When a lab is saved and when not: a saver with real listeners, and no machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import lab_checkpoints
from harness.checkpoint.memory import Packed
from harness.checkpoint.points import Point
from harness.checkpoint.store import CheckpointStore, Draft
from harness.checkpoint.tests import test_key
from harness.clock import Deadline
from harness.lab_checkpoints import CheckpointRefused, Parts, Saver
from harness.lab_resumption import FirstSyn
from harness.net import netlink
from harness.net.tests.namespace import in_own_network
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named, read_timeline

pytestmark = pytest.mark.service

ipxe = test_key.ipxe
item = test_key.item
MACHINE = "127.0.0.9"


class Builds:
    """Drafts, and which of them were let go."""

    def __init__(self, drafts: dict[Point, Draft]) -> None:
        self.drafts = drafts
        self.done: list[Point] = []

    async def finished(self, point: Point) -> None:
        self.done.append(point)


@asynccontextmanager
async def saver(item: Any, folder: Path, **more: Any) -> AsyncIterator[Any]:
    with netlink.Netlink() as kernel:
        kernel.set_up(1)
    store = CheckpointStore(folder, limit_bytes=1 << 30)
    listeners = {
        Point.HOOK_UP: socket.create_server(("127.0.0.1", 5000)),
        Point.WORKER_UP: socket.create_server(("127.0.0.1", 42113)),
    }
    timeline, tasks = Timeline(None), TaskKeeper()
    async with store.building("hook-up-1") as one, store.building("worker-up-1") as two:
        assert isinstance(one, Draft)
        assert isinstance(two, Draft)
        builds = Builds({Point.HOOK_UP: one, Point.WORKER_UP: two})
        values: dict[str, Any] = {
            "machine": SimpleNamespace(monitor=None),
            "capture": SimpleNamespace(),
            **more,
        }
        parts = Parts(
            item=item,
            run_dir=folder,
            timeline=timeline,
            tasks=tasks,
            interface="lo",
            disks={},
            services=[],
            listeners=lambda point: [listeners[point]],
            passed_s=lambda: 0.0,
            authority=lambda: b"a CA",
            **values,
        )
        made = Saver(builds, parts)
        made.begin()
        try:
            yield SimpleNamespace(
                saver=made,
                timeline=timeline,
                listeners=listeners,
                builds=builds,
                tasks=tasks,
                store=store,
            )
        finally:
            await made.close()
            await tasks.close()
            for listener in listeners.values():
                listener.close()


def _asks(port: int, source: str = MACHINE) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.bind((source, 0))
    client.connect_ex(("127.0.0.1", port))
    return client


def _may_connect(port: int) -> bool:
    with socket.socket() as client:
        client.bind((MACHINE, 0))
        client.settimeout(0.3)
        try:
            client.connect(("127.0.0.1", port))
        except TimeoutError:
            return False
        return True


@in_own_network
async def test_an_open_connection_spoils_a_point_and_the_machine_gets_in(
    item: Any, tmp_path: Path
) -> None:
    async with saver(item, tmp_path) as made:
        other = socket.create_server(("127.0.0.1", 7080))
        kept = _asks(7080)
        with other.accept()[0], _asks(5000) as asked:
            async with asyncio.timeout(20):
                refused = await made.timeline.wait_for(lambda e: e.name == "checkpoint.refused")
                await asyncio.get_running_loop().sock_connect(asked, ("127.0.0.1", 5000))
        assert refused["point"] == "hook-up"
        assert "another connection is open" in refused["reason"]
        assert set(made.builds.done) == {Point.HOOK_UP}
        kept.close()
        other.close()
        assert not _may_connect(42113)  # the other point is still to come


@in_own_network
async def test_a_connection_that_ipxe_left_open_is_nobodys(item: Any, tmp_path: Path) -> None:
    async with saver(item, tmp_path) as made:
        other = socket.create_server(("127.0.0.1", 7080))
        with _asks(7080) as left, other.accept()[0]:
            made.timeline.record("machine", "guest.kernel.started", version="6", console="ttyS0")
            with _asks(7080) as kept, other.accept()[0], _asks(5000):
                async with asyncio.timeout(20):
                    refused = await made.timeline.wait_for(lambda e: e.name == "checkpoint.refused")
                assert f":{kept.getsockname()[1]} (" in refused["reason"]
                assert f":{left.getsockname()[1]} (" not in refused["reason"]
        other.close()


@in_own_network
async def test_a_boot_that_did_not_go_as_usual_is_not_saved(item: Any, tmp_path: Path) -> None:
    async with saver(item, tmp_path) as made:
        assert not _may_connect(42113)
        made.timeline.record("machine", "guest.error.seen", line="no lease", console="ttyS0")
        refused = named(made.timeline, "checkpoint.refused")
        assert {event["point"] for event in refused} == {"hook-up", "worker-up"}
        assert "no lease" in refused[0]["reason"]
        assert _may_connect(5000)
        assert _may_connect(42113)


@in_own_network
async def test_the_lab_itself_gets_in_and_in_the_end_everybody(item: Any, tmp_path: Path) -> None:
    async with saver(item, tmp_path) as made:
        socket.create_connection(("127.0.0.1", 42113), timeout=1).close()
        assert not _may_connect(42113)
        await made.saver.close()
        assert _may_connect(42113)
    assert not named(made.timeline, "checkpoint.refused")


class Monitor:
    def __init__(self) -> None:
        self.did: list[str] = []

    async def execute(self, command: str, **_arguments: Any) -> Any:
        self.did.append(command)
        return {"command": command}


def _machine() -> Any:
    return SimpleNamespace(
        monitor=Monitor(), state=dict[str, Any], spec=SimpleNamespace(memory_mib=1)
    )


def _saving(last_words: str, **fields: Any) -> Callable[..., Awaitable[Packed]]:
    """Return what saves a memory, while the last that the machine said arrives."""

    async def save(_machine: Any, file: Path, *, timeline: Timeline, tasks: TaskKeeper) -> Packed:
        file.write_bytes(b"memory")
        timeline.record("machine", last_words, **fields)
        return Packed(bytes=6, memory_bytes=6)

    return save


def _begin(made: Any, folder: Path) -> None:
    made.timeline.record("machine", "machine.powered_on", machine="machine")
    for name in ("capture.pcapng", "serial-ttyS0.log", "serial-ttyS1.log"):
        (folder / name).touch()


@in_own_network
async def test_what_arrives_while_the_memory_is_saved_is_told_and_what_comes_later_is_not(
    item: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull may fail within a moment of the point, and the point is none the worse for it."""
    monkeypatch.setattr(
        lab_checkpoints, "save_memory", _saving("guest.init.started", console="ttyS0")
    )

    def goes_on() -> None:
        made.timeline.record("machine", "guest.error.seen", line="no such image", console="ttyS0")

    capture = SimpleNamespace(follow_clock=goes_on)
    async with saver(item, tmp_path, machine=_machine(), capture=capture) as made:
        _begin(made, tmp_path)
        with _asks(5000):
            async with asyncio.timeout(20):
                done = await made.timeline.wait_for(
                    lambda e: e.name.startswith("checkpoint.") and e.get("point") == "hook-up"
                )
        assert done.name == "checkpoint.saved"
        kept = made.store.open("hook-up-1")
        assert kept is not None
        told = [event.name for event in read_timeline(kept.folder / "timeline.jsonl")]
        assert (kept.folder / "ca.key").read_bytes() == b"a CA"
        assert (kept.folder / "ca.key").stat().st_mode & 0o777 == 0o600
        kept.close()
        assert told == ["machine.powered_on", "guest.init.started"]
        [refused] = named(made.timeline, "checkpoint.refused")
        assert refused["point"] == "worker-up"


@in_own_network
async def test_a_failure_that_is_told_late_spoils_the_point(
    item: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = _saving("guest.error.seen", line="no lease", console="ttyS0")
    monkeypatch.setattr(lab_checkpoints, "save_memory", late)
    capture = SimpleNamespace(follow_clock=lambda: None)
    async with saver(item, tmp_path, machine=_machine(), capture=capture) as made:
        _begin(made, tmp_path)
        with _asks(5000) as asked:
            async with asyncio.timeout(20):
                await made.timeline.wait_for(lambda e: e.name == "checkpoint.refused")
                await asyncio.get_running_loop().sock_connect(asked, ("127.0.0.1", 5000))
        assert not named(made.timeline, "checkpoint.saved")
        assert made.store.open("hook-up-1") is None


@in_own_network
async def test_a_machine_that_does_not_go_on_is_waited_for_as_long_as_the_host_is_busy() -> None:
    with netlink.Netlink() as kernel:
        kernel.set_up(1)
    tasks, busy = TaskKeeper(), asyncio.Event()

    def deadline(within: timedelta) -> Deadline:
        """One whose clock stands still until the host is quiet."""
        return Deadline(within.total_seconds(), 0.0, lambda: within.total_seconds() * busy.is_set())

    with socket.create_server(("127.0.0.1", 5000)):
        first = FirstSyn("lo", frozenset({5000}))
        waiting = tasks.spawn(first.wait(tasks, deadline=deadline), name="first SYN")
        _asks(5000).close()
        await waiting
        first.close()
        first = FirstSyn("lo", frozenset({5000}))
        busy.set()
        with pytest.raises(CheckpointRefused, match="does not go on"):
            await first.wait(tasks, deadline=deadline)
        first.close()
    await tasks.close()


@in_own_network
async def test_whoever_ends_a_run_waits_for_no_memory_and_the_machine_goes_on(
    item: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def never(*_: Any, **__: Any) -> Packed:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(lab_checkpoints, "save_memory", never)
    machine, capture = _machine(), SimpleNamespace(follow_clock=lambda: None)
    async with saver(item, tmp_path, machine=machine, capture=capture) as made:
        _begin(made, tmp_path)
        with _asks(5000):
            async with asyncio.timeout(20):
                await begun.wait()
            async with asyncio.timeout(2):
                await made.saver.close()
        assert machine.monitor.did == ["stop", "cont"]
        assert made.timeline.clock.held_s is None
        assert made.builds.done == [Point.HOOK_UP]
