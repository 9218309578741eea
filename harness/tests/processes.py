"""What Linux tells of processes: who started whom, and who is at work."""

from __future__ import annotations

from pathlib import Path


def stat_of(pid: int, thread: int | None = None) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` from the third on (proc(5)); none when it is gone."""
    folder = Path(f"/proc/{pid}") if thread is None else Path(f"/proc/{pid}/task/{thread}")
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(root: int) -> list[int]:
    """Return the processes that ``root`` started, and those that they did."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := stat_of(int(path.name)):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found: list[int] = []
    todo = [root]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def run_now(pid: int) -> bool:
    """Whether a thread of ``pid`` runs, or would if it had a CPU."""
    threads = [int(path.name) for path in Path(f"/proc/{pid}/task").glob("[0-9]*")]
    return any(stat_of(pid, thread)[:1] == ["R"] for thread in threads)
