"""The names a verdict uses: the phases of a netboot, and who can be to blame."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """The phases of a netboot, in order."""

    POWER_ON = "power-on"
    FIRMWARE_DHCP = "firmware-dhcp"
    NBP_DOWNLOAD = "nbp-download"
    IPXE = "ipxe"
    KERNEL_INITRAMFS = "kernel-initramfs"
    HOOK_BOOT = "hook-boot"
    WORKER_PULL = "worker-pull"
    WORKFLOW = "workflow"
    DONE = "done"

    @property
    def words(self) -> str:
        """The phase as a person reads it."""
        return _TITLES.get(self, self.value.replace("-", " "))


_TITLES = {
    Phase.FIRMWARE_DHCP: "firmware dhcp",
    Phase.KERNEL_INITRAMFS: "kernel, initramfs",
}


class Party(StrEnum):
    """Who can be to blame for a boot that failed."""

    MACHINE = "machine"
    FIRMWARE = "firmware"
    NETWORK = "network"
    DHCP = "dhcp"
    TFTP = "tftp"
    HTTP = "http"
    IPXE = "ipxe"
    KERNEL = "kernel"
    HOOK = "hook"
    REGISTRY = "registry"
    WORKER = "worker"
    TINK = "tink"
    ACTION = "action"
    TEMPLATE = "template"
    LAB = "lab"
    SCENARIO = "scenario"
    UNKNOWN = "unknown"
