"""How long work says what it is doing: one protocol, plain lines by default."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, TextIO

BOOTSTRAP: Final = "HOOKLAB_BOOTSTRAP"
"""The variable by which ``./hooklab`` tells how long its own steps took."""
_BAR: Final = 40


class Progress(Protocol):
    """Someone who shows a person what is going on."""

    def step(self, what: str) -> AbstractContextManager[None]:
        """Show ``what`` as being done for as long as the context lasts. Steps may overlap."""

    def say(self, line: str) -> None:
        """Show one line."""


class PlainProgress:
    """One line when a step begins, one with its duration when it ends. For logs and pipes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def say(self, line: str) -> None:
        """Print one line."""
        print(line, file=self._stream or sys.stderr, flush=True)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print ``what …`` now, and how long it took at the end; a failure is named as one.

        What is given up because something else failed did not fail itself.
        """
        started = time.monotonic()
        self.say(f"{what} …")
        how = "given up after"
        try:
            yield
            how = "done in"
        except Exception:
            how = "FAILED after"
            raise
        finally:
            self.say(f"{what} {how} {time.monotonic() - started:.1f} s")


@dataclass(frozen=True, slots=True)
class Step:
    """One step that is over; times in seconds since its ledger was opened."""

    what: str
    began_s: float
    ended_s: float


class Ledger:
    """Passes everything on, and remembers how long each step took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._opened = time.monotonic()
        self.steps: list[Step] = []

    def say(self, line: str) -> None:
        """Pass ``line`` on."""
        self._progress.say(line)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Pass ``what`` on; remember it when it went well."""
        began_s = time.monotonic() - self._opened
        with self._progress.step(what):
            yield
        self.steps.append(Step(what, began_s, time.monotonic() - self._opened))

    def tell(
        self, *, before: Sequence[Step] = (), least: timedelta = timedelta(seconds=20)
    ) -> None:
        """Say where the time went, as a table; nothing when its steps took less than ``least``.

        ``before`` are steps that were over when this ledger was opened, with times below zero.
        Steps shorter than a fiftieth of the whole are left out.
        """
        if not self.steps:
            return
        own_s = max(s.ended_s for s in self.steps) - min(s.began_s for s in self.steps)
        if own_s < least.total_seconds():
            return
        steps = sorted([*before, *self.steps], key=lambda step: (step.began_s, -step.ended_s))
        first, last = steps[0].began_s, max(step.ended_s for step in steps)
        whole = last - first
        self.say(f"made ready in {whole:.0f} s; where they went (steps overlap):")
        width = max(len(step.what) for step in steps)
        for step in steps:
            if step.ended_s - step.began_s >= whole / 50:
                begin = round((step.began_s - first) / whole * _BAR)
                length = max(1, round((step.ended_s - first) / whole * _BAR) - begin)
                bar = (" " * begin + "█" * length).ljust(_BAR)
                self.say(f"  {step.what:<{width}} {bar} {step.ended_s - step.began_s:6.1f} s")


def steps_of_bootstrap(text: str) -> list[Step]:
    """Return what ``./hooklab`` did before Python ran, ending at 0, from ``NAME=SECONDS;…``."""
    found: list[Step] = []
    end_s = 0.0
    for part in reversed(text.split(";")):
        what, separator, seconds = part.rpartition("=")
        if separator and seconds.isdigit():
            found.insert(0, Step(what, end_s - int(seconds), end_s))
            end_s -= int(seconds)
    return found


class SilentProgress:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show nothing."""
        yield
