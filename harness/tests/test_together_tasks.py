"""What is done together has ended together, whether it was done, failed or was given up."""

from __future__ import annotations

import asyncio

import pytest

from harness.errors import LabError
from harness.tasks import TaskKeeper, together


@pytest.mark.parametrize("how", ["a failure", "a cancellation"])
async def test_nothing_is_left_behind(how: str) -> None:
    begun = asyncio.Event()
    cleaned: list[str] = []

    async def tidy(name: str) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(3):  # as the end of a program takes a while
                await asyncio.sleep(0)
            cleaned.append(name)

    async def fails() -> None:
        await begun.wait()
        if how == "a failure":
            raise LabError("no such luck")
        await asyncio.Event().wait()

    async def work() -> None:
        async with together() as group:
            for each in (tidy("a"), fails(), tidy("b")):
                group.create_task(each)

    doing = TaskKeeper().spawn(work(), name="work")
    await begun.wait()
    if how == "a cancellation":
        doing.cancel()
    with pytest.raises(LabError if how == "a failure" else asyncio.CancelledError):
        await doing
    assert sorted(cleaned) == ["a", "b"]


async def test_results_are_there_after_the_block() -> None:
    async def half(number: int) -> int:
        await asyncio.sleep(0)
        return number // 2

    async with together() as group:
        halves = [group.create_task(half(number)) for number in (2, 4)]
    assert [each.result() for each in halves] == [1, 2]


async def test_what_a_task_begins_in_its_end_is_ended_as_well() -> None:
    keeper = TaskKeeper()
    begun = asyncio.Event()
    ended: list[str] = []

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("last")

    async def first() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.append("first")
            keeper.spawn(last(), name="last")
            await asyncio.sleep(0)

    keeper.spawn(first(), name="first")
    await begun.wait()
    await keeper.close()
    assert ended == ["first", "last"]


@pytest.mark.timeout(20)
async def test_what_ended_a_moment_ago_is_not_waited_for() -> None:
    keeper = TaskKeeper()

    async def short() -> None:
        return

    task = keeper.spawn(short(), name="short")
    await asyncio.sleep(0)
    assert task.done()  # and the loop has not told the keeper yet
    await keeper.close()
