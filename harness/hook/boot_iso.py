"""Hook's ISO: its kernel and initramfs behind GRUB, and the placeholder that smee writes over.

Like Tinkerbell's own (LinuxKit's ``iso-efi-initrd``) it boots under UEFI only. The kernel command
line stands in ``grub.cfg`` and is nothing but the placeholder of 1024 characters.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from harness.errors import BuildFailed
from harness.hook.deb import open_data
from harness.hook.debian import DebianArchive
from harness.hook.fat import SECTOR, fat16
from harness.hook.iso9660 import BootImage, Platform, write_iso
from harness.hook.store import digest_of, exclusive, mark_used, remove_unused
from harness.progress import Progress
from harness.wire.iso import MAGIC

_FORMAT: Final = 1
"""Changes when the same inputs are to give another image."""
_PACKAGE: Final = "grub-efi-amd64-bin"
_GRUB: Final = "./usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"
"""Debian's GRUB for CDs: it looks for the CD with ``.disk/info``, then reads boot/grub/grub.cfg."""


def grub_config(magic: bytes = MAGIC) -> bytes:
    """Return the GRUB configuration whose kernel arguments are ``magic``."""
    return (
        b"set timeout=0\n"
        b"menuentry 'Hook' {\n"
        b"\tlinux /kernel " + magic + b" text\n"
        b"\tinitrd /initrd.img\n"
        b"}\n"
    )


async def ensure_boot_iso(
    *,
    kernel: Path,
    initramfs: Path,
    kernel_sha256: str,
    initramfs_sha256: str,
    cache: Path,
    progress: Progress,
) -> Path:
    """Return the ISO that boots these files; made once, then kept. Raises ``BuildFailed``."""
    packages = await DebianArchive(cache, progress).ensure([_PACKAGE])
    deb = packages[_PACKAGE]
    digest = digest_of(_FORMAT, kernel_sha256, initramfs_sha256, deb.name)[:32]
    target = cache / "iso" / f"{digest}.iso"
    if not target.is_file():
        async with exclusive(cache / "iso" / "lock"):
            if not target.is_file():
                with progress.step("writing Hook's ISO"):
                    await asyncio.to_thread(_make, deb, kernel, initramfs, target)
                remove_unused(target.parent)
    mark_used(target)
    return target


def _make(deb: Path, kernel: Path, initramfs: Path, target: Path) -> None:
    boot = fat16({"EFI/BOOT/BOOTX64.EFI": _grub(deb)})
    fresh = target.with_suffix(".new")
    with fresh.open("wb") as file:
        write_iso(
            file,
            # The configuration comes first and is short: it lies within one piece of 32 KiB.
            files={
                "boot/grub/grub.cfg": grub_config(),
                ".disk/info": b"Hook\n",
                "efi.img": boot,
                "kernel": kernel,
                "initrd.img": initramfs,
            },
            boot=[BootImage(platform=Platform.EFI, file="efi.img", sectors=len(boot) // SECTOR)],
            label="HOOK",
        )
    fresh.replace(target)


def _grub(deb: Path) -> bytes:
    with open_data(deb) as archive:
        for member in archive:
            if member.name == _GRUB and (stream := archive.extractfile(member)):
                return stream.read()
    raise BuildFailed(f"{_PACKAGE} holds no {_GRUB}")
