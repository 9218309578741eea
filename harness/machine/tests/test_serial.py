"""The line of a serial port: what a guest prints is kept, whoever is slow to read it."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.machine.console import Console
from harness.machine.serial import ROOM_BYTES, SerialLine
from harness.machine.tests.kernels import kernel_of, machine_of
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

BOOT_BYTES = 100_000


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


PRINTED = 40_000


def kernel_that_does_not_wait() -> bytes:
    """Return what QEMU takes for a kernel: it prints ``PRINTED`` octets and asks for no room."""
    code = bytes.fromhex(
        "baf803 b9409c"  # mov dx, 3F8h (ttyS0); mov cx, 40000
        "88c8 243f 0430"  # mov al, cl; and al, 3Fh; add al, "0"
        "ee e2f7"  # out dx, al; loop
        "b00a ee"  # a newline
        "f4 ebfd"  # hlt, for ever
    )
    return kernel_of(code)


@pytest.mark.machine
async def test_a_guest_that_waits_for_nobody_loses_nothing(tmp_path: Path) -> None:
    timeline, tasks = Timeline(None), TaskKeeper()
    machine = machine_of(kernel_that_does_not_wait(), tmp_path, timeline, tasks)
    try:
        await machine.power_on()
        time.sleep(1.0)  # noqa: ASYNC251 - we have no time for it, as on a busy host
        # Lines are cut at some length: the last piece is what ends in the newline.
        await tasks.race(
            timeline.wait_for(lambda event: event.get("text", "").endswith("4321")),
            Deadline.after(timedelta(seconds=20)),
            waiting_for="the last octets",
        )
    finally:
        await machine.power_off()
        await tasks.close()
    printed = bytes((number & 0x3F) + 0x30 for number in range(PRINTED, 0, -1))
    assert printed in (tmp_path / "serial-ttyS0.log").read_bytes()


def qemu_opens(path: Path) -> tuple[int, int]:
    """Open both FIFOs as QEMU does (chardev/char-pipe.c)."""
    return os.open(f"{path}.in", os.O_RDWR), os.open(f"{path}.out", os.O_RDWR | os.O_NONBLOCK)


def test_what_a_whole_boot_prints_has_room_octet_by_octet(tmp_path: Path) -> None:
    line = SerialLine(tmp_path / "ttyS0")
    into, out = qemu_opens(line.path)
    line.taken()
    for number in range(BOOT_BYTES):  # a write that finds no room raises BlockingIOError
        os.write(out, bytes([number & 0x7F]))
    os.close(into)
    os.close(out)
    read = b"".join(iter(lambda: os.read(line.reading.fileno(), ROOM_BYTES), b""))
    assert read == bytes(number & 0x7F for number in range(BOOT_BYTES))
    assert list(tmp_path.iterdir()) == []
    line.close()


async def test_a_console_at_a_line_reads_and_types_until_qemu_is_gone(tmp_path: Path) -> None:
    line = SerialLine(tmp_path / "ttyS0")
    timeline, tasks = Timeline(None), TaskKeeper()
    console = Console(name="ttyS0", machine="m1", timeline=timeline, tasks=tasks)
    await console.connect(line.reading, line.writing)
    into, out = qemu_opens(line.path)
    line.taken()
    os.write(out, b"one\r\n")
    await tasks.race(
        timeline.wait_for(lambda event: event.get("text") == "one"),
        Deadline.after(timedelta(seconds=10)),
        waiting_for="one",
    )
    await console.write(b"root\r")
    assert os.read(into, 100) == b"root\r"
    os.write(out, b"last words")
    os.close(into)
    os.close(out)
    async with asyncio.timeout(10):
        await console.close()
    assert [event["text"] for event in timeline] == ["one", "last words"]
    await console.write(b"x")
    await tasks.close()


def test_a_line_that_nobody_takes_leaves_nothing(tmp_path: Path) -> None:
    before = _descriptors()
    SerialLine(tmp_path / "ttyS0").close()
    with pytest.raises(OSError, match="No such file"):
        SerialLine(tmp_path / "none" / "ttyS0")
    assert list(tmp_path.iterdir()) == []
    assert _descriptors() == before
