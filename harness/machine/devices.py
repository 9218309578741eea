"""The devices that a machine is given, and the words that give them to QEMU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USB_NIC: Final = "usb-net"
USB_DISK: Final = "usb-storage"
BUILT_IN_DRIVER: Final = "virtio-net-pci"
"""The NIC that OVMF can use without a ROM."""
BOOTABLE_NICS: Final = frozenset(
    {
        BUILT_IN_DRIVER,
        "e1000",
        "e1000e",
        "i82551",
        "ne2k_pci",
        "pcnet",
        "rtl8139",
        "vmxnet3",
    }
)
"""Models that a ROM of iPXE is there for."""
_CONTROLLERS: Final = {
    "lsi53c895a": "lsi53c895a",
    "megasas": "megasas",
    "mptsas1068": "mptsas1068",
    "pvscsi": "pvscsi",
    "virtio-scsi": "virtio-scsi-pci",
}
"""Disks that hang on a SCSI controller, and which device that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk. ``vda``, ``sda`` or ``nvme0n1`` in the guest, in the order of the machine's list."""

    path: Path
    size_bytes: int
    serial: str | None = None
    """What the guest sees in /sys/block/vda/serial; at most 20 characters."""
    errors: tuple[str, ...] = ()
    """Rules of QEMU's blkdebug: what the disk refuses."""
    model: str = "virtio-blk"
    bootindex: int | None = None
    """Where it stands in the firmware's order, from 1; None: not booted from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card."""

    mac: str
    """Lower case, with colons."""
    netdev: str
    """The value of ``-netdev``, with the id ``net0``, ``net1``… in the order of the list."""
    model: str | None = BUILT_IN_DRIVER
    """None: there is a cable and no card."""
    bootindex: int | None = None
    """Where it stands in the firmware's order, from 1; None: not booted from."""
    link: bool = True
    """Whether its cable is in at power-on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cdrom:
    """A CD drive; the medium is inserted by the monitor (``Machine.insert``)."""

    bootindex: int | None = None


def device_names(nics: Iterable[str], disks: Iterable[str]) -> frozenset[str]:
    """Return the names QEMU must know for these models, as ``-device help`` lists them."""
    names = {*nics}
    for model in disks:
        names.add({"virtio-blk": "virtio-blk-pci", "ahci": "ide-hd"}.get(model, model))
        if model in _CONTROLLERS:
            names |= {_CONTROLLERS[model], "scsi-hd"}
            names.discard(model)
    return frozenset(names)


def usb_words(nics: Sequence[Nic], disks: Sequence[Disk]) -> list[str]:
    """Return a USB controller when a device needs one."""
    if any(nic.model == USB_NIC for nic in nics) or any(d.model == USB_DISK for d in disks):
        return ["-device", "qemu-xhci,id=usb"]
    return []


def nic_device(nic: Nic, number: int, *, uefi: bool, boots: bool) -> str:
    """Return the value of ``-device``; ``boots`` is false when QEMU loads the kernel itself."""
    device = f"{nic.model},netdev=net{number},mac={nic.mac}"
    if nic.model == USB_NIC:
        return f"{device},bus=usb.0"
    if device.startswith("virtio-net"):
        # QEMU 7.2 falls at a reset of a machine that was resumed without announcements, if the
        # guest may be asked for some: their timer is gone then (virtio_net_reset).
        device += ",guest_announce=off"
    bootable = nic.bootindex is not None
    if bootable and boots:
        device += f",bootindex={nic.bootindex}"
    if not bootable or (uefi and nic.model == BUILT_IN_DRIVER):
        device += ",romfile="
    return device


def disk_words(disks: Sequence[Disk]) -> Iterator[str]:
    """Yield the words of all disks, and of the controllers that they hang on."""
    made: set[str] = set()
    ports = 0
    for number, disk in enumerate(disks):
        yield from ("-drive", f"if=none,id=disk{number},{_image(disk)}")
        serial = disk.serial
        match disk.model:
            case "virtio-blk":
                device = "virtio-blk-pci"
            case "nvme":
                device, serial = "nvme", serial or f"disk{number}"  # QEMU demands one
            case "ahci":
                device, ports = f"ide-hd,bus=ide.{ports}", ports + 1
            case "usb-storage":
                device = f"{USB_DISK},bus=usb.0"
            case model:
                if model not in made:
                    made.add(model)
                    yield from ("-device", f"{_CONTROLLERS[model]},id={model}")
                device = f"scsi-hd,bus={model}.0"
        yield "-device"
        order = "" if disk.bootindex is None else f",bootindex={disk.bootindex}"
        yield f"{device},drive=disk{number}{order}" + (
            f",serial={escaped(serial)}" if serial else ""
        )


def _image(disk: Disk) -> str:
    """Return which file is the disk; one with errors reports them instead of stopping QEMU."""
    # cache=unsafe ignores the guest's flushes: the file is read through the same page cache, and
    # nobody needs it to survive a crash of the host. One that is to fail must be heard of.
    heard = any("iotype=flush" in rule for rule in disk.errors)
    common = f"cache={'writeback' if heard else 'unsafe'},discard=unmap"
    if not disk.errors:
        return f"format=raw,{common},file={escaped(disk.path)}"
    rules = (
        f"file.inject-error.{number}.{part}"
        for number, rule in enumerate(disk.errors)
        for part in rule.split(",")
    )
    file = f"file.image.driver=file,file.image.filename={escaped(disk.path)}"
    head = f"driver=raw,{common},werror=report,rerror=report,file.driver=blkdebug"
    return ",".join((head, *rules, file))


def cdrom_words(cdrom: Cdrom) -> list[str]:
    """Return an empty CD drive on the last port of the machine's own AHCI controller."""
    order = "" if cdrom.bootindex is None else f",bootindex={cdrom.bootindex}"
    return ["-device", f"ide-cd,id=cdrom,bus=ide.5{order}"]


def escaped(value: str | Path) -> str:
    """Return ``value`` for use in an option list, where a comma ends a value unless doubled."""
    return str(value).replace(",", ",,")
