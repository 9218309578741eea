"""What a scenario says of the machine that boots."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from harness.documents import Mistake
from harness.machine.bootable import MIN_BYTES
from harness.parts import NicModel
from harness.scenario.models.forms import Mac, Model, Size, as_list

Firmware = Literal["bios", "uefi", "uefi-http"]
DiskModel = Literal[
    "virtio-blk",
    "virtio-scsi",
    "ahci",
    "nvme",
    "usb-storage",
    "lsi53c895a",
    "megasas",
    "mptsas1068",
    "pvscsi",
]
_DEFAULT_MODELS: Final = {"vd": "virtio-blk", "sd": "ahci", "nv": "nvme"}
_AHCI_DISKS: Final = 5
"""The machine's own controller has six ports; the last is for a CD drive."""

DISK_NAME: Final = r"([vs]d[a-z]|nvme[0-9]n1)"
"""What a guest calls a disk, as a regular expression."""


class Disk(Model):
    """A disk, empty at power-on unless it ``boots``."""

    name: Annotated[str, Field(pattern=f"^{DISK_NAME}$")]
    """The name the guest gives it: vda, vdb, … (virtio), sda, … or nvme0n1, … in this order."""
    size: Size
    """Such as ``64 MiB``; at least 1 MiB."""
    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,20}$")] | None = None
    """What the guest reads as the disk's serial number."""
    boots: bool = False
    """Whether a system is installed on it, which says on the consoles that it booted (event
    ``guest.disk.booted``) and stays there; at least 4 MiB."""
    model: DiskModel | None = None
    """QEMU's model. Default: by its name ``virtio-blk``, ``ahci`` or ``nvme``."""

    @property
    def kind(self) -> str:
        """Its model, the default filled in."""
        return self.model or _DEFAULT_MODELS[self.name[:2]]

    @field_validator("size")
    @classmethod
    def _large_enough(cls, value: int) -> int:
        if value < 1 << 20:
            raise ValueError(f"a disk has at least 1 MiB, found {value} B")
        return value

    @model_validator(mode="after")
    def _room_for_a_system(self) -> Disk:
        if self.boots and self.size < MIN_BYTES:
            raise ValueError("a disk that boots has at least 4 MiB")
        return self

    @model_validator(mode="after")
    def _as_named(self) -> Disk:
        prefix = {"virtio-blk": "vd", "nvme": "nv"}.get(self.kind, "sd")
        if not self.name.startswith(prefix):
            shown = {"vd": "vda", "nv": "nvme0n1", "sd": "sda"}[prefix]
            raise ValueError(f"the guest calls a disk of model {self.kind} such as {shown!r}")
        return self


class Nic(Model):
    """A network card."""

    mac: Mac
    """MAC address: unicast, six octets."""
    model: NicModel = "virtio-net-pci"
    """QEMU's model. ``igb`` needs QEMU 8; ``igb``, ``tulip`` and ``usb-net`` can't netboot."""
    network: Literal["lab", "empty"] = "lab"
    """What its cable leads to: the lab, or a switch that nobody else is at."""
    link: bool = True
    """Whether its cable is in at power-on."""
    address: IPv4Address | Literal["none"] | None = None
    """What DHCP gives it in a derived Hardware. Default: the machine's NIC has
    ``network.machine``, others in the lab the addresses after it; ``none``: it is in no
    Hardware."""


class Machine(Model):
    """The machine that boots."""

    mac: Mac
    """MAC address of the NIC it boots from, and its worker's name: unicast, six octets."""
    firmware: Annotated[
        list[Firmware],
        BeforeValidator(as_list),
        Field(min_length=1),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["bios", "uefi", "uefi-http"]},
                    {
                        "type": "array",
                        "items": {"enum": ["bios", "uefi", "uefi-http"]},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                ]
            }
        ),
    ] = ["uefi"]
    """``bios`` (SeaBIOS), ``uefi`` (OVMF, by PXE) or ``uefi-http`` (OVMF, its boot program over
    HTTP instead of TFTP); a list makes one test item each."""
    memory: Size = 2 << 30
    """Such as ``2 GiB``; whole MiB, at least 512 MiB."""
    cpus: Annotated[int, Field(ge=1, le=16)] | None = None
    """Virtual CPUs; left out: 1 when emulated (TCG), 2 with KVM."""
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    """``auto`` takes KVM where it proves to run a kernel, else TCG."""
    nic: NicModel | None = None
    """QEMU's model of its only NIC; left out: ``virtio-net-pci``. For several see ``nics``."""
    nics: list[Nic] = []
    """Network cards in the order of their PCI slots; left out: one, with ``mac``."""
    disks: list[Disk] = []
    """Disks in the guest's order."""
    boot: list[str] | None = None
    """What the firmware tries, in this order: ``nic`` (the one with ``mac``), other NICs by their
    MAC address, disks by name, ``iso``. Default: ``iso`` where there is one, ``nic``, disks."""

    @property
    def cards(self) -> list[Nic]:
        """Every NIC, the one that ``mac`` and ``nic`` stand for included."""
        return self.nics or [Nic(mac=self.mac, model=self.nic or "virtio-net-pci")]

    @field_validator("memory")
    @classmethod
    def _enough_memory(cls, value: int) -> int:
        if value % (1 << 20) or value < 512 << 20:
            raise ValueError("memory is whole MiB, at least 512 MiB: Hook unpacks into it")
        return value

    @field_validator("firmware")
    @classmethod
    def _each_firmware_once(cls, value: list[Firmware]) -> list[Firmware]:
        if len(set(value)) != len(value):
            raise ValueError("each firmware may be listed once")
        return value

    @field_validator("disks")
    @classmethod
    def _named_in_order(cls, value: list[Disk]) -> list[Disk]:
        counts: dict[str, int] = {}
        for disk in value:
            kind = disk.name[:2]
            number = counts[kind] = counts.get(kind, -1) + 1
            name = f"nvme{number}n1" if kind == "nv" else f"{kind}{chr(ord('a') + number)}"
            if disk.name != name:
                raise ValueError(
                    f"the guest would call disk '{disk.name}' '{name}': list disks in order"
                )
        kinds = {disk.kind for disk in value if disk.name.startswith("sd")}
        if len(kinds) > 1:
            raise ValueError(
                f"which of {' and '.join(sorted(kinds))} the guest calls sda is chance: "
                "give all sd disks one model"
            )
        if sum(disk.kind == "ahci" for disk in value) > _AHCI_DISKS:
            raise ValueError(f"at most {_AHCI_DISKS} disks can be of model ahci")
        return value

    @model_validator(mode="after")
    def _cards_fit(self) -> Machine:
        macs = [nic.mac for nic in self.nics]
        if self.nics and self.nic is not None:
            raise Mistake("'nic' is for a machine with one NIC", hint="say its model in 'nics'")
        if len(set(macs)) != len(macs):
            raise Mistake("two of 'nics' have the same MAC address")
        if self.nics and self.mac not in macs:
            raise Mistake(
                f"none of 'nics' has the machine's MAC address {self.mac}",
                hint=f"MAC addresses there: {', '.join(macs)}",
            )
        return self

    @field_validator("boot")
    @classmethod
    def _each_once(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("what the firmware tries may be listed once")
        return value
