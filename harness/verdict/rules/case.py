"""What a rule looks at, and what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.facts import action_reports, state_of
from harness.phases import Party, Phase
from harness.timeline import Event, named
from harness.verdict.phases import PhaseTracker

_SINCE_BOOT: Final = re.compile(r"^\[ *\d+\.\d+\] ")


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

    def said(self, *patterns: str) -> list[Event]:
        """Return the consoles' known failures of these kinds since the phase began."""
        return _of_kinds(self.in_phase("guest.error.seen"), patterns)

    def ever_said(self, *patterns: str) -> list[Event]:
        """Return the same, whatever the phase."""
        return _of_kinds(self.seen("guest.error.seen"), patterns)

    @property
    def command_line(self) -> list[Event]:
        """The event that tells of the kernel's arguments, as evidence; empty when none was seen."""
        return self.seen("guest.cmdline.seen")[-1:]

    @property
    def where(self) -> str:
        """Where the boot ended, in words that follow "in": the phase, and the action that ran."""
        last = action_reports(self.in_phase("tink.action.reported"))[-1:]
        if last and state_of(last[0]) == "RUNNING":
            return f"{self.phase.words}, while action '{last[0].get('action')}' ran"
        return self.phase.words


def _of_kinds(errors: Sequence[Event], patterns: Sequence[str]) -> list[Event]:
    return [event for event in errors if event.get("pattern") in patterns]


Rule = Callable[[Case], Finding | None]


def lines_with(pattern: re.Pattern[str], errors: Sequence[Event]) -> list[Event]:
    """Return those of a console's failures whose line has ``pattern`` in it."""
    return [event for event in errors if pattern.search(str(event.get("line")))]


def arguments(case: Case) -> list[str]:
    """Return the words of the kernel command line; none when it was not seen."""
    return [word for event in case.command_line for word in str(event.get("cmdline")).split()]


def argument(case: Case, key: str) -> str | None:
    """Return a kernel argument's last value; None when no command line was seen, or without it."""
    found = None
    for word in arguments(case):
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
    """Return what a console's line says in quotation marks: of a JSON log its error, or message.

    The kernel's seconds before it are left out.
    """
    text = _said(_SINCE_BOOT.sub("", str(line).strip()))
    return f"“{text[:157]}…”" if len(text) > 158 else f"“{text}”"


def _said(text: str) -> str:
    name, brace, rest = text.partition("{")
    try:
        log = json.loads(brace + rest)
    except (ValueError, RecursionError):
        return text
    for each in (log.get("logs"), log):
        words = each if isinstance(each, dict) else {}
        for key in ("error", "message", "msg"):
            if words.get(key):
                return f"{name}{words[key]}"
    return text
