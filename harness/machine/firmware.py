"""Which firmware a machine boots with, and where this host keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from harness.errors import HostUnfit


class Firmware(StrEnum):
    """What runs first when a machine is powered on."""

    BIOS = "bios"
    """SeaBIOS, which runs QEMU's iPXE option ROM of the NIC: DHCP user class ``iPXE``."""
    UEFI = "uefi"
    """OVMF with its own PXE driver and no option ROM: DHCP vendor class ``PXEClient``."""

    UEFI_HTTP = "uefi-http"
    """The same OVMF told not to try PXE, so that it boots over HTTP: ``HTTPClient``."""

    @property
    def is_uefi(self) -> bool:
        """Whether it is any kind of UEFI."""
        return self is not Firmware.BIOS


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashFiles:
    """The two flash images of a UEFI firmware."""

    code: Path
    variables: Path
    """The template; each machine gets a copy to write to."""


DESCRIPTOR_FOLDERS: Final = (
    Path("~/.config/qemu/firmware"),
    Path("/etc/qemu/firmware"),
    Path("/usr/share/qemu/firmware"),
)
"""Where QEMU's firmware descriptors live, most important first (docs/interop/firmware.json)."""

_FALLBACKS: Final = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
)
_UNWANTED: Final = {"secure-boot", "requires-smm", "enrolled-keys"}
"""Features that Tinkerbell's unsigned iPXE could not boot with."""


def find_uefi(
    *,
    folders: tuple[Path, ...] = DESCRIPTOR_FOLDERS,
    fallbacks: tuple[tuple[str, str], ...] = _FALLBACKS,
) -> FlashFiles:
    """Return this host's x86-64 UEFI without Secure Boot. Raises ``HostUnfit``."""
    seen: set[str] = set()
    candidates: list[Path] = []
    for folder in folders:
        for path in _entries(folder):
            # A file of a more important folder masks its namesakes.
            if path.suffix == ".json" and path.name not in seen:
                seen.add(path.name)
                candidates.append(path)
    for path in sorted(candidates, key=lambda path: path.name):
        if (found := _flash_files(path)) is not None:
            return found
    for code, variables in fallbacks:
        if Path(code).is_file() and Path(variables).is_file():
            return FlashFiles(code=Path(code), variables=Path(variables))
    raise HostUnfit("no UEFI firmware (OVMF) was found", hint="install the package ovmf")


def _entries(folder: Path) -> list[Path]:
    """Return what is in ``folder``; nothing when it is missing, or somebody else's home."""
    try:
        return sorted(folder.expanduser().iterdir())
    except (OSError, RuntimeError):
        return []


def _flash_files(descriptor: Path) -> FlashFiles | None:
    """Return what a descriptor describes when it suits; None when it does not or is broken."""
    try:
        data: dict[str, Any] = json.loads(descriptor.read_text())
        mapping = data["mapping"]
        suits = (
            "uefi" in data["interface-types"]
            and mapping["device"] == "flash"
            and mapping["executable"]["format"] == "raw"
            and not _UNWANTED & set(data["features"])
            and any(target["architecture"] == "x86_64" for target in data["targets"])
        )
        if not suits:
            return None
        files = FlashFiles(
            code=Path(mapping["executable"]["filename"]),
            variables=Path(mapping["nvram-template"]["filename"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if files.code.is_file() and files.variables.is_file() else None


_ROM_FOLDERS: Final = ("/usr/share/qemu", "/usr/lib/ipxe/qemu", "/usr/share/qemu-kvm")


def find_option_rom(name: str = "pxe-virtio.rom") -> Path:
    """Return QEMU's iPXE option ROM for BIOS machines. Raises ``HostUnfit``."""
    for folder in _ROM_FOLDERS:
        path = Path(folder, name)
        if path.is_file():
            return path
    raise HostUnfit(
        f"QEMU's network boot ROM {name} was not found", hint="install the package ipxe-qemu"
    )


def check(firmware: Firmware) -> None:
    """Raise ``HostUnfit`` unless this host has ``firmware``."""
    if firmware.is_uefi:
        find_uefi()
    else:
        find_option_rom()


def make_variables(files: FlashFiles, target: Path) -> Path:
    """Copy the variable store to ``target`` for one machine to write to; return ``target``."""
    target.write_bytes(files.variables.read_bytes())
    target.chmod(0o600)  # whatever the mode of the template
    return target
