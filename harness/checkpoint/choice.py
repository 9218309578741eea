"""Which checkpoint a run begins with, and which ones it makes on its way.

``auto``: the latest point that there is a checkpoint of; and those that come later are made, since
each costs a second of the run that makes it. A ``hook-up`` saves most of a boot, and whoever needs
one that another run is making waits for it: two boots at once are not done sooner. When that came
to nothing no other is waited for: boots that hang would hang one after the other. The others are
made when nobody else does just now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from harness.checkpoint.key import host_facts, key_of
from harness.checkpoint.points import Point, refusal
from harness.checkpoint.store import CheckpointStore, Draft, NotSaved, Saved, store_in
from harness.clock import Clock
from harness.errors import LabError
from harness.scenario.item import Item

_TRY_S: Final = 0.2
"""How long somebody else's lock is waited for when it is not worth more."""

Record = Callable[..., object]


class Choice:
    """The checkpoints of one run. Use as ``async with Choice(…) as choice``."""

    def __init__(self, item: Item, folder: Path | None, *, record: Record, clock: Clock) -> None:
        """``record(name, **fields)`` gets events; ``clock`` stands still while somebody waits."""
        self._clock = clock
        self._item = item
        self._record = record
        self._store = store_in(folder) if folder is not None and item.start != "cold" else None
        self._locks: dict[Point, AsyncExitStack] = {}
        self._keys: dict[Point, str] = {}
        self.saved: Saved | None = None
        """Where the run begins; None: at power-on."""
        self.drafts: dict[Point, Draft] = {}
        """What it makes."""

    async def __aenter__(self) -> Choice:
        try:
            if self._store is not None:
                await self._choose(self._store)
        except (LabError, OSError) as error:  # without checkpoints everything goes as well
            self._record("checkpoint.refused", reason=str(error))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of everything: what was not saved by now will not be. Idempotent."""
        self.let_go()
        for point in list(self._locks):
            await self.finished(point)

    async def finished(self, point: Point) -> None:
        """Let others build ``point``, or use what was built. Idempotent."""
        self.drafts.pop(point, None)
        if (lock := self._locks.pop(point, None)) is not None:
            await lock.aclose()

    def let_go(self) -> None:
        """Let the checkpoint go that the run began with."""
        if self.saved is not None:
            self.saved.close()
            self.saved = None

    async def cold(self, reason: str, *, of_use: bool = False) -> None:
        """Begin at power-on instead: the checkpoint is of no use, and made anew.

        It is removed before, unless others have it. One that is ``of_use``, to another run, stays.
        """
        assert self.saved is not None
        assert self._store is not None
        key, point = self.saved.key, self.saved.meta.get("point")
        self.let_go()
        self._record("checkpoint.refused", point=point, key=key, reason=reason)
        if of_use:
            return
        try:
            await asyncio.to_thread(self._store.remove, key)
            await self._make(self._store)
        except (LabError, OSError) as error:
            self._record("checkpoint.refused", reason=str(error))

    async def _choose(self, store: CheckpointStore) -> None:
        wanted = [point for point in Point if self._item.start in ("auto", str(point))]
        possible = []
        for point in wanted:
            if (reason := refusal(self._item, point)) is None:
                possible.append(point)
            elif self._item.start == str(point):
                self._record("checkpoint.refused", point=str(point), reason=reason)
        if not possible:
            return
        host = await asyncio.to_thread(host_facts, self._item, cache=store.folder)
        for point in possible:
            self._keys[point] = await asyncio.to_thread(key_of, self._item, point, host=host)
        for point in reversed(possible):
            self.saved = await asyncio.to_thread(store.open, self._keys[point])
            if self.saved is not None:
                break
        waited_for = Point.HOOK_UP if Point.HOOK_UP in possible else possible[-1]
        if waited_for.place > self._reached:
            await self._build(store, waited_for, wait=True)
        await self._make(store)

    @property
    def _reached(self) -> int:
        """The place of the point that the run begins at; -1 for power-on."""
        return Point(self.saved.meta["point"]).place if self.saved is not None else -1

    async def _make(self, store: CheckpointStore) -> None:
        """Have the drafts of later points that nobody else makes just now."""
        for point in self._keys:
            if point.place > self._reached and point not in self.drafts:
                await self._build(store, point, wait=False)

    async def _build(self, store: CheckpointStore, point: Point, *, wait: bool) -> None:
        """Have the draft of ``point``, or what another makes of it."""

        def told() -> None:
            self._record("checkpoint.awaited", point=str(point))
            self._clock.hold()

        stack = AsyncExitStack()
        context: Any = store.building(self._keys[point], on_wait=told if wait else None)
        try:
            if wait:
                made = await stack.enter_async_context(context)
            else:
                async with asyncio.timeout(_TRY_S):
                    made = await stack.enter_async_context(context)
        except TimeoutError:
            return
        except NotSaved as error:
            self._record("checkpoint.refused", point=str(point), reason=str(error))
            return
        finally:
            self._clock.go_on()
        if isinstance(made, Draft):
            self.drafts[point] = made
            self._locks[point] = stack
            return
        await stack.aclose()
        if self.saved is None or Point(self.saved.meta["point"]).place < point.place:
            self.let_go()
            self.saved = made
        else:
            made.close()
