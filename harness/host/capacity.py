"""Room for one more lab, shared by all of a user's processes on this host.

A lab that runs has a file in the runtime folder, which says what it may take and is locked by its
process: a lock that can be had is a dead one's, and its file is removed. Whoever wants room waits
in line for its turn, then for enough to be free:

* memory: what is free now, less what running labs may still come to take;
* CPUs: their number, less the running labs' shares. What other programs use is waited for as
  well, but not for ever: a lab on a busy host is slow, and not wrong.

A lab with no other beside it is never kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.errors import HostUnfit
from harness.host.usage import LinuxUsage, Usage
from harness.locks import exclusive, try_lock
from harness.paths import expanded
from harness.values import parse_json

OVERHEAD_BYTES: Final = 256 << 20
"""What a lab takes beside its guest's memory: the harness process, QEMU itself, the capture."""
_SPARE_BYTES: Final = 256 << 20
"""What is left to the host."""
_SHARE_TCG: Final = 1.0
_SHARE_KVM: Final = 0.25
"""Of a CPU, for each of the guest's: emulation is busy all the time, a real CPU mostly halted."""
_LOOK_S: Final = 0.2
"""How often the one whose turn it is looks; over so long the CPUs' use is measured, too."""
_PATIENCE_S: Final = 10.0
"""How long other programs on the CPUs are waited for."""
_SUFFIX: Final = ".lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one lab may take."""

    what: str
    """For people: ``hello[uefi]``."""
    memory_bytes: int
    cpus: float

    @classmethod
    def of_guest(cls, what: str, *, memory_mib: int, cpus: int, accel: str) -> Need:
        """Return what a lab with one such guest may take."""
        share = _SHARE_KVM if accel == "kvm" else _SHARE_TCG
        return cls(
            what=what,
            memory_bytes=(memory_mib << 20) + OVERHEAD_BYTES,
            cpus=max(1, cpus) * share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A lab that runs now."""

    what: str
    pid: int
    memory_bytes: int
    cpus: float

    def __str__(self) -> str:
        return f"{self.what} (process {self.pid})"


def runtime_folder() -> Path:
    """Return the folder of this user's files about what runs; ``HOOKLAB_RUNTIME`` overrides it.

    It is the same for all of the user's sessions, or they would not see one another: neither
    XDG_RUNTIME_DIR, which a cron job has not, nor TMPDIR. Raises ``HostUnfit`` when it is someone
    else's, or can't be made.
    """
    override = os.environ.get("HOOKLAB_RUNTIME")
    folder = expanded(override).absolute() if override else Path("/tmp") / f"hooklab-{os.geteuid()}"
    try:
        if override:
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        facts = folder.lstat()
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise HostUnfit(
            f"{folder} is another user's",
            hint="have it removed, or set HOOKLAB_RUNTIME to a folder of yours",
        )
    return folder


def _unwritable(folder: Path, error: OSError) -> HostUnfit:
    return HostUnfit(
        f"{folder}, which tells of the labs that run, can't be written: {error.strerror}",
        hint="is the disk full? HOOKLAB_RUNTIME may name another folder",
    )


class Capacity:
    """What this host can run at once."""

    def __init__(self, folder: Path, *, usage: Usage | None = None) -> None:
        self._folder = folder / "labs"
        self._usage = usage or LinuxUsage()

    @contextlib.asynccontextmanager
    async def admitted(
        self, need: Need, *, on_wait: Callable[[str], None] | None = None
    ) -> AsyncIterator[None]:
        """Wait until there is room for ``need``, and keep it for as long as the block lasts.

        ``on_wait`` is told in one sentence what is waited for, each time that changes. Who comes
        first is let in first. Raises ``HostUnfit`` when the runtime folder can't be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        told = _Told(on_wait)

        def in_line() -> None:
            if holders := self.holders():
                told(f"waiting for {_names(holders)} and whoever came first")

        try:
            async with exclusive(self._folder / "turn", on_wait=in_line):
                await self._wait_for_room(need, told)
                file, descriptor = self._enter(need)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
            os.close(descriptor)

    def holders(self) -> list[Holder]:
        """Return the labs that run now; what dead processes left is removed."""
        found = []
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                text = file.read_text(encoding="utf-8")
                descriptor = try_lock(file)
                if descriptor is None:
                    found.append(Holder(**parse_json(text)))
                else:
                    file.unlink(missing_ok=True)
                    os.close(descriptor)
        return found

    def fitting(self, need: Need) -> int:
        """Return how many labs such as ``need`` this host can run at once when it is idle."""
        free = self._usage.free_memory() + self._usage.memory_of({h.pid for h in self.holders()})
        by_memory = (free - _SPARE_BYTES) // need.memory_bytes
        return max(1, min(int(by_memory), int((self._usage.cpus() + 1e-6) / need.cpus)))

    async def _wait_for_room(self, need: Need, told: _Told) -> None:
        began_s = time.monotonic()
        used_s, used_at_s = self._usage.busy_s(), began_s
        while holders := self.holders():
            reason = self._lacks_memory(need, holders) or self._lacks_cpus(need, holders)
            if reason is None:
                await asyncio.sleep(_LOOK_S)  # a look at what the other programs do
                now_s, busy_s = time.monotonic(), self._usage.busy_s()
                rate = (busy_s - used_s) / max(now_s - used_at_s, 1e-3)
                used_s, used_at_s = busy_s, now_s
                if now_s - began_s >= _PATIENCE_S or not self._busy(need, holders, rate):
                    return
                told(f"waiting for a quieter host, {_PATIENCE_S:.0f} s at most: its CPUs are busy")
            else:
                told(reason)
                await asyncio.sleep(_LOOK_S)
                used_s, used_at_s = self._usage.busy_s(), time.monotonic()

    def _lacks_memory(self, need: Need, holders: list[Holder]) -> str | None:
        promised = sum(holder.memory_bytes for holder in holders)
        taken = self._usage.memory_of({holder.pid for holder in holders})
        free = self._usage.free_memory() - max(0, promised - taken) - _SPARE_BYTES
        if free >= need.memory_bytes:
            return None
        wanted, there = need.memory_bytes / (1 << 30), max(0, free) / (1 << 30)
        return f"waiting for {_names(holders)}: {wanted:.1f} GiB needed, {there:.1f} GiB free"

    def _lacks_cpus(self, need: Need, holders: list[Holder]) -> str | None:
        taken, there = sum(holder.cpus for holder in holders), self._usage.cpus()
        if taken + need.cpus <= there + 1e-6:
            return None
        return f"waiting for {_names(holders)}: {taken:g} of {there:g} CPUs taken"

    def _busy(self, need: Need, holders: list[Holder], rate: float) -> bool:
        """Whether other programs leave less than half of what the lab needs."""
        labs = sum(holder.cpus for holder in holders)
        others = max(0.0, rate - labs)
        return self._usage.cpus() - labs - others < need.cpus / 2

    def _enter(self, need: Need) -> tuple[Path, int]:
        """Write and lock a file about ``need``, in this order unseen."""
        holder = Holder(
            what=need.what, pid=os.getpid(), memory_bytes=need.memory_bytes, cpus=need.cpus
        )
        fresh: Path | None = None
        locked: int | None = None
        try:
            descriptor, name = tempfile.mkstemp(suffix=".new", dir=self._folder)
            os.close(descriptor)
            fresh = Path(name)
            fresh.write_text(json.dumps(asdict(holder)), encoding="utf-8")
            locked = try_lock(fresh)
            assert locked is not None, "nobody else locks what has no name yet"
            file = fresh.with_suffix(_SUFFIX)
            fresh.rename(file)
        except OSError as error:
            if locked is not None:
                os.close(locked)
            if fresh is not None:
                fresh.unlink(missing_ok=True)
            raise _unwritable(self._folder, error) from error
        return file, locked


class _Told:
    """Passes a sentence on when it is another than the last."""

    def __init__(self, on_wait: Callable[[str], None] | None) -> None:
        self._on_wait = on_wait
        self._last = ""

    def __call__(self, sentence: str) -> None:
        if self._on_wait is not None and sentence != self._last:
            self._on_wait(sentence)
        self._last = sentence


def _names(holders: list[Holder]) -> str:
    names = [str(holder) for holder in holders[:3]]
    more = len(holders) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
