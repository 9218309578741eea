"""The one clock: monotonic for order and duration, wall time recorded once a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds since a run began, on CLOCK_MONOTONIC.

    CLOCK_MONOTONIC is the same in every process of a host, so that a sealed child which is given
    ``origin_s`` continues its parent's time line.
    """

    origin_s: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> float:
        """Return seconds since the run began; never goes back."""
        return time.monotonic() - self.origin_s

    def wall(self, t: float) -> datetime:
        """Return the wall-clock time of ``t`` seconds on this clock."""
        return self.started_at + timedelta(seconds=t)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time that is passed down instead of a number, and never restarted."""

    at_s: float
    """Seconds on ``clock``."""
    total_s: float
    """What it was when it was made; for messages only."""
    clock: Callable[[], float] = time.monotonic
    """CLOCK_MONOTONIC, or one that never runs faster: see ``harness.pace``."""
    latest_s: float = math.inf
    """CLOCK_MONOTONIC seconds at which it is over, however little has passed on ``clock``."""

    @classmethod
    def after(cls, duration: timedelta) -> Deadline:
        """Return the deadline that lies ``duration`` ahead of now."""
        seconds = duration.total_seconds()
        return cls(time.monotonic() + seconds, seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when expired; at least so many pass until then, maybe more."""
        return max(0.0, min(self.at_s - self.clock(), self.latest_s - time.monotonic()))

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s <= 0.0

    @property
    def starved_s(self) -> float:
        """Seconds that ``clock`` still owes although it is over: the host did not grant them."""
        return max(0.0, self.at_s - self.clock()) if self.expired else 0.0
