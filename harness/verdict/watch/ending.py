"""What a rule of the watch looks at, and what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar

from harness.timeline import Event
from harness.verdict.phases import PhaseTracker

_KEPT: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a run need not go on."""

    rule: str
    because: str
    """One sentence."""
    evidence: tuple[Event, ...] = ()
    hang: bool = False
    """Whether something just stands still, so that looking into it may tell why."""


@dataclass(slots=True, kw_only=True)
class Sight:
    """What every rule may look at. Times are in seconds during which the machine ran."""

    deadline_s: float
    """How long the run may take in all."""
    workflow: bool
    """Whether it ends with a workflow, not with events that a scenario waits for."""
    disk: bool = False
    """Whether a disk has a system that could boot instead of the network."""
    ways: int = 1
    """How many network cards, and other ways over the network, the firmware tries."""
    patience: float = 1.0
    """What every silence is multiplied with."""
    now: float = 0.0
    tracker: PhaseTracker = field(default_factory=PhaseTracker)
    kernel: bool = False
    """Whether Linux has spoken since power-on or the last reset."""
    action: bool = False
    """Whether an action is under way."""


class Rule(ABC):
    """One way in which a run can be over before its deadline."""

    name: ClassVar[str]
    source: ClassVar[str]
    """Where it is written that the real program goes on like this."""
    firm: ClassVar[bool] = False
    """Whether it holds even while a server is still to change what it does."""
    needs_workflow: ClassVar[bool] = True
    """Whether it holds only where a run waits for a workflow; not for single events, which may
    well come while the machine goes in circles."""

    @abstractmethod
    def feed(self, event: Event, sight: Sight) -> None:
        """Take in the next event."""

    @abstractmethod
    def ending(self, sight: Sight) -> Ending | None:
        """Return why the run is over, if it is."""

    @abstractmethod
    def forget(self, sight: Sight) -> None:
        """Start over: what was seen may have been the work of something that ends just now."""


@dataclass(slots=True)
class Streak:
    """The same failure again and again, with no success in between."""

    count: int = 0
    since: float = 0.0
    what: Hashable = None
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def add(self, event: Event, now: float, what: Hashable = None, times: int = 1) -> None:
        """Count a failure; one of another kind begins anew."""
        if what != self.what:
            self.clear()
            self.what = what
        if not self.count:
            self.since = now
        self.count += times
        self.events.append(event)

    def clear(self) -> None:
        """Forget: something went well."""
        self.count = 0
        self.events.clear()

    def lasted(self, sight: Sight) -> float:
        """Return the seconds since the first of them; 0 without any."""
        return sight.now - self.since if self.count else 0.0
