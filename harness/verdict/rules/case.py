"""What a rule looks at, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.phases import Party, Phase
from harness.timeline import Event, named
from harness.verdict.phases import PhaseTracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Who is to blame and why, with the events that prove it."""

    blame: Party
    because: str
    evidence: list[Event] = field(default_factory=list)
    hint: str | None = None
    conclusive: bool = False
    """Whether somebody answered, and the answer was no: with more time it would have been the
    same. Not so where somebody gave up, or where nothing came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the rules look at."""

    events: Sequence[Event]
    tracker: PhaseTracker
    phase: Phase
    """Where the boot ended."""

    def seen(self, *names: str, stage: str | None = None) -> list[Event]:
        """Return the events with one of ``names``, of one DHCP stage when given."""
        found = named(self.events, *names)
        return [event for event in found if stage is None or event.get("stage") == stage]

    @property
    def here(self) -> list[Event]:
        """The events since the phase began."""
        span = self.tracker.span
        return [event for event in self.events if span is None or event.seq >= span.first_seq]

    def in_phase(self, *names: str) -> list[Event]:
        """Return the events with one of ``names`` since the phase began."""
        return named(self.here, *names)


Rule = Callable[[Case], Finding | None]


def argument(case: Case, key: str) -> str | None:
    """Return a kernel argument's last value; None when no command line was seen, or without it."""
    lines = case.seen("guest.cmdline.seen")
    found = None
    for word in str(lines[-1].get("cmdline")).split() if lines else ():
        name, equals, value = word.partition("=")
        if name == key and equals:
            found = value
    return found


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def repeated(events: Sequence[Event]) -> str:
    """Return ``, 3 times``; nothing for what happened once."""
    return f", {times(len(events))}" if len(events) > 1 else ""


def quoted(line: object) -> str:
    text = str(line).strip()
    return f"“{text[:157]}…”" if len(text) > 158 else f"“{text}”"
