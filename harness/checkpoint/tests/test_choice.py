"""Which checkpoint a run begins with, and which it makes: with a real store, and no machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import resuming
from harness.brief import Brief
from harness.checkpoint.choice import Choice
from harness.checkpoint.key import host_facts, key_of
from harness.checkpoint.points import Point
from harness.checkpoint.store import Draft, store_in
from harness.checkpoint.tests import test_key
from harness.checkpoint.tests.test_key import fault
from harness.clock import Clock
from harness.errors import DeadlineExpired
from harness.scenario.item import Item
from harness.sealed import Pause, _drive
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

ipxe = test_key.ipxe
item = test_key.item


class Told:
    """What a choice records."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, **fields: Any) -> None:
        self.events.append((name, fields))


@pytest.fixture
def told() -> Told:
    return Told()


def choice(item: Item, folder: Path | None, told: Told) -> Choice:
    return Choice(item, folder, record=told, clock=Clock())


async def save(item: Item, folder: Path, point: Point) -> str:
    key = key_of(item, point, host=host_facts(item))
    store = store_in(folder)
    async with store.building(key) as draft:
        assert isinstance(draft, Draft)
        (draft.folder / "memory.zst").write_bytes(b"memory")
        draft.commit({"point": str(point)}).close()
    return key


@contextmanager
def nothing_told(told: Told) -> Iterator[None]:
    yield
    assert told.events == []


async def test_the_first_run_makes_them_all(item: Item, tmp_path: Path, told: Told) -> None:
    with nothing_told(told):
        async with choice(item, tmp_path, told) as chosen:
            assert chosen.saved is None
            assert set(chosen.drafts) == set(Point)


async def test_the_latest_point_is_taken_and_later_ones_are_made(
    item: Item, tmp_path: Path, told: Told
) -> None:
    hook_up = await save(item, tmp_path, Point.HOOK_UP)
    async with choice(item, tmp_path, told) as chosen:
        assert chosen.saved is not None
        assert chosen.saved.key == hook_up
        assert set(chosen.drafts) == {Point.WORKER_UP}
    worker_up = await save(item, tmp_path, Point.WORKER_UP)
    async with choice(item, tmp_path, told) as chosen:
        assert chosen.saved is not None
        assert chosen.saved.key == worker_up
        assert not chosen.drafts
    # a fault of the registry may strike before the worker is there
    faulty = replace(item, faults=(fault(),))
    async with choice(faulty, tmp_path, told) as chosen:
        assert chosen.saved is not None
        assert chosen.saved.key == hook_up
        assert not chosen.drafts


@pytest.mark.parametrize("point", Point)
async def test_a_point_can_be_asked_for(
    item: Item, tmp_path: Path, told: Told, point: Point
) -> None:
    for each in Point:
        if each is not point:
            await save(item, tmp_path, each)
    asked = Item.from_data({**item.to_data(), "start": str(point)})
    async with choice(asked, tmp_path, told) as chosen:
        assert chosen.saved is None
        assert set(chosen.drafts) == {point}
    await save(item, tmp_path, point)
    async with choice(asked, tmp_path, told) as chosen:
        assert chosen.saved is not None
        assert chosen.saved.meta["point"] == str(point)


async def test_cold_is_cold(item: Item, tmp_path: Path, told: Told) -> None:
    await save(item, tmp_path, Point.HOOK_UP)
    with nothing_told(told):
        for each in (
            choice(replace(item, start="cold"), tmp_path, told),
            choice(item, None, told),
            choice(replace(item, faults=(fault(place="dhcp"),)), tmp_path, told),
        ):
            async with each as chosen:
                assert chosen.saved is None
                assert not chosen.drafts


async def test_a_point_that_cannot_be_is_told_when_it_was_asked_for(
    item: Item, tmp_path: Path, told: Told
) -> None:
    asked = replace(item, start="ipxe", stack="smee")
    async with choice(asked, tmp_path, told) as chosen:
        assert chosen.saved is None
    [(name, fields)] = told.events
    assert (name, fields["point"]) == ("checkpoint.refused", "ipxe")
    assert "smee" in fields["reason"]


