"""A kernel and an initramfs, found by Tinkerbell's and Hook's names, wherever they are.

In a folder, a tarball, an ISO, or what was built in a checkout of Hook.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.errors import BuildFailed
from harness.hook import iso_reader
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
_BELOW = ("out/hook", "out", "boot")
"""Where else in a folder: what Hook's build.sh makes, and the way of distributions."""
_CHECKOUT = ("build.sh", "linuxkit-templates")
"""What a checkout of Hook has, by which it is known."""
_IGNORED = ("*.sha256", "*.sha512*", "*.sig", "*.asc", "*.json", "*.md", "*.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFiles:
    """The two files a machine boots, and where they come from."""

    kernel: Path
    initramfs: Path
    arch: str
    """``x86_64`` or ``aarch64``, as Tinkerbell's file names have it."""
    origin: str
    """For people: ``embedded 3f9c…``, or where they were found."""
    manifest: Path | None = None
    """What the embedded Hook was made of; None for other people's files."""


def find_hook(place: Path, *, arch: str = "x86_64", cache: Path | None = None) -> HookFiles:
    """Return the kernel and the initramfs in ``place``, whoever built them.

    ``place`` is a folder, a checkout of Hook in which one was built, or, when ``cache`` says where
    to unpack it, a released tarball (``hook_x86_64.tar.gz``) or an ISO. Raises ``BuildFailed``,
    listing what was found, when a pair can't be made out.
    """
    if place.is_file():
        return _from_file(place, arch, cache)
    if not place.is_dir():
        raise BuildFailed(f"{place} is no folder with a kernel and an initramfs", hint=_GIVE)
    for folder in (place, *(place / below for below in _BELOW)):
        kernel, initramfs = find_pair(_names(folder), arch)
        if kernel and initramfs:
            manifest = folder / "manifest.json"
            return HookFiles(
                kernel=folder / kernel,
                initramfs=folder / initramfs,
                arch=arch,
                origin=str(folder),
                manifest=manifest if manifest.is_file() else None,
            )
    if all((place / name).exists() for name in _CHECKOUT):
        raise BuildFailed(
            f"{place} is a checkout of Hook in which none was built for {arch}",
            hint="./build.sh in it makes out/hook/vmlinuz-… and initramfs-…",
        )
    raise _no_pair(place, _names(place), arch)


_GIVE = (
    "give a folder, a tarball, an ISO, a Hook checkout, or leave hook: out for the embedded Hook"
)


def _names(folder: Path) -> list[str]:
    """Return the names of the files in a folder, if it is there."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return [name for name in names if not any(fnmatchcase(name, glob) for glob in _IGNORED)]


def _no_pair(place: Path, names: list[str], arch: str) -> BuildFailed:
    found = find_pair(names, arch)
    what = ("kernel", "initramfs")
    missing = " and ".join(one for one, name in zip(what, found, strict=True) if name is None)
    there = ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "no files"
    return BuildFailed(
        f"no {missing} for {arch} in {place}; it holds {there}", hint=f"expected {_EXPECTED}"
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


def _from_file(file: Path, arch: str, cache: Path | None) -> HookFiles:
    """Return what is packed in ``file``, unpacked. Raises ``BuildFailed``."""
    try:
        iso = iso_reader.is_iso(file)  # which begins with zeros, as an empty tarball does
        if not iso and not tarfile.is_tarfile(file):
            raise BuildFailed(f"{file} is neither a tarball nor an ISO", hint=_GIVE)
        if cache is None:
            raise BuildFailed(f"{file} is packed; unpack it and give the folder")
        status = file.stat()
        key = digest_of(str(file.absolute()), status.st_size, status.st_mtime_ns)
        target = cache / "tarballs" / key[:32]
        if not target.is_dir() and iso:
            _unpack_iso(file, target, arch)
        elif not target.is_dir():
            _unpack_tarball(file, target)
    except (OSError, tarfile.TarError) as error:
        raise BuildFailed(f"{file} can't be unpacked: {error}") from error
    found = find_hook(target, arch=arch)
    return replace(found, origin=f"{file} ({digest_of_file(found.initramfs)[:12]})")


def _unpack_tarball(tarball: Path, target: Path) -> None:
    with new_folder(target) as scratch, tarfile.open(tarball) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                # Only names matter: files keep no folder, so nothing can leave the target.
                with (scratch / PurePosixPath(member.name).name).open("wb") as out:
                    shutil.copyfileobj(stream, out)


def _unpack_iso(iso: Path, target: Path, arch: str) -> None:
    """Take only the pair out of it: an ISO may hold many GiB.

    Of the first folder that has both, else of any.
    """
    folders: dict[str, dict[str, iso_reader.IsoFile]] = {}
    everything: dict[str, iso_reader.IsoFile] = {}
    for file in iso_reader.files_of(iso):
        folder, _, name = file.path.rpartition("/")
        folders.setdefault(folder, {})[name] = file
        everything.setdefault(name, file)
    for files in (*folders.values(), everything):
        kernel, initramfs = find_pair(files, arch)
        if kernel and initramfs:
            with new_folder(target) as scratch:
                for name in (kernel, initramfs):
                    iso_reader.copy_file(iso, files[name], scratch / name)
            return
    raise _no_pair(iso, sorted(everything), arch)
