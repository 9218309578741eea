"""How much CPU time a lab's processes used, and how much they wanted and did not get.

The kernel counts for every thread how long it stood in a run queue (``/proc/PID/task/TID/
schedstat``: run_delay), which is the honest number: a machine that sleeps waits for nothing. Where
that is missing, ``/proc/pressure/cpu`` tells how long anybody waited.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.host.schedstat import PROC, threads_of

_MACHINE: Final = b"qemu-system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """CPU seconds of some interval."""

    ran_s: float = 0.0
    """Used, by all threads together."""
    waited_s: float = 0.0
    """Wanted, and not had."""
    machine_ran_s: float = 0.0
    """What QEMU used of it."""
    machine_waited_s: float = 0.0
    """What QEMU waited of it."""
    by: str = ""
    """Where it was read: ``run_delay``, ``pressure`` or, where the kernel tells nothing, empty."""

    def part(self, share: float) -> Load:
        """Return ``share`` of it."""
        return Load(
            ran_s=self.ran_s * share,
            waited_s=self.waited_s * share,
            machine_ran_s=self.machine_ran_s * share,
            machine_waited_s=self.machine_waited_s * share,
            by=self.by,
        )


class LoadMeter:
    """Reads the load of every process it can see: inside the seal, that is the lab's own."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._threads: dict[str, tuple[int, int]] = {}
        self._machines: dict[str, bool] = {}
        self._busy = self._stolen = 0
        self._pressure = 0
        self.read()

    def read(self) -> Load:
        """Return the load since the last call. Takes about a millisecond."""
        ran = waited = machine_ran = machine_waited = 0
        threads: dict[str, tuple[int, int]] = {}
        for pid in self._pids():
            is_machine = self._is_machine(pid)
            for each in threads_of(pid, self._proc):
                thread, now = each.task.name, (each.ran_ns, each.waited_ns)
                threads[thread] = now
                before = self._threads.get(thread, (0, 0))
                used, stood = max(0, now[0] - before[0]), max(0, now[1] - before[1])
                ran += used
                waited += stood
                if is_machine:
                    machine_ran += used
                    machine_waited += stood
        self._threads = threads
        self._machines = {pid: known for pid, known in self._machines.items() if pid in threads}
        stolen = self._read_stolen()
        pressure_s = self._read_pressure()
        if not threads:
            return Load(waited_s=pressure_s or 0.0, by="" if pressure_s is None else "pressure")
        # Time that another virtual machine had counts as used here.
        return Load(
            ran_s=ran * (1 - stolen) / 1e9,
            waited_s=(waited + ran * stolen) / 1e9,
            machine_ran_s=machine_ran * (1 - stolen) / 1e9,
            machine_waited_s=(machine_waited + machine_ran * stolen) / 1e9,
            by="run_delay",
        )

    def _pids(self) -> list[str]:
        try:
            return [path.name for path in self._proc.iterdir() if path.name.isdecimal()]
        except OSError:
            return []

    def _is_machine(self, pid: str) -> bool:
        # setpriv becomes QEMU: only a yes is for ever.
        if not self._machines.get(pid):
            with contextlib.suppress(OSError):
                name = (self._proc / pid / "comm").read_bytes()
                self._machines[pid] = name.startswith(_MACHINE)
        return self._machines.get(pid, False)

    def _read_stolen(self) -> float:
        """Return the share of this host's CPU time that its own host gave to others."""
        try:
            with (self._proc / "stat").open("rb") as file:
                words = [int(word) for word in file.readline().split()[1:9]]
            user, nice, system, _idle, _iowait, irq, softirq, steal = words
        except (OSError, ValueError):
            return 0.0
        busy = user + nice + system + irq + softirq + steal
        since, taken = busy - self._busy, steal - self._stolen
        self._busy, self._stolen = busy, steal
        return min(1.0, max(0.0, taken / since)) if since > 0 else 0.0

    def _read_pressure(self) -> float | None:
        """Return the seconds in which some process of the host waited; None without PSI."""
        try:
            with (self._proc / "pressure/cpu").open("rb") as file:
                total = int(file.readline().rpartition(b"total=")[2])
        except (OSError, ValueError):
            return None
        since, self._pressure = total - self._pressure, total
        return since / 1e6
