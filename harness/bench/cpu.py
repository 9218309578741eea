"""CPU time of processes: what a busy host changes least."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from harness.host.schedstat import PROC, threads_of

_FIRST_OF_ALL: Final = -20
"""See setpriority(2)."""


def go_first() -> None:
    """Let this process, and what it starts, have the CPU before others; root alone may."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _FIRST_OF_ALL)


def _own_seconds(pid: int) -> float:
    """Return the CPU time that the threads of ``pid`` have used.

    In steps of nanoseconds; threads that ended no longer count.
    """
    return sum(thread.ran_ns for thread in threads_of(pid)) / 1e9


def tree_seconds(pid: int) -> float:
    """Return the same of ``pid`` and all its living descendants."""
    return sum(map(_own_seconds, _tree(pid)))


def _tree(pid: int) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        yield parent
        for task in (PROC / str(parent) / "task").glob("*"):
            try:
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
            except OSError:  # gone
                continue
