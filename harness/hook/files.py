"""A kernel and an initramfs, found in a folder or a tarball by Tinkerbell's and Hook's names."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.errors import BuildFailed
from harness.hook.store import digest_of, digest_of_file, new_folder

_ARCHITECTURES = {"x86_64": ("x86_64", "amd64"), "aarch64": ("aarch64", "arm64")}
_EXPECTED = "vmlinuz-x86_64 and initramfs-x86_64, or another of Hook's pairs of names"
# First match wins; {arch} is each spelling of the architecture. Hook's flavours come first.
_KERNELS = (
    "vmlinuz-{arch}", "vmlinuz-latest-lts-{arch}", "vmlinuz-*-{arch}", "hook-*vmlinuz*{arch}*",
    "hook*{arch}*-kernel", "hook-kernel", "*{arch}*kernel", "vmlinuz*{arch}*", "bzImage*{arch}*",
    "vmlinuz", "bzImage", "kernel", "linux", "vmlinuz-*", "*-kernel",
)  # fmt: skip
_INITRAMFS = (
    "initramfs-{arch}", "initramfs-latest-lts-{arch}", "initramfs-*-{arch}",
    "hook-*initramfs*{arch}*", "hook*{arch}*-initrd.img", "hook-initrd.img", "*{arch}*initrd*",
    "initramfs*{arch}*", "initrd*{arch}*", "initramfs", "initrd", "initrd.img", "initrd.gz",
    "initramfs.img", "initramfs.cpio*", "initramfs-*", "initrd.img-*", "initrd-*", "*-initrd.img",
)  # fmt: skip
_IGNORED = ("*.sha256", "*.sha512*", "*.sig", "*.asc", "*.json", "*.md", "*.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFiles:
    """The two files a machine boots, and where they come from."""

    kernel: Path
    initramfs: Path
    arch: str
    """``x86_64`` or ``aarch64``, as Tinkerbell's file names have it."""
    origin: str
    """For people: ``embedded 3f9c…``, or the folder or tarball."""
    manifest: Path | None = None
    """What the embedded Hook was made of; None for other people's files."""


def find_hook(folder: Path, *, arch: str = "x86_64", cache: Path | None = None) -> HookFiles:
    """Return the kernel and the initramfs in ``folder``, whoever built them.

    ``folder`` may be a released tarball (``hook_x86_64.tar.gz``) when ``cache`` says where to
    unpack it. Raises ``BuildFailed``, listing what was found, when a pair can't be made out.
    """
    if folder.is_file() and tarfile.is_tarfile(folder):
        return _from_tarball(folder, arch, cache)
    if not folder.is_dir():
        raise BuildFailed(
            f"{folder} is no folder with a kernel and an initramfs",
            hint="give a folder, a Hook tarball, or leave hook: out for the embedded Hook",
        )
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    names = [name for name in names if not any(fnmatchcase(name, glob) for glob in _IGNORED)]
    kernel, initramfs = find_pair(names, arch)
    if kernel is None or initramfs is None:
        missing = " and ".join(
            what for what, found in (("kernel", kernel), ("initramfs", initramfs)) if found is None
        )
        there = ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "no files"
        raise BuildFailed(
            f"no {missing} for {arch} in {folder}; it holds {there}",
            hint=f"expected {_EXPECTED}",
        )
    manifest = folder / "manifest.json"
    return HookFiles(
        kernel=folder / kernel,
        initramfs=folder / initramfs,
        arch=arch,
        origin=str(folder),
        manifest=manifest if manifest.is_file() else None,
    )


def find_pair(names: Iterable[str], arch: str) -> tuple[str | None, str | None]:
    """Return the kernel's and the initramfs's name among ``names``; None for what isn't there."""
    spellings = _ARCHITECTURES[arch]
    foreign = [word for other, words in _ARCHITECTURES.items() if other != arch for word in words]
    ours = [name for name in sorted(names) if not any(word in name for word in foreign)]
    kernel = _first(_KERNELS, ours, spellings)
    if kernel is None:
        return None, _first(_INITRAMFS, ours, spellings)
    # A flavour's kernel goes with the same flavour's initramfs: vmlinuz-5.10-x86_64 has its own.
    for before, after in (
        ("vmlinuz", "initramfs"),
        ("kernel", "initrd.img"),
        ("vmlinuz", "initrd"),
    ):
        twin = kernel.replace(before, after)
        if twin != kernel and twin in ours:
            return kernel, twin
    return kernel, _first(_INITRAMFS, [name for name in ours if name != kernel], spellings)


def _first(patterns: Iterable[str], names: list[str], spellings: Iterable[str]) -> str | None:
    for pattern in patterns:
        for spelling in spellings:
            for name in names:
                if fnmatchcase(name, pattern.format(arch=spelling)):
                    return name
    return None


def _from_tarball(tarball: Path, arch: str, cache: Path | None) -> HookFiles:
    if cache is None:
        raise BuildFailed(f"{tarball} is a tarball; unpack it and give the folder")
    status = tarball.stat()
    key = digest_of(str(tarball.absolute()), status.st_size, status.st_mtime_ns)
    target = cache / "tarballs" / key[:32]
    if not target.is_dir():
        with new_folder(target) as scratch, tarfile.open(tarball) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    # Only names matter: files keep no folder, so nothing can leave the target.
                    (scratch / PurePosixPath(member.name).name).write_bytes(stream.read())
    found = find_hook(target, arch=arch)
    return HookFiles(
        kernel=found.kernel,
        initramfs=found.initramfs,
        arch=arch,
        origin=f"{tarball} ({digest_of_file(found.initramfs)[:12]})",
        manifest=found.manifest,
    )
