"""Whether a series of figures has become larger or smaller for good: a step, told from noise.

The step, if there is one, is where the figures lie closest to two medians, one before and one
behind it. It counts when the medians are several spreads apart, the more the fewer figures there
are on either side, when nearly all figures lie on their own side of it, and when it matters. The
spread is 1.4826 × the median distance from these medians, or that from one figure to the next
where it is more; a few strays change neither. What rose and fell again is no step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

FEWEST_BEFORE: Final = 5
FEWEST_AFTER: Final = 3
_SPREADS: Final = 3.0
_SPREADS_OF_FEW: Final = 4.5
"""So many more, divided by the number of figures on the shorter side. With this one series of noise
in a thousand is taken for a step, and nine in ten steps of eight spreads are found when three
figures stand behind them."""
_OWN_SIDE: Final = 0.8
_LEAST_SHARE: Final = 0.1
_LEAST_SPREAD: Final = 0.02
"""Of the median: figures that are all the same differ by chance as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A step in a series."""

    index: int
    """Of the first figure behind it."""
    before: float
    """The median before."""
    after: float
    """The median from there on."""
    spreads: float
    """How large it is against the spread of the figures."""

    @property
    def ratio(self) -> float:
        """How many times larger the figures have become."""
        return self.after / self.before if self.before else float("inf")

    @property
    def rose(self) -> bool:
        """Whether figures became larger."""
        return self.after > self.before


def find_shift(values: Sequence[float], *, least: float = 0.0) -> Shift | None:
    """Return the step in ``values``, oldest first; None when there is none to be proven.

    A step smaller than ``least``, or than a tenth of what was before, is not worth a word.
    """
    best: tuple[float, int] | None = None
    for index in range(FEWEST_BEFORE, len(values) - FEWEST_AFTER + 1):
        cost = sum(_distances(values[:index])) + sum(_distances(values[index:]))
        if best is None or cost < best[0]:
            best = cost, index
    if best is None:
        return None
    index = best[1]
    before, after = values[:index], values[index:]
    was, now = median(before), median(after)
    steps = [abs(second - first) for first, second in pairwise(values)]
    spread = max(
        1.4826 * median(_distances(before) + _distances(after)),
        1.4826 / math.sqrt(2) * median(steps),
        _LEAST_SPREAD * was,
        1e-9,
    )
    size = abs(now - was)
    needed = _SPREADS + _SPREADS_OF_FEW / min(len(before), len(after))
    if size < max(least, _LEAST_SHARE * was, needed * spread):
        return None
    middle, rose = (was + now) / 2, now > was
    behind = sum((value > middle) is rose for value in after) / len(after)
    ahead = sum((value > middle) is not rose for value in before) / len(before)
    if min(behind, ahead) < _OWN_SIDE:
        return None
    return Shift(index=index, before=was, after=now, spreads=size / spread)


def _distances(values: Sequence[float]) -> list[float]:
    middle = median(values)
    return [abs(value - middle) for value in values]
