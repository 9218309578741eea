"""The one clock: monotonic for order and duration, wall time recorded once a run."""

from __future__ import annotations

import time
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
    """CLOCK_MONOTONIC seconds."""
    total_s: float
    """What it was when it was made; for messages only."""

    @classmethod
    def after(cls, duration: timedelta) -> Deadline:
        """Return the deadline that lies ``duration`` ahead of now."""
        seconds = duration.total_seconds()
        return cls(time.monotonic() + seconds, seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when expired."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s <= 0.0
