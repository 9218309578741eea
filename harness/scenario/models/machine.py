"""What a scenario says of the machine that boots."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from harness.machine.bootable import MIN_BYTES
from harness.scenario.models.forms import Mac, Model, Size, as_list

Firmware = Literal["bios", "uefi"]


class Disk(Model):
    """A virtio disk, empty at power-on unless it ``boots``."""

    name: Annotated[str, Field(pattern=r"^vd[a-z]$")]
    """The name the guest gives it: vda, vdb, … in this order."""
    size: Size
    """Such as ``64 MiB``; at least 1 MiB."""
    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,20}$")] | None = None
    """What the guest reads as the disk's serial number."""
    boots: bool = False
    """Whether a system is installed on it, which says on the consoles that it booted (event
    ``guest.disk.booted``) and stays there; at least 4 MiB."""

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


class Machine(Model):
    """The machine that boots."""

    mac: Mac
    """MAC address of the NIC it boots from: unicast, six octets."""
    firmware: Annotated[
        list[Firmware],
        BeforeValidator(as_list),
        Field(min_length=1),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["bios", "uefi"]},
                    {
                        "type": "array",
                        "items": {"enum": ["bios", "uefi"]},
                        "minItems": 1,
                        "uniqueItems": True,
                    },
                ]
            }
        ),
    ] = ["uefi"]
    """``bios`` (SeaBIOS) or ``uefi`` (OVMF); a list makes one test item each."""
    memory: Size = 2 << 30
    """Such as ``2 GiB``; whole MiB, at least 512 MiB."""
    cpus: Annotated[int, Field(ge=1, le=16)] | None = None
    """Virtual CPUs; left out: 1 when emulated (TCG), 2 with KVM."""
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    """``auto`` takes KVM where it proves to run a kernel, else TCG."""
    nic: Literal["virtio-net-pci", "e1000", "e1000e", "rtl8139"] = "virtio-net-pci"
    """QEMU's model of the NIC it boots from."""
    disks: list[Disk] = []
    """Virtio disks in the guest's order."""

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
        for letter, disk in zip("abcdefghijklmnop", value, strict=False):
            if disk.name != f"vd{letter}":
                raise ValueError(
                    f"the guest would call disk '{disk.name}' 'vd{letter}': list disks in order"
                )
        return value
