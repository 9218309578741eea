"""The smallest things that QEMU takes for a kernel."""

from __future__ import annotations

from pathlib import Path

from harness.machine.devices import Disk
from harness.machine.firmware import Firmware
from harness.machine.machine import Machine
from harness.machine.qemu import DirectKernel, MachineSpec
from harness.tasks import TaskKeeper
from harness.timeline import Timeline


def kernel_of(code: bytes) -> bytes:
    """Return a kernel whose real-mode setup is ``code``, and that never gets beyond it."""
    header = bytearray(512)
    header[0x1F1] = 4  # setup sectors (Documentation/arch/x86/boot.rst)
    header[0x1FE:0x200] = b"\x55\xaa"
    return bytes(header) + code.ljust(4 * 512, b"\0") + bytes(4096)


def machine_of(
    kernel: bytes, folder: Path, timeline: Timeline, tasks: TaskKeeper, *disks: Disk
) -> Machine:
    """Return a machine without a network that starts ``kernel``; it is off."""
    file = folder / "vmlinuz"
    file.write_bytes(kernel)
    spec = MachineSpec(
        name="m1", firmware=Firmware.BIOS, accel="tcg", nics=(), memory_mib=256,
        direct=DirectKernel(kernel=file), disks=disks,
    )  # fmt: skip
    return Machine(spec=spec, run_dir=folder, private_dir=folder, timeline=timeline, tasks=tasks)
