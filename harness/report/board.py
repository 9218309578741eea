"""What the terminal shows of several boots at once.

On a terminal each boot that runs is one line below what has ended, redrawn in place. Elsewhere a
boot is a line when its machine is powered on, and what it came to.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TextIO

from harness.report.text import Style, cut, heading, transfer_text, wants_colour
from harness.scenario.item import Item
from harness.timeline import Event
from harness.verdict import PhaseTracker

_REDRAW_S: Final = 0.1


def name_of(item: Item) -> str:
    """Return ``hello [uefi]``."""
    return f"{item.name} [{item.variant}]"


@dataclass(slots=True, eq=False)
class Row:
    """One boot on the board."""

    item: Item
    board: Board
    tracker: PhaseTracker = field(default_factory=PhaseTracker)
    _begun: bool = False
    _waits_for: str = ""
    _began_s: float = 0.0
    _fed_s: float = 0.0

    def feed(self, event: Event) -> None:
        """Take in the next event of its run."""
        self._waits_for = ""
        self._fed_s = self.board.now()
        self.tracker.feed(event)
        if not self._begun and event.name == "machine.powered_on":
            self._begun = True
            if not self.board.live:
                self.board.say(heading(self.item, event, self.board.style))
        self.board.draw()

    def wait(self, sentence: str) -> None:
        """Show what it waits for before it begins."""
        self._waits_for = sentence
        if not self.board.live:
            self.board.say(f"{name_of(self.item)}   {sentence}")
        self.board.draw()

    def text(self, width: int) -> str:
        """Return the boot in one line; its name takes ``width`` columns."""
        style = self.board.style
        name = style.bold(f"{name_of(self.item):<{width}}")
        span = self.tracker.span
        if self._waits_for:
            return f"{name}            {style.dim(self._waits_for)}"
        if span is None:
            return f"{name}            {style.dim('starting')}"
        elapsed_s = self.tracker.last_s + max(0.0, self.board.now() - self._fed_s)
        transfer = self.tracker.transfer
        detail = "  ".join(
            part for part in (span.detail, transfer_text(transfer) if transfer else "") if part
        )
        return f"{name}  {elapsed_s:6.1f} s  {span.phase.words:<17} {detail}".rstrip()


class Board:
    """The lines of all boots that run. Nothing in here waits."""

    def __init__(
        self,
        out: TextIO,
        *,
        live: bool | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``live`` is whether lines can be redrawn; by itself it finds out."""
        terminal = out.isatty() and os.environ.get("TERM") != "dumb"
        self.live = terminal if live is None else live
        self.style = Style(wants_colour(out))
        self.now = now
        self._out = out
        self._rows: list[Row] = []
        self._drawn = 0
        self._drawn_at_s = float("-inf")

    def add(self, item: Item) -> Row:
        """Return the row of a boot that begins."""
        row = Row(item, self)
        self._rows.append(row)
        self.draw()
        return row

    def remove(self, row: Row) -> None:
        """Take a row away, if it is there."""
        if row in self._rows:
            self._rows.remove(row)
            self._erase()

    def say(self, text: str) -> None:
        """Print ``text`` above the rows."""
        self._erase()
        self._out.write(f"{text}\n")
        self._out.flush()
        self._drawn_at_s = float("-inf")
        self.draw()

    def draw(self) -> None:
        """Redraw the rows, ten times a second at most."""
        if not self.live or self.now() - self._drawn_at_s < _REDRAW_S:
            return
        columns, lines = shutil.get_terminal_size()
        shown = self._rows[: max(1, lines - 1)]
        width = max((len(name_of(row.item)) for row in shown), default=0)
        self._erase()
        self._out.write("".join(cut(row.text(width), columns - 1) + "\n" for row in shown))
        self._out.flush()
        self._drawn, self._drawn_at_s = len(shown), self.now()

    def finish(self) -> None:
        """Take everything away that is not final."""
        self._rows.clear()
        self._erase()
        self._out.flush()

    def _erase(self) -> None:
        if self._drawn:  # ECMA-48: CUU, ED
            self._out.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0
