"""CPU time of processes: what a busy host changes least."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def _own_seconds(pid: int) -> float:
    """Return the CPU time that the threads of ``pid`` have used.

    In steps of nanoseconds (sched-stats.txt of Linux); threads that ended no longer count.
    """
    return sum(map(_thread_seconds, _tasks(pid)))


def tree_seconds(pid: int) -> float:
    """Return the same of ``pid`` and all its living descendants."""
    return sum(map(_own_seconds, _tree(pid)))


def _tree(pid: int) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        yield parent
        for task in _tasks(parent):
            try:
                waiting += map(int, (task / "children").read_text(encoding="ascii").split())
            except OSError:  # gone
                continue


def _tasks(pid: int) -> list[Path]:
    return list((_PROC / str(pid) / "task").glob("*"))


def _thread_seconds(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (OSError, ValueError, IndexError):  # gone, or a kernel without the figure
        return 0.0
