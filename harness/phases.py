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
    """The hardware: a NIC without driver, no disk, a machine that switches itself off."""
    FIRMWARE = "firmware"
    LINK = "link"
    """Cables, switches, routers, firewalls: what lies between two ends that both did their part."""
    DHCP = "dhcp"
    TFTP = "tftp"
    HTTP = "http"
    IPXE = "ipxe"
    BOOT_SCRIPT = "boot-script"
    """What Tinkerbell's script tells iPXE and the kernel."""
    KERNEL = "kernel"
    HOOK = "hook"
    """Hook's own init and services, other than those that have a name here."""
    GUEST_NETWORK = "guest-network"
    """How Hook sets up its network: interface, address, route, VLAN."""
    CLOCK = "clock"
    DNS = "dns"
    DOCKER = "docker"
    REGISTRY = "registry"
    TLS = "tls"
    WORKER = "worker"
    TINK = "tink"
    """Tinkerbell's server, and what it was told: Hardware, Template, Workflow."""
    ACTION = "action"
    TEMPLATE = "template"
    DISK = "disk"
    LAB = "lab"
    """hooklab itself."""
    HOST = "host"
    """The computer that the lab runs on."""
    SCENARIO = "scenario"
    UNKNOWN = "unknown"
