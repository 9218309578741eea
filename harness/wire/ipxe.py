"""The iPXE scripts that load Hook, word for word what Tinkerbell's smee v0.25.0 renders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from harness.wire.netboot import Reservation


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptConfig:
    """What smee's command line says about scripts."""

    osie_url: str
    """Where Hook's kernel and initramfs are, without a slash at the end."""
    syslog_host: str = ""
    grpc_authority: str = ""
    """``host:port`` of Tinkerbell's server."""
    tls: bool = False
    insecure_tls: bool = False
    extra_kernel_args: tuple[str, ...] = ()
    retries: int = 1
    retry_delay_s: int = 1
    kernel_name: str = ""
    """Instead of ``vmlinuz``; smee puts ``-<arch>`` behind it."""
    initrd_name: str = ""


class BadScript(ValueError):
    """A script that smee refuses to render: it answers 500."""


def script_for(reservation: Reservation, config: ScriptConfig, *, trace_id: str = "") -> str:
    """Return the script of a machine: its Hardware's own one, else the one that loads Hook.

    Raises ``BadScript`` for an own script at a URL that is neither http nor https.
    """
    if reservation.ipxe_script_url or reservation.ipxe_script:
        return custom_script(reservation)
    return auto_script(reservation, config, trace_id=trace_id)


def custom_script(reservation: Reservation) -> str:
    """Return the script that chains to, or is, what Hardware's ``netboot.ipxe`` says."""
    if url := reservation.ipxe_script_url:
        scheme = urlsplit(url).scheme
        if scheme not in ("http", "https"):
            raise BadScript(f"invalid URL scheme: {scheme}")
        own = f"chain --autofree {url}"
    else:
        own = reservation.ipxe_script
    return f"#!ipxe\n\necho Loading custom Tinkerbell iPXE script...\n{own}\n"


def auto_script(reservation: Reservation, config: ScriptConfig, *, trace_id: str = "") -> str:
    """Return ``auto.ipxe``: loads Hook with what it must know on its kernel command line.

    Parameters of the Hardware come after those of the configuration: the last one wins in Linux.
    """
    arch = reservation.arch or "x86_64"
    kernel = reservation.osie_kernel or _named(config.kernel_name, "vmlinuz", arch)
    initrd = reservation.osie_initrd or _named(config.initrd_name, "initramfs", arch)
    syslog = f"\nset syslog {config.syslog_host}" if config.syslog_host else ""
    trace = f"\necho Debug TraceID: {trace_id}" if trace_id else ""
    vlan = f" vlan_id={reservation.vlan_id}" if reservation.vlan_id else ""
    extra = "".join(f" {word}" for word in (*config.extra_kernel_args, *reservation.kernel_params))
    return (
        f"#!ipxe{syslog}\n"
        "\n"
        f"echo Loading the Tinkerbell Hook iPXE script...{trace}\n"
        "\n"
        f"set arch {arch}\n"
        f"set download-url {reservation.osie_base_url or config.osie_url}\n"
        f"set kernel {kernel}\n"
        f"set initrd {initrd}\n"
        f"set retries:int32 {config.retries}\n"
        f"set retry_delay:int32 {config.retry_delay_s}\n"
        "\n"
        "set idx:int32 0\n"
        ":retry_kernel\n"
        f"kernel ${{download-url}}/${{kernel}}{vlan} \\\n"
        f"facility={reservation.facility} syslog_host={config.syslog_host}"
        f" grpc_authority={config.grpc_authority} tinkerbell_tls={_go_bool(config.tls)}"
        f" tinkerbell_insecure_tls={_go_bool(config.insecure_tls)}"
        f" worker_id={reservation.worker_id} hw_addr={reservation.mac} \\\n"
        "modules=loop,squashfs,sd-mod,usb-storage intel_iommu=on iommu=pt initrd=${initrd}"
        f" console=tty0 console=ttyS1,115200{extra}"
        f" && goto download_initrd || {_retry('kernel', 'kernel-error')}\n"
        f"{_AFTER_KERNEL}"
    )


