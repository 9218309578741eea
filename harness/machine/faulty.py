"""Machines put together wrongly: another card, a flat battery, a disk that reports errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from harness.faults.deeds import Broken, Clock, Deed, Memory, Nic
from harness.machine.qemu import MachineSpec

ABSENT: Final = "absent"
_SECTOR: Final = 512
_ERRORS: Final = {"EIO": 5, "ENOSPC": 28}
"""Linux' numbers, which QEMU's blkdebug takes."""
_OPERATIONS: Final = {
    "read": ("read",),
    "write": ("write", "write-zeroes"),
    "flush": ("flush",),
    "everything": ("read", "write", "write-zeroes", "discard", "flush"),
}


def shaped(spec: MachineSpec, deeds: Iterable[tuple[str, Deed]]) -> MachineSpec:
    """Return ``spec`` as the deeds of faults change it; each comes with the MAC of its NIC."""
    for mac, deed in deeds:
        match deed:
            case Memory(size=size):
                spec = replace(spec, memory_mib=size >> 20)
            case Clock(base=base):
                spec = replace(spec, clock=base)
            case Nic(model=model):
                card = None if model == ABSENT else model
                nics = [replace(nic, model=card) if nic.mac == mac else nic for nic in spec.nics]
                spec = replace(spec, nics=nics)
            case Broken(disk=name):
                disks = [
                    replace(disk, errors=(*disk.errors, *rules(deed)))
                    if disk.path.stem == name
                    else disk
                    for disk in spec.disks
                ]
                spec = replace(spec, disks=disks)
    return spec


def rules(deed: Broken) -> tuple[str, ...]:
    """Return the rules of blkdebug that ``deed`` means, without their numbers.

    The event ``none`` puts a rule in force from the start on (docs/devel/blkdebug.rst).
    """
    where = "" if deed.at is None else f",sector={deed.at // _SECTOR}"
    return tuple(
        f"event=none,iotype={kind},errno={_ERRORS[deed.error]},once=off,immediately=off{where}"
        for kind in _OPERATIONS[deed.what]
    )
