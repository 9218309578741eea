"""In which order many items are done soonest when some of them share checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from harness.checkpoint.key import words
from harness.checkpoint.points import Point, refusal
from harness.scenario.item import Item

T = TypeVar("T")


def makers_first(items: Iterable[T], *, item_of: Callable[[T], Item | None]) -> list[T]:
    """Return ``items`` as they come, but those last that another item makes a checkpoint for.

    Whoever comes second would wait while the first is on its way, and its place would stand idle.
    Items that ``item_of`` knows nothing of stay among the first. Nothing is read or digested, so
    two items may be taken for relatives that turn out to be none: they only begin later then.
    """
    first: list[T] = []
    rest: list[T] = []
    seen = set[str]()
    for each in items:
        item = item_of(each)
        family = _family(item) if item is not None else None
        (rest if family in seen else first).append(each)
        if family is not None:
            seen.add(family)
    return [*first, *rest]


def _family(item: Item) -> str | None:
    """Return what is the same for items that may share a ``hook-up``; None: it shares none."""
    if item.start not in ("auto", Point.HOOK_UP) or refusal(item, Point.HOOK_UP) is not None:
        return None
    return json.dumps(words(item, Point.HOOK_UP), sort_keys=True, default=str)
