"""The one door to background tasks: named, kept alive, and loud when they die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, Final, TypeVar

from harness.clock import Deadline
from harness.errors import DeadlineExpired, HostTooSlow, LabError, ServiceCrashed

T = TypeVar("T")
_LOOK_AGAIN_S: Final = 0.02


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a group whose tasks have all ended at the end of the block, however that comes about.

    The first failure cancels the others, and is raised. ``asyncio.gather`` goes away as soon as one
    has failed or was cancelled, and leaves the others to be cut off at the end of the loop.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def in_any_case(work: Awaitable[T]) -> T:
    """Return what comes of ``work``, and not before, however often the caller is cancelled."""
    doing: asyncio.Future[T] = asyncio.ensure_future(work)  # noqa: TID251 - waited for right here
    while not doing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({doing})
    return doing.result()


class TaskKeeper:
    """Owns the background tasks of a lab, and the one future that says "this lab is lost".

    A task that ends with an exception fails the lab: ``failure`` gets the exception (wrapped as
    ``ServiceCrashed`` unless it is a ``LabError`` already), and every wait that goes through
    ``race`` ends at once with that cause.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start ``coroutine`` as a task called ``name``."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def fail(self, error: BaseException) -> None:
        """Declare the lab lost because of ``error``; only the first cause is kept."""
        if not self.failure.done():
            self.failure.set_exception(error)
            self.failure.exception()  # retrieved: a lab nobody waits on must not warn at exit

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            known = isinstance(error, LabError | AssertionError)
            self.fail(error if known else ServiceCrashed(task.get_name(), error))

    async def race(self, awaitable: Awaitable[T], deadline: Deadline, *, waiting_for: str) -> T:
        """Await ``awaitable``, but no longer than ``deadline`` and only while the lab lives.

        Raises ``DeadlineExpired`` (names ``waiting_for``), ``HostTooSlow`` when the host did not
        let the lab use its time, or whatever failed the lab.
        """
        work: asyncio.Future[T] = asyncio.ensure_future(awaitable)  # noqa: TID251 - not a task of ours
        try:
            waited: set[asyncio.Future[Any]] = {work, self.failure}
            await asyncio.wait(
                waited, timeout=deadline.remaining_s, return_when=asyncio.FIRST_COMPLETED
            )
            # One that a busy host stretches has moved on meanwhile.
            while not (work.done() or self.failure.done() or deadline.expired):
                await asyncio.wait(
                    waited,
                    timeout=max(deadline.remaining_s, _LOOK_AGAIN_S),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if work.done():
                return work.result()
            if self.failure.done():
                self.failure.result()
            if (owed_s := deadline.starved_s) > 0.0:
                raise HostTooSlow(waiting_for, deadline.total_s, owed_s, deadline.took_s)
            raise DeadlineExpired(waiting_for, deadline.total_s)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def close(self) -> None:
        """Cancel what still runs, and what that begins in its end, and wait until it ended."""
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # The loop tells ``_ended``, and Python 3.13 does not come by it when all had ended.
            await asyncio.sleep(0)