def static_script(config: ScriptConfig) -> str:
    """Return the script auto-proxy mode gives a machine without Hardware."""
    kernel = f"{config.kernel_name or 'vmlinuz'}-${{arch}}"
    initrd = f"{config.initrd_name or 'initramfs'}-${{arch}}"
    tls = _go_bool(config.tls)
    extra = "".join(f" {word}" for word in config.extra_kernel_args)
    return (
        "#!ipxe\n"
        "\n"
        f"set syslog {config.syslog_host}\n"
        "echo Loading the static Tinkerbell iPXE script...\n"
        "\n"
        "set arch ${buildarch}\n"
        "# Tinkerbell only supports 64 bit architectures.\n"
        "# The build architecture does not necessarily represent the architecture of the machine"
        " on which iPXE is running.\n"
        "# https://ipxe.org/cfg/buildarch\n"
        "iseq ${arch} i386 && set arch x86_64 ||\n"
        "iseq ${arch} arm32 && set arch aarch64 ||\n"
        "iseq ${arch} arm64 && set arch aarch64 ||\n"
        "\n"
        f"set kernel {kernel}\n"
        f"set initrd {initrd}\n"
        f"set download-url {config.osie_url}\n"
        f"set retries:int32 {config.retries}\n"
        f"set retry_delay:int32 {config.retry_delay_s}\n"
        "\n"
        "set worker_id ${mac}\n"
        f"set grpc_authority {config.grpc_authority}\n"
        f"set syslog_host {config.syslog_host}\n"
        f"set tinkerbell_tls {tls}\n"
        "\n"
        "echo worker_id=${mac}\n"
        f"echo grpc_authority={config.grpc_authority}\n"
        f"echo syslog_host={config.syslog_host}\n"
        f"echo tinkerbell_tls={tls}\n"
        "\n"
        "set idx:int32 0\n"
        ":retry_kernel\n"
        "kernel ${download-url}/${kernel} \\\n"
        "syslog_host=${syslog_host} grpc_authority=${grpc_authority}"
        " tinkerbell_tls=${tinkerbell_tls} worker_id=${worker_id} hw_addr=${mac} \\\n"
        "console=tty1 console=tty2 console=ttyAMA0,115200 console=ttyAMA1,115200"
        " console=ttyS0,115200 console=ttyS1,115200 \\\n"
        f"intel_iommu=on iommu=pt{extra} initrd=${{initrd}}"
        f" && goto download_initrd || {_retry('kernel', 'kernel-error')}\n"
        f"{_AFTER_KERNEL}"
    )


def _named(custom: str, usual: str, arch: str) -> str:
    """Return a file's name; only the usual one leaves the architecture to iPXE."""
    return f"{custom}-{arch}" if custom else f"{usual}-${{arch}}"


def _go_bool(value: bool) -> str:
    return "true" if value else "false"


def _retry(step: str, failed: str) -> str:
    return (
        f"iseq ${{idx}} ${{retries}} && goto {failed} || inc idx"
        " && echo retry in ${retry_delay} seconds ; sleep ${retry_delay}"
        f" ; goto retry_{step}"
    )


def _error(label: str, text: str) -> str:
    return f":{label}\necho {text}\nimgfree\nexit\n"


_AFTER_KERNEL: Final = (
    "\n"
    ":download_initrd\n"
    "set idx:int32 0\n"
    ":retry_initrd\n"
    f"initrd ${{download-url}}/${{initrd}} && goto boot || {_retry('initrd', 'initrd-error')}\n"
    "\n"
    ":boot\n"
    "set idx:int32 0\n"
    ":retry_boot\n"
    f"boot || {_retry('boot', 'boot-error')}\n"
    "\n"
    f"{_error('kernel-error', 'Failed to load kernel')}\n"
    f"{_error('initrd-error', 'Failed to load initrd')}\n"
    f"{_error('boot-error', 'Failed to boot')}"
)
