"""The live table on a terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TextIO

from fake_tink_server.board import ActionRow, Board, WorkflowRow

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table

_INTERVAL_S: Final = 0.25
_LINES: Final = 8
"""Of what happened, below the table."""
_COLOURS: Final = {
    "RUNNING": "bold yellow",
    "SUCCESS": "green",
    "FAILED": "bold red",
    "TIMEOUT": "bold red",
    "PENDING": "dim",
}


class LiveTable:
    """Draws a board on a terminal, again and again, in place."""

    def __init__(self, board: Board, console: Console, now: Callable[[], float]) -> None:
        """``now`` is the events' clock."""
        from rich.live import Live

        self._board = board
        self._console = console
        self._now = now
        self._live: Live = Live(
            console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.draw()
        self._live.stop()

    async def run(self) -> None:
        """Draw for ever."""
        while True:
            self.draw()
            await asyncio.sleep(_INTERVAL_S)

    def draw(self) -> None:
        """Draw once."""
        height = self._console.size.height
        picture = picture_of(self._board, self._now(), time.time(), height=height)
        self._live.update(picture, refresh=True)


def terminal(stream: TextIO) -> Console | None:
    """Return the console of ``stream``; None when a live table can't be drawn there."""
    if not stream.isatty():
        return None
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False)  # honours NO_COLOR
    return None if console.is_dumb_terminal or not console.is_terminal else console


def picture_of(board: Board, now_s: float, wall_s: float, *, height: int) -> RenderableType:
    """Return the table, no more than ``height`` lines of it."""
    from rich.console import Group
    from rich.text import Text

    head = Text(f"Tinkerbell at {board.address}   up {_span(now_s)}   Ctrl-C stops", style="bold")
    workers = board.workers(now_s)
    workflows = board.workflows(wall_s)
    tail = list(board.lines)[-_LINES:]
    room = height - 8 - len(tail)
    kept_workers = max(1, min(len(workers), room // 3))
    rows = list(_fitting(workflows, max(3, room - kept_workers)))

    people = _grid("WORKER", "SPEAKS", "CALLS", "LAST CALL", "DOES")
    for each in workers[:kept_workers]:
        silent = "never" if each.silent_s is None else f"{_span(each.silent_s)} ago"
        people.add_row(each.id, each.protocol, str(each.calls), silent, each.does)
    if len(workers) > kept_workers:
        people.add_row(f"… and {len(workers) - kept_workers} more", "", "", "", "")

    work = _grid("WORKFLOW", "STATE", "TASK", "ACTION", "STATE", "SECONDS", "MESSAGE")
    for row in rows:
        work.add_row(*row)
    log = Text("\n".join(tail), style="dim", no_wrap=True, overflow="ellipsis")
    return Group(head, Text(""), people, Text(""), work, Text(""), log)


def _grid(*titles: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        right = title in ("CALLS", "SECONDS")
        table.add_column(
            title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis"
        )
    return table


def _fitting(workflows: list[WorkflowRow], room: int) -> Iterator[tuple[RenderableType, ...]]:
    """Yield no more than ``room`` rows: workflows that have ended, then others, in one line each
    when there is no room for their actions."""
    wide = {each.id for each in workflows if not each.ended}
    sizes = {each.id: max(1, len(each.actions)) for each in workflows}

    def total() -> int:
        return sum(sizes[each.id] if each.id in wide else 1 for each in workflows)

    ended = [each for each in workflows if each.ended]
    for each in reversed(ended):  # the latest are the most interesting
        wide.add(each.id)
        if total() > room:
            wide.discard(each.id)
    for each in reversed(workflows):
        if total() > room:
            wide.discard(each.id)
    shown = workflows if len(workflows) <= room else workflows[: room - 1]
    for workflow in shown:
        if workflow.id in wide and workflow.actions:
            yield from _rows(workflow)
        else:
            done = f"{workflow.done} of {len(workflow.actions)} actions"
            yield workflow.id, _state(workflow.state), "", done, "", "", ""
    if len(shown) < len(workflows):
        yield f"… and {len(workflows) - len(shown)} more", "", "", "", "", "", ""


def _rows(workflow: WorkflowRow) -> Iterator[tuple[RenderableType, ...]]:
    earlier: ActionRow | None = None
    for action in workflow.actions:
        first = earlier is None
        task = action.task if first or (earlier and earlier.task != action.task) else ""
        seconds = "" if action.seconds is None else str(action.seconds)
        yield (
            workflow.id if first else "",
            _state(workflow.state) if first else "",
            task,
            action.name,
            _state(action.state),
            seconds,
            action.message,
        )
        earlier = action


def _state(name: str) -> RenderableType:
    from rich.text import Text

    return Text(name, style=_COLOURS.get(name, ""))


def _span(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole} s"
