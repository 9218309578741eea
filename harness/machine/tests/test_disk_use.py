"""How a guest used its disks, as a real QEMU counts it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.faults.deeds import Broken
from harness.machine.devices import Disk, disk_words
from harness.machine.disk_use import DiskUse
from harness.machine.disks import create_disk
from harness.machine.faulty import rules
from harness.machine.tests.kernels import kernel_of, machine_of
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

WRITTEN = 8 * 512


def kernel_that_writes() -> bytes:
    """Return what has the BIOS write eight sectors, and then prints 0, or 1 for an error."""
    return kernel_of(
        bytes.fromhex(
            "baf803 b00a ee"  # a newline to ttyS0, after the firmware's own words
            "31c0 8ec0 bb007c"  # es:bx: where the BIOS puts boot sectors
            "b80803 b90100 ba8000 cd13"  # INT 13h, AH=3: eight sectors from the disk's first on
            "b030 1400 baf803 ee"  # mov al, "0"; adc al, 0; out to ttyS0
            "b00a ee f4 ebfd"  # a newline; hlt, for ever
        )
    )


# SeaBIOS knows a disk with a bootindex only, where QEMU is told to be strict.
async def used(folder: Path, *disks: Disk) -> tuple[str, list[DiskUse]]:
    """Return what the guest said of its write, and how QEMU counted it."""
    timeline, tasks = Timeline(None), TaskKeeper()
    machine = machine_of(kernel_that_writes(), folder, timeline, tasks, *disks)
    assert await machine.disk_use() == []  # it is off
    try:
        await machine.power_on()
        said = await tasks.race(
            timeline.wait_for(
                lambda e: e.name == "console.line.seen" and e.get("text") in ("0", "1")
            ),
            Deadline.after(timedelta(seconds=60)),
            waiting_for="the guest's word",
        )
        return str(said.get("text")), await machine.disk_use()
    finally:
        await machine.power_off()
        await tasks.close()


@pytest.mark.machine
async def test_what_was_written_is_counted(tmp_path: Path) -> None:
    target = create_disk(tmp_path / "vda.img", 1 << 20, bootindex=1)
    said, uses = await used(tmp_path, target, create_disk(tmp_path / "vdb.img", 1 << 20))
    assert said == "0"
    own = next(use for use in uses if use.disk == "vda")
    assert own.written_bytes == WRITTEN
    assert own.operations >= 1
    assert own.failed == 0
    assert 0 < own.waited_s / own.operations < 0.5  # what counts as a disk that crawls


@pytest.mark.machine
async def test_what_failed_is_counted(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 1 << 20, bootindex=1)
    said, uses = await used(tmp_path, replace(disk, errors=rules(Broken(what="write"))))
    assert said == "1"
    assert uses[0].failed >= 1
    assert uses[0].written_bytes == 0


@pytest.mark.parametrize(
    ("what", "cache"), [("flush", "writeback"), ("everything", "writeback"), ("write", "unsafe")]
)
def test_a_flush_that_is_to_fail_is_no_flush_that_is_ignored(
    tmp_path: Path, what: str, cache: str
) -> None:
    disk = Disk(path=tmp_path / "vda.img", size_bytes=1 << 20, errors=rules(Broken(what=what)))
    assert f"cache={cache}" in " ".join(disk_words([disk]))
