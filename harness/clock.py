"""The one clock: monotonic for order and duration, wall time recorded once a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class Clock:
    """Seconds since a run began, on CLOCK_MONOTONIC.

    CLOCK_MONOTONIC is the same in every process of a host, so that a sealed child which is given
    ``origin_s`` continues its parent's time line. While a lab is saved its clock is held, and in a
    lab that is resumed it goes on from there: no time passes in between, as in the machine.
    """

    origin_s: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    held_s: float | None = None
    """What the clock shows while it is held."""

    def now(self) -> float:
        """Return seconds since the run began; never goes back."""
        return time.monotonic() - self.origin_s if self.held_s is None else self.held_s

    def hold(self, at_s: float | None = None, *, started_at: datetime | None = None) -> None:
        """Stand still until ``go_on``; ``at_s`` and ``started_at`` make it a saved lab's."""
        self.held_s = self.now() if at_s is None else at_s
        self.started_at = started_at or self.started_at

    def go_on(self) -> None:
        """Go on from where it was held."""
        if self.held_s is not None:
            self.origin_s, self.held_s = time.monotonic() - self.held_s, None

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
    """CLOCK_MONOTONIC, or one that never runs faster: see ``harness.host.pace``."""
    latest_s: float = math.inf
    """CLOCK_MONOTONIC seconds at which it is over, however little has passed on ``clock``."""
    made_s: float = field(default_factory=time.monotonic, compare=False)
    """CLOCK_MONOTONIC seconds at which it was made."""

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
    def took_s(self) -> float:
        """Seconds that have passed, on any host's clock, since it was made."""
        return time.monotonic() - self.made_s

    @property
    def starved_s(self) -> float:
        """Seconds that ``clock`` still owes although it is over: the host did not grant them."""
        return max(0.0, self.at_s - self.clock()) if self.expired else 0.0