async def test_the_one_who_comes_second_waits_and_uses_it(
    item: Item, tmp_path: Path, told: Told
) -> None:
    first = choice(item, tmp_path, Told())
    await first.__aenter__()
    clock = Clock()
    waiting = asyncio.ensure_future(  # noqa: TID251 - awaited below
        Choice(item, tmp_path, record=told, clock=clock).__aenter__()
    )
    async with asyncio.timeout(10):
        while not told.events:
            await asyncio.wait({waiting}, timeout=0.01)
    assert told.events == [("checkpoint.awaited", {"point": "hook-up"})]
    assert clock.held_s is not None
    draft = first.drafts[Point.HOOK_UP]
    (draft.folder / "memory.zst").write_bytes(b"memory")
    draft.commit({"point": "hook-up"}).close()
    await first.finished(Point.HOOK_UP)
    async with asyncio.timeout(10):
        second = await waiting
    assert second.saved is not None
    assert second.saved.key == draft.key
    assert not second.drafts  # the first one makes the worker-up
    assert clock.held_s is None
    await second.close()
    await first.close()


async def test_one_of_no_use_is_removed_and_the_run_is_cold(
    item: Item, tmp_path: Path, told: Told
) -> None:
    key = await save(item, tmp_path, Point.HOOK_UP)
    async with choice(item, tmp_path, told) as chosen:
        await chosen.cold("it is damaged")
        assert chosen.saved is None
        assert set(chosen.drafts) == set(Point)
    assert told.events == [
        ("checkpoint.refused", {"point": "hook-up", "key": key, "reason": "it is damaged"})
    ]
    async with choice(item, tmp_path, told) as chosen:
        assert chosen.saved is None
        assert Point.HOOK_UP in chosen.drafts


async def test_a_cache_that_cannot_be_written_is_no_error(
    item: Item, tmp_path: Path, told: Told
) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    async with choice(item, tmp_path / "checkpoints", told) as chosen:
        assert chosen.saved is None
        assert not chosen.drafts
    assert [name for name, _ in told.events] == ["checkpoint.refused"]


async def test_a_host_without_memory_begins_at_power_on_and_keeps_the_checkpoint(
    item: Item, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run, when other labs have ended, has use for it."""
    key = await save(item, tmp_path, Point.HOOK_UP)
    (tmp_path / "meminfo").write_text("MemAvailable:     65536 kB\n")
    monkeypatch.setattr(resuming, "_MEMINFO", tmp_path / "meminfo")
    brief: Any = None
    async with choice(item, tmp_path, told) as chosen, AsyncExitStack() as stack:
        teller: Any = None
        begun = await resuming._resumed(stack, brief, tmp_path, Timeline(None), chosen, teller)
        assert begun is None
        assert chosen.saved is None
    [(name, fields)] = told.events
    assert name == "checkpoint.refused"
    assert "the host has 64 MiB" in fields["reason"]
    assert [kept.key for kept in store_in(tmp_path).kept()] == [key]


async def test_nobody_waits_for_a_lab_that_is_kept_to_be_looked_at(
    item: Item, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lab:
        """One whose machine never comes by a point."""

        resumed = True
        saver = SimpleNamespace(close=lambda: asyncio.sleep(0))

        async def run_to_end(self) -> None:
            raise DeadlineExpired("a point", 1.0)

        async def take_dossier(self, reason: str) -> None: ...

        async def check_disks(self) -> None: ...

    @asynccontextmanager
    async def begun(*_: Any) -> AsyncIterator[Lab]:
        yield Lab()

    monkeypatch.setattr(resuming, "begun", begun)
    brief = Brief(
        item=item,
        reservations=(),
        workflows=(),
        origin_s=0.0,
        hold="failure",
        checkpoints=tmp_path / "kept",
    )
    timeline, keeper = Timeline(None), TaskKeeper()
    pause = Pause(brief, timeline)
    teller: Any = None
    driving = keeper.spawn(_drive(brief, tmp_path, timeline, pause, teller), name="run")
    async with asyncio.timeout(20):
        await timeline.wait_for(lambda event: event.name == "run.paused")
        async with choice(item, tmp_path / "kept", told) as other:  # which would wait for hook-up
            assert set(other.drafts) == set(Point)
        pause.release()
        await asyncio.gather(driving, return_exceptions=True)
