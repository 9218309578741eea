"""How long work says what it is doing: one protocol, plain lines by default."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO


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
        """Print ``what …`` now, and how long it took at the end; a failure is named as one."""
        started = time.monotonic()
        self.say(f"{what} …")
        try:
            yield
        except BaseException:
            self.say(f"{what} FAILED after {time.monotonic() - started:.1f} s")
            raise
        self.say(f"{what} done in {time.monotonic() - started:.1f} s")


class SilentProgress:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show nothing."""
        yield
