"""A real machine that stands still is looked into: monitor, CPU, screen, console."""

from __future__ import annotations

import struct
import zlib
from datetime import timedelta
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.machine.inspection import Inspection, attempt
from harness.machine.screen import png_of_ppm
from harness.machine.tests.test_machine import bench


@pytest.mark.machine
async def test_a_machine_with_a_screen(tmp_path: Path) -> None:
    async with bench(tmp_path, extra=["-device", "VGA"]) as made:
        await made.machine.start()
        await made.machine.power_on()
        gone = made.timeline.wait_for(lambda event: event.name == "firmware.gave_up")
        await made.soon(gone, "the firmware to give up")
        look = Inspection(made.machine, tmp_path)
        status = await look.status()
        assert status.startswith("status running, running True")
        assert "% CPU" in status
        registers = await look.registers()
        assert registers.count("EIP=") == 2 or registers.count("RIP=") == 2
        assert "info network" in await look.devices()
        picture = await look.screen()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(picture) > 500
        assert not list(tmp_path.glob("*.ppm"))
        assert "No bootable device" in look.console("ttyS0")
        # A BIOS does not listen for SysRq.
        assert not await look.sysrq("ttyS1")


@pytest.mark.machine
async def test_a_machine_without_a_screen_or_without_a_monitor(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.start()
        look = Inspection(made.machine, tmp_path)
        with pytest.raises(LabError):
            await look.screen()
        await made.machine.monitor.close()
        found, why = await attempt(look.status, timedelta(seconds=1))
        assert found is None
        assert why


def test_a_picture_keeps_its_pixels() -> None:
    pixels = bytes(range(18))
    png = png_of_ppm(b"P6\n3 2\n255\n" + pixels)
    assert struct.unpack_from("!II", png, 16) == (3, 2)
    length = struct.unpack_from("!I", png, 33)[0]
    rows = zlib.decompress(png[41 : 41 + length])
    assert rows == b"\0" + pixels[:9] + b"\0" + pixels[9:]


@pytest.mark.parametrize("bad", [b"", b"P5\n1 1\n255\n", b"P6\n9 9\n255\nabc", b"P6\n0 0\n255\n"])
def test_what_is_no_picture_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="PPM"):
        png_of_ppm(bad)
