"""A disk that boots: SeaBIOS and OVMF start it, and it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SetupFailed
from harness.machine.bootable import MIN_BYTES, make_bootable
from harness.machine.disks import create_disk
from harness.machine.firmware import Firmware, FlashFiles, find_uefi, make_variables
from harness.machine.tests.test_machine import bench
from harness.timeline import named

pytestmark = pytest.mark.machine


@pytest.mark.parametrize("firmware", Firmware)
async def test_it_boots(tmp_path: Path, firmware: Firmware) -> None:
    disk = create_disk(tmp_path / "vda.img", 64 << 20)
    make_bootable(disk.path, "vda")
    flash = None
    if firmware.is_uefi:
        files = find_uefi()
        flash = FlashFiles(code=files.code, variables=make_variables(files, tmp_path / "v.fd"))
    async with bench(tmp_path, firmware=firmware, disks=[disk], flash=flash) as made:
        await made.machine.start()
        await made.machine.power_on()
        booted = made.timeline.wait_for(lambda event: event.name == "guest.disk.booted")
        event = await made.soon(booted, "the disk")
    assert event["disk"] == "vda"
    assert event["console"] in ("ttyS0", "ttyS1")  # it says so on both; one is heard first


async def test_an_empty_disk_does_not(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 64 << 20)
    async with bench(tmp_path, disks=[disk]) as made:
        await made.machine.start()
        await made.machine.power_on()
        gone = made.timeline.wait_for(lambda event: "No bootable" in event.get("text", ""))
        await made.soon(gone, "the firmware to give up")
    assert not named(made.timeline, "guest.disk.booted")


def test_what_lies_behind_the_volume_is_left_alone(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", MIN_BYTES + 512)
    with disk.path.open("r+b") as file:
        file.seek(MIN_BYTES)
        file.write(b"mine")
    make_bootable(disk.path, "vda")
    assert disk.path.read_bytes()[MIN_BYTES:].rstrip(b"\0") == b"mine"


def test_a_disk_may_be_too_small(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 1 << 20)
    with pytest.raises(SetupFailed, match="at least 4 MiB"):
        make_bootable(disk.path, "vda")
