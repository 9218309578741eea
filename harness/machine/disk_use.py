"""What a guest did with its disks, and how long it waited for them, as QEMU counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.machine.devices import Disk
from harness.machine.qmp import Monitor

_NS: Final = 1e9
_KINDS: Final = ("rd", "wr", "flush")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """One disk since power-on."""

    disk: str
    operations: int
    """Reads, writes and flushes that ended, well or not."""
    failed: int
    read_bytes: int
    written_bytes: int
    waited_s: float
    """Seconds from each operation's begin to its end, all added up."""


async def disk_use(monitor: Monitor, disks: Sequence[Disk]) -> list[DiskUse]:
    """Return the use of each disk that was used at all. Raises ``MonitorLost``."""
    answer = await monitor.execute("query-blockstats")  # qapi/block-core.json
    counted = {str(one.get("device")): one.get("stats", {}) for one in answer}
    uses = (
        _use(disk.path.stem, counted.get(f"disk{number}", {})) for number, disk in enumerate(disks)
    )
    return [use for use in uses if use.operations]


def _use(name: str, stats: Mapping[str, Any]) -> DiskUse:
    def total(*keys: str) -> int:
        return sum(int(stats.get(key, 0)) for key in keys)

    failed = total(*(f"failed_{kind}_operations" for kind in _KINDS))
    return DiskUse(
        disk=name,
        operations=total(*(f"{kind}_operations" for kind in _KINDS)) + failed,
        failed=failed,
        read_bytes=total("rd_bytes"),
        written_bytes=total("wr_bytes"),
        waited_s=round(total(*(f"{kind}_total_time_ns" for kind in _KINDS)) / _NS, 6),
    )
