"""QEMU's command line, as a pure function of what the machine is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.machine.devices import (
    Cdrom,
    Disk,
    Nic,
    cdrom_words,
    disk_words,
    escaped,
    nic_device,
    usb_words,
)
from harness.machine.firmware import Firmware, FlashFiles
from harness.machine.ram import HUGE_PAGE

QEMU: Final = "qemu-system-x86_64"
CONSOLES: Final = ("ttyS0", "ttyS1")
_PXE_SWITCHES: Final = ("IPv4PXESupport", "IPv6PXESupport", "IPv6Support")
"""What OVMF tries before HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """A kernel that QEMU loads itself: no firmware boot menu, no network boot."""

    kernel: Path
    initrd: Path | None = None
    cmdline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """Everything about a machine that its command line says."""

    name: str
    firmware: Firmware
    accel: str
    """``kvm`` or ``tcg``."""
    nics: Sequence[Nic]
    disks: Sequence[Disk] = ()
    cdrom: Cdrom | None = None
    machine: str = "q35"
    cpus: int = 1
    """More than one under TCG can hang for ever in a kernel text patch; see DESIGN.md."""
    memory_mib: int = 2048
    clock: str = "utc"
    """What the clock says at power-on: a time in UTC (``1970-01-01``), or the host's."""
    uuid: str | None = None
    flash: FlashFiles | None = None
    """For UEFI: the code, and this machine's own copy of the variables."""
    no_reboot: bool = False
    """End the machine (event ``machine.shutdown``) instead of letting it reset."""
    direct: DirectKernel | None = None
    incoming: bool = False
    """Whether it gets its memory from another QEMU before it is let go."""
    extra: Sequence[str] = field(default=())
    """Words put at the end of the command line as they are."""

    @property
    def mac(self) -> str | None:
        """The MAC of the NIC that is first in the firmware's order; else of the first NIC."""
        if not self.nics:
            return None
        return min(self.nics, key=lambda nic: nic.bootindex or 1_000).mac


def cpu_model(accel: str) -> str:
    """Return the value of ``-cpu`` that offers the guest all that ``accel`` can do well.

    Without ERMS and FSRM a guest copies and clears memory by ``rep movsq`` and ``stosq``; with
    them by single octets, each of which TCG works through: a third more time to unpack an
    initramfs, a seventh more to a running docker engine.
    """
    return "host" if accel == "kvm" else "max,-erms,-fsrm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """How the harness is connected to a QEMU that it starts.

    The file descriptors are inherited.
    """

    monitor: int
    """An end of a socket pair: no path is too long, no connection is awaited."""
    consoles: Mapping[str, Path]
    """By the names in ``CONSOLES``, what comes before ``.in`` and ``.out`` of two FIFOs."""
    ram: int
    """The file that is the machine's RAM."""
    attach: Path | None = None
    """A path (107 octets at most) of a second monitor, for people."""


def qemu_command(spec: MachineSpec, channels: Channels | None = None) -> list[str]:
    """Return the whole command.

    With ``channels`` the CPU is held until the monitor says ``cont``. Without, it is the command
    for a person to run: it starts at once, the first serial port is on the terminal, disks are
    left as they are (writes go to a temporary file), and the network is QEMU's own, because the
    lab's was private and is gone.
    """
    machine = f"{spec.machine},usb=off,vmport=off,graphics=off,dump-guest-core=off"
    # fmt: off
    words = [
        QEMU,
        "-name", f"{escaped(spec.name)},debug-threads=on",
        "-machine", machine if channels is None else f"{machine},memory-backend=ram",
        "-accel", spec.accel if spec.accel != "tcg" else "tcg,tb-size=512",
        "-cpu", cpu_model(spec.accel),
        "-smp", str(spec.cpus),
        "-m", f"{spec.memory_mib}M",
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-rtc", f"base={spec.clock},clock=host,driftfix=none",
        "-boot", "strict=on",
        "-device", "virtio-rng-pci",
        # A guest that powers itself off leaves QEMU paused, so that QEMU never ends unasked.
        "-no-shutdown",
    ]
    # fmt: on
    if spec.uuid:
        words += ["-uuid", spec.uuid]
    if spec.no_reboot:
        words += ["-no-reboot"]
    if spec.flash is not None:
        for unit, (path, readonly) in enumerate(
            ((spec.flash.code, "on"), (spec.flash.variables, "off"))
        ):
            words += [
                "-drive",
                f"if=pflash,unit={unit},format=raw,readonly={readonly},file={escaped(path)}",
            ]
    if spec.firmware is Firmware.UEFI_HTTP:
        for switch in _PXE_SWITCHES:
            words += ["-fw_cfg", f"name=opt/org.tianocore/{switch},string=n"]
    if spec.direct is not None:
        words += ["-kernel", str(spec.direct.kernel), "-append", spec.direct.cmdline]
        if spec.direct.initrd is not None:
            words += ["-initrd", str(spec.direct.initrd)]
    words += usb_words(spec.nics, spec.disks)
    for number, nic in enumerate(spec.nics):
        netdev = f"user,id=net{number}" if channels is None else nic.netdev
        words += ["-netdev", netdev]
        if nic.model is not None:
            uefi, boots = spec.firmware.is_uefi, spec.direct is None
            words += ["-device", nic_device(nic, number, uefi=uefi, boots=boots)]
    words += disk_words(spec.disks)
    if spec.cdrom is not None:
        words += cdrom_words(spec.cdrom)
    if channels is not None:
        words += ["-object", _ram(spec, channels.ram)]
    words += _standalone_words() if channels is None else _channel_words(channels)
    if spec.incoming and channels is not None:
        words += ["-incoming", "defer"]
    return [*words, *spec.extra]


def _ram(spec: MachineSpec, file: int) -> str:
    """Return the memory that is an inherited file; aligned, it may have huge pages."""
    size = f"size={spec.memory_mib}M,align={HUGE_PAGE >> 20}M"
    return f"memory-backend-file,id=ram,{size},share=on,dump=off,mem-path=/proc/self/fd/{file}"


def _channel_words(channels: Channels) -> list[str]:
    words: list[str] = []
    for number, console in enumerate(CONSOLES):
        words += [
            "-chardev",
            f"pipe,id={console},path={escaped(channels.consoles[console])}",
            "-device",
            f"isa-serial,chardev={console},index={number}",
        ]
    words += ["-chardev", f"socket,id=qmp,fd={channels.monitor}"]
    words += ["-mon", "chardev=qmp,mode=control"]
    if channels.attach is not None:
        words += ["-qmp", f"unix:{escaped(channels.attach)},server=on,wait=off"]
    return [*words, "-S"]


def _standalone_words() -> list[str]:
    first, second = CONSOLES
    # fmt: off
    return [
        "-chardev", f"stdio,id={first},mux=on,signal=off",
        "-device", f"isa-serial,chardev={first},index=0",
        "-chardev", f"null,id={second}",
        "-device", f"isa-serial,chardev={second},index=1",
        "-mon", f"chardev={first}",
        "-snapshot",
    ]
    # fmt: on
