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
    DISK_BOOT = "disk-boot"
    """Only of a run that waits for it: the first boot of what the workflow installed."""
    DONE = "done"

    @property
    def words(self) -> str:
        """The phase as a person reads it."""
        return _TITLES.get(self, self.value.replace("-", " "))


_TITLES = {
    Phase.FIRMWARE_DHCP: "firmware dhcp",
    Phase.KERNEL_INITRAMFS: "kernel, initramfs",
    Phase.DISK_BOOT: "first boot from disk",
}


class Party(StrEnum):
    """Who can be to blame for a boot that failed."""

    MACHINE = "machine"
    FIRMWARE = "firmware"
    LINK = "link"
    DHCP = "dhcp"
    TFTP = "tftp"
    HTTP = "http"
    IPXE = "ipxe"
    BOOT_SCRIPT = "boot-script"
    KERNEL = "kernel"
    HOOK = "hook"
    GUEST_NETWORK = "guest-network"
    CLOCK = "clock"
    DNS = "dns"
    DOCKER = "docker"
    REGISTRY = "registry"
    TLS = "tls"
    WORKER = "worker"
    TINK = "tink"
    ACTION = "action"
    TEMPLATE = "template"
    DISK = "disk"
    LAB = "lab"
    HOST = "host"
    SCENARIO = "scenario"
    UNKNOWN = "unknown"

    @property
    def meaning(self) -> str:
        """What belongs to it, in half a sentence."""
        return _PARTIES[self]


_PARTIES = {
    Party.MACHINE: "the hardware: memory, power, what it switches off by itself",
    Party.FIRMWARE: "BIOS, UEFI and what of them asks for the network boot program",
    Party.LINK: "cables, switches, routers and firewalls between two ends that did their part",
    Party.DHCP: "the DHCP server or proxy, and what it says",
    Party.TFTP: "the TFTP server",
    Party.HTTP: "the web server of scripts, boot programs, kernel and initramfs",
    Party.IPXE: "iPXE, where it does not do what it was told",
    Party.BOOT_SCRIPT: "what Tinkerbell's script tells iPXE and the kernel",
    Party.KERNEL: "Linux and its drivers",
    Party.HOOK: "Hook's init and services, but those that are named here",
    Party.GUEST_NETWORK: "how Hook sets up its network: interface, address, route, VLAN",
    Party.CLOCK: "the machine's clock, and the time server that should set it",
    Party.DNS: "the name server, and what it knows",
    Party.DOCKER: "the docker engine in Hook",
    Party.REGISTRY: "the registry, its certificate, its credentials and what it has",
    Party.TLS: "an agreement on TLS that does not come about",
    Party.WORKER: "tink-worker or tink-agent",
    Party.TINK: "Tinkerbell's server, and the Hardware and Workflow it was given",
    Party.ACTION: "an action of the workflow",
    Party.TEMPLATE: "what the Template asks for: volumes, images, timeouts",
    Party.DISK: "the machine's disk",
    Party.LAB: "hooklab itself",
    Party.HOST: "the computer that the lab runs on: no room on its disk, no memory, no time",
    Party.SCENARIO: "the scenario file",
    Party.UNKNOWN: "not enough evidence",
}
