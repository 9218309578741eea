"""How fast this host is against the reference host: measured once a boot, in about a second.

What a deadline says is meant for the reference host, quiet and emulating its guests (TCG). The
speed of one core decides nearly everything of an emulated boot, so that it is what is measured:
a loop in Python, which like TCG's code goes from branch to branch, and zlib. CPU time counts and
the best of several rounds, so that a busy host is not taken for a slow one; that is told apart
while a run goes on (``harness.host.pace``).
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.host.per_boot import boot_id, keep, kept

REFERENCE_LOOP_S: Final = 0.027
REFERENCE_ZLIB_S: Final = 0.044
"""CPU seconds on the reference host: two virtual CPUs of an AMD EPYC, Python 3.11. Its disk
writes 1400 MB/s."""

_FILE: Final = "calibration.json"
_ROUNDS: Final = 5
_WITHIN_S: Final = 2.0
"""No further round begins after this."""
_DISK_PIECE: Final = 8 << 20
_DISK_PIECES: Final = 3
_WRITTEN_MB_S: Final = 2.0
"""What a boot writes in each of its seconds: capture, consoles, the guest's disk."""
_NO_SLOWER: Final = 1.2
"""Up to here a host is taken for as fast as the reference: figures differ so much on one host."""
_MOST_FACTOR: Final = 8.0
_KVM_GAIN: Final = 5.0
"""KVM is faster by at least this. No deadline gets shorter for it, and a slow host's no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured."""

    loop_s: float
    """CPU seconds of the loop in Python."""
    zlib_s: float
    """CPU seconds of a compression."""
    disk_mb_s: float
    """What the cache's disk writes and keeps (fdatasync), in 10^6 octets a second; 0: unknown."""

    @property
    def cpu_ratio(self) -> float:
        """How many times longer a fixed piece of work takes here; below 1 on a faster host."""
        ratio = (self.loop_s / REFERENCE_LOOP_S) * (self.zlib_s / REFERENCE_ZLIB_S)
        return round(math.sqrt(ratio), 3)

    def factor(self, accel: str) -> float:
        """Return what deadlines are multiplied with: never less than 1.

        A faster host gets no shorter ones: there is nothing to be won from giving up sooner on
        what works, and what a run waits for may be slow by itself.
        """
        cpu = self.cpu_ratio / (_KVM_GAIN if accel == "kvm" else 1.0)
        slower = cpu + (_WRITTEN_MB_S / self.disk_mb_s if self.disk_mb_s > 0 else 0.0)
        return 1.0 if slower <= _NO_SLOWER else round(min(slower, _MOST_FACTOR), 2)


def calibrate(cache: Path, *, measure: Callable[[Path], Calibration] | None = None) -> Calibration:
    """Return the calibration of this host, measured if this boot of it has none in ``cache``."""
    file = cache / _FILE
    key = _key()
    known = _read(file, key)
    if known is None:
        known = (measure or measure_host)(cache)
        keep(file, key, asdict(known))
    return known


def measure_host(folder: Path) -> Calibration:
    """Measure now; ``folder`` is on the disk in question. Takes 0.8 to 3 s."""
    end_s = time.monotonic() + _WITHIN_S
    disk_mb_s = _disk_speed(folder)
    data = _text(40_000) * 10  # further back than deflate looks
    loops, compressions = [], []
    for _ in range(_ROUNDS):
        loops.append(_cpu_seconds(_loop))
        compressions.append(_cpu_seconds(lambda: zlib.compress(data, 6)))
        if time.monotonic() > end_s:
            break
    return Calibration(
        loop_s=round(min(loops), 5), zlib_s=round(min(compressions), 5), disk_mb_s=disk_mb_s
    )


def _cpu_seconds(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


def _loop() -> int:
    """Do the same 120,000 steps each time, over a table that fits no register."""
    table = list(range(997))
    seen: dict[int, int] = {}
    state, total = 1, 0
    for step in range(120_000):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        place = state % 997
        if table[place] & 1:
            total += place
        else:
            seen[place] = step
        table[place] = state >> 7
    return total


def _text(size: int) -> bytes:
    """Return text that compresses as text does, always the same."""
    letters, state, out = b"abcdefgh     \n", 1, bytearray()
    while len(out) < size:
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(letters[(state >> 16) % len(letters)])
    return bytes(out)


def _disk_speed(folder: Path) -> float:
    """Return what is written and kept, the best of three pieces; 0 where none can be."""
    best = 0.0
    piece = os.urandom(_DISK_PIECE)
    file = folder / f".calibration.{os.getpid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with file.open("wb", buffering=0) as stream:
                for _ in range(_DISK_PIECES):
                    before = time.monotonic()
                    stream.write(piece)
                    os.fdatasync(stream.fileno())
                    took = time.monotonic() - before
                    best = max(best, _DISK_PIECE / 1e6 / took)
                    if took > _WITHIN_S / 4:
                        break
        finally:
            file.unlink(missing_ok=True)
    return round(best, 1)


def _key() -> str:
    """Return what the figures depend on: this boot of the host, the Python that ran the loop."""
    try:
        boot = boot_id()
    except OSError:
        boot = "unknown"
    return f"{boot} {platform.python_implementation()} {platform.python_version()} 1"


def _read(file: Path, key: str) -> Calibration | None:
    with contextlib.suppress(ValueError, TypeError):
        found = Calibration(**{n: float(value) for n, value in (kept(file, key) or {}).items()})
        if found.loop_s > 0 and found.zlib_s > 0 and found.disk_mb_s >= 0:
            return found
    return None
