"""A clock that runs as fast as the host lets the lab run: what deadlines are measured with.

A scenario's deadline is in seconds of the reference host: a quiet one with the speed that
``harness.host.calibration`` names. On a slower host ``Pace`` runs slower, and while the lab waits
for a CPU that others have it stands still; never does it run faster than real time. So a deadline
of ten minutes is ten minutes' worth of work, and a busy host costs time and not a verdict. A wait
is stretched ``MOST_STRETCH`` times at most; then it is the host that failed.

What runs on the guest's own clock can't be stretched: its DHCP client's, docker's and gRPC's
timeouts, an action's timeout. ``harness.verdict.host`` tells when these may be what failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from harness.clock import Deadline
from harness.host.load import Load, LoadMeter

MOST_STRETCH: Final = 4.0
"""How many times its length a wait may take, beside what the host's own speed makes of it."""
_FRESH_S: Final = 0.1
_LATE_S: Final = 2.0
"""A look that comes so late was held up: the lab looks twice a second."""


class Meter(Protocol):
    """What tells the load since it was last asked."""

    def read(self) -> Load:
        """Return it."""


@dataclass(slots=True)
class Stall:
    """What was lost in an interval."""

    duration_s: float = 0.0
    stalled_s: float = 0.0
    """How much of it the lab stood still for want of a CPU."""
    ran_s: float = 0.0
    waited_s: float = 0.0
    machine_ran_s: float = 0.0
    machine_waited_s: float = 0.0
    by: str = ""

    def add(self, duration_s: float, stalled_s: float, load: Load, by: str) -> None:
        """Take in one more look."""
        self.duration_s += duration_s
        self.stalled_s += stalled_s
        self.ran_s += load.ran_s
        self.waited_s += load.waited_s
        self.machine_ran_s += load.machine_ran_s
        self.machine_waited_s += load.machine_waited_s
        if stalled_s > 0:
            self.by = by


class Pace:
    """Seconds that a quiet reference host would have needed."""

    def __init__(
        self,
        *,
        factor: float = 1.0,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
        run: Callable[[], float] | None = None,
    ) -> None:
        """``factor`` is how many times slower than the reference this host is; at least 1.

        ``run`` is the run's own clock. No time passes here either while that is held.
        """
        self.factor = max(1.0, factor)
        self._clock = clock
        self._run = run or clock
        self._ran = self._run()
        self._meter = meter if meter is not None else LoadMeter()
        self._looked = clock()
        self._now = 0.0
        self._stall = Stall()

    def now(self) -> float:
        """Return the seconds since this was made; never goes back, and lags by 0.1 s at most."""
        at = self._clock()
        real = at - self._looked
        if real < _FRESH_S:
            return self._now
        ran = self._run()
        # A lab that is resumed sets the run's clock: that is no time that passed.
        duration = min(max(0.0, ran - self._ran), real)
        self._looked, self._ran = at, ran
        load = self._meter.read().part(duration / real)
        stalled, by = stalled_s(duration, load), load.by
        # What the lab itself worked meanwhile is no host's doing, however long it took.
        excused = max(_LATE_S, load.ran_s - load.machine_ran_s)
        if duration - stalled > excused:
            stalled, by = duration - excused, "late"
        self._now += (duration - stalled) / self.factor
        self._stall.add(duration, stalled, load, by)
        return self._now

    def take_stall(self) -> Stall:
        """Return what was lost since the last call."""
        self.now()
        stall, self._stall = self._stall, Stall()
        return stall

    def deadline(self, duration: timedelta) -> Deadline:
        """Return the deadline after ``duration`` on the reference host."""
        seconds = duration.total_seconds()
        return Deadline(
            at_s=self.now() + seconds,
            total_s=seconds,
            clock=self.now,
            latest_s=time.monotonic() + seconds * self.factor * MOST_STRETCH,
        )


def stalled_s(duration_s: float, load: Load) -> float:
    """Return how long of an interval the lab stood still.

    Threads that wait one after the other (a server, then the guest that waits for it) lose the sum
    of their waits; threads that want more than one CPU together lose the share that they did not
    get.
    """
    wanted = load.ran_s + load.waited_s
    if wanted <= 0 or duration_s <= 0:
        return 0.0
    return min(duration_s, load.waited_s * min(1.0, duration_s / wanted))
