"""What Linux's scheduler says of threads: ``/proc/PID/task/TID/schedstat``.

See Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat". A kernel that was built
without it has no such file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread's time so far, in nanoseconds."""

    task: Path
    """Its folder in ``/proc``."""
    ran_ns: int
    waited_ns: int
    """How long it stood in a run queue: it wanted to run, and no CPU was there for it."""


def threads_of(pid: int | str, proc: Path = PROC) -> Iterator[Thread]:
    """Yield the threads of a process; one that ends meanwhile, or of which nothing is told, not."""
    try:
        tasks = list((proc / str(pid) / "task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            ran, waited, _ = (task / "schedstat").read_bytes().split()
            yield Thread(task=task, ran_ns=int(ran), waited_ns=int(waited))
        except (OSError, ValueError):
            continue
