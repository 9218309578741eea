"""How long items took before, to begin with the longest: what begins last should end soon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from harness.host.history import append, read

_KIND: Final = "duration"
_NEW_WEIGHT: Final = 0.5
"""Of the last run against all before: a slow day is soon forgotten."""

T = TypeVar("T")


def record_duration(id_: str, seconds: float, *, folder: Path | None = None) -> None:
    """Keep how long the item ``id_`` took. What can't be kept is let go."""
    append(_KIND, {"id": id_, "seconds": round(seconds, 3)}, folder=folder)


def expected_durations(*, folder: Path | None = None) -> dict[str, float]:
    """Return the seconds that each item known here is expected to take."""
    found: dict[str, float] = {}
    for record in read(_KIND, folder=folder):
        id_, seconds = record.get("id"), record.get("seconds")
        if isinstance(id_, str) and isinstance(seconds, int | float) and 0 <= seconds < 1e6:
            before = found.get(id_, float(seconds))
            found[id_] = before + _NEW_WEIGHT * (seconds - before)
    return found


def longest_first(
    items: Iterable[T], expected: Mapping[str, float], *, id_of: Callable[[T], str]
) -> list[T]:
    """Return ``items`` by expected duration; those nobody knows come first, in their order."""
    return sorted(items, key=lambda item: -expected.get(id_of(item), float("inf")))
