"""What this host has of memory and CPU time, and what process trees take of it."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

_CGROUPS = Path("/sys/fs/cgroup")
_RAM = re.compile(r"/ram/#\d+ \(deleted\)$|^/memfd:ram ")
"""How Linux calls a file that ``harness.machine.ram`` made."""


class Usage(Protocol):
    """What can be asked of a host."""

    def cpus(self) -> float:
        """Return how many CPUs this process may keep busy; at least a part of one."""

    def free_memory(self) -> int:
        """Return the octets that can be had without swapping."""

    def busy_s(self) -> float:
        """Return the CPU seconds that everything on the host has used since it started."""

    def memory_of(self, pids: Iterable[int]) -> int:
        """Return the octets that these processes and all below them take."""


class LinuxUsage:
    """The host as ``/proc`` and the control groups show it."""

    def __init__(self, *, groups: Sequence[Path] | None = None) -> None:
        """``groups`` are the folders of control groups that limit this process; None: finds out."""
        self._groups = tuple(_groups() if groups is None else groups)

    def cpus(self) -> float:
        """Return the CPUs this process may run on, within the control group's quota."""
        allowed = float(len(os.sched_getaffinity(0)))
        for group in self._groups:
            with contextlib.suppress(OSError, ValueError):
                quota, period = (group / "cpu.max").read_text().split()
                if quota != "max":
                    allowed = min(allowed, int(quota) / int(period))
        return allowed

    def free_memory(self) -> int:
        """Return what can be had without swapping, within the control group's limit.

        A group's files in the page cache count as used there, and are let go when room is needed.
        """
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
        available = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.M)
        free = int(available[1]) << 10 if available else 0
        for group in self._groups:
            with contextlib.suppress(OSError, ValueError):
                limit = (group / "memory.max").read_text().strip()
                if limit != "max":
                    used = int((group / "memory.current").read_text()) - _cached(group)
                    free = min(free, max(0, int(limit) - used))
        return free

    def busy_s(self) -> float:
        """Return the CPU seconds used since the start, those of waiting for disks left out."""
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        user, nice, system, _idle, _wait, irq, softirq = map(int, first.split()[1:8])
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")

    def memory_of(self, pids: Iterable[int]) -> int:
        """Return the resident octets; what processes share counts for each of them."""
        return sum(resident + _unmapped_ram(pid) for pid, resident in _tree(pids))

    def proportional_memory_of(self, pids: Iterable[int]) -> int:
        """Return the octets they take, with a share only of what they share with others.

        Slower than ``memory_of``: the kernel walks every page table.
        """
        total = 0
        for pid, resident in _tree(pids):
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
                found = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
                total += int(found[1]) << 10 if found else resident
            except OSError:
                total += resident
            total += _unmapped_ram(pid)
        return total


def whole_cpus(usage: Usage) -> int:
    """Return how many CPUs can be kept busy, as a number of jobs."""
    return max(1, math.floor(usage.cpus()))


def _cached(group: Path) -> int:
    """Return the octets of a group's files that nobody has asked for again."""
    with contextlib.suppress(OSError):
        found = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.M)
        return int(found[1]) if found else 0
    return 0


def _groups() -> Iterator[Path]:
    """Yield the folders of this process's control group and of all above it (cgroup v2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # a kernel without control groups
        return
    for line in lines:
        number, _, group = line.split(":", 2)
        if number == "0":
            folder = _CGROUPS / group.lstrip("/")
            yield folder
            yield from (place for place in folder.parents if place.is_relative_to(_CGROUPS))


def _unmapped_ram(pid: int) -> int:
    """Return what a QEMU's RAM takes that it has not touched yet.

    It is a file in memory (``harness.machine.ram``), which a checkpoint may have filled: taken,
    and resident in no process.
    """
    process = Path(f"/proc/{pid}")
    files = {}
    with contextlib.suppress(OSError):
        if not (process / "comm").read_bytes().startswith(b"qemu-system"):
            return 0
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if _RAM.search(str(descriptor.readlink())):
                    facts = descriptor.stat()
                    files[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
        touched = re.search(r"^RssShmem:\s+(\d+) kB", (process / "status").read_text(), re.M)
        return max(0, sum(files.values()) - (int(touched[1]) << 10 if touched else 0))
    return 0


def _tree(pids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield each of ``pids`` that lives and all their descendants, with the resident octets."""
    page = os.sysconf("SC_PAGE_SIZE")
    children: defaultdict[int, list[int]] = defaultdict(list)
    resident: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # the name, in brackets, may hold anything; proc(5): state, ppid, …, rss is the 24th
            fields = (folder / "stat").read_bytes().rpartition(b") ")[2].split()
            pid = int(folder.name)
            children[int(fields[1])].append(pid)
            resident[pid] = int(fields[21]) * page
    left, seen = list(pids), set[int]()
    while left:
        pid = left.pop()
        if pid in resident and pid not in seen:
            seen.add(pid)
            yield pid, resident[pid]
            left += children[pid]
