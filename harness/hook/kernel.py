"""The kernel: Debian's vmlinuz, and the few of its modules that a Hook needs.

A module's own ``.modinfo`` says what it depends on, so that the closure is computed without
unpacking everything; Debian's ``depmod`` then writes the indexes that udev and the kernel's own
autoloading read.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import IO

from harness.errors import BuildFailed, DecodeError
from harness.hook.deb import open_data
from harness.hook.modules import slim_module
from harness.hook.store import digest_of, exclusive, new_folder, write_json
from harness.process import run
from harness.progress import Progress

_RECIPE = 3
"""Raise it when the same package and list give another tree."""
_Readable = tuple[str, Callable[[], bytes]]
_INDEXES = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel image and the tree ``lib/modules/<release>`` that belongs to it."""

    image: Path
    tree: Path
    release: str


def modinfo(module: bytes) -> dict[str, list[str]]:
    """Return the ``.modinfo`` of a kernel module (ELF64, little endian) by key.

    Raises ``DecodeError`` for anything that is no such ELF file.
    """
    if module[:6] != b"\x7fELF\x02\x01" or len(module) < 64:
        raise DecodeError("not a little-endian ELF64 file", rfc="elf(5)")
    try:
        table, size, count, names_at = (
            struct.unpack_from("<Q", module, 0x28)[0],
            *struct.unpack_from("<HHH", module, 0x3A),
        )
        headers = [
            struct.unpack_from("<IIQQQQ", module, table + size * index) for index in range(count)
        ]
        names = headers[names_at][4]
        for name, _, _, _, offset, length in headers:
            end = module.index(b"\0", names + name)
            if module[names + name : end] != b".modinfo":
                continue
            found: dict[str, list[str]] = {}
            for entry in module[offset : offset + length].split(b"\0"):
                key, separator, value = entry.decode("utf-8", "replace").partition("=")
                if separator:
                    found.setdefault(key, []).append(value)
            return found
    except (struct.error, IndexError, ValueError) as error:
        raise DecodeError(f"damaged ELF file: {error}", rfc="elf(5)") from error
    return {}


def read_patterns(text: str) -> list[str]:
    """Return the lines of a module list, without comments and empty lines."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def closure(patterns: Iterable[str], depends: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the paths that ``patterns`` match and all those modules depend on, sorted.

    ``depends`` holds, by path below ``kernel/``, the names of the modules it needs; a name that
    has no path is built into the kernel. Raises ``BuildFailed`` for patterns that match nothing.
    """
    by_name = {_name(path): path for path in depends}
    wanted: set[str] = set()
    unmatched: list[str] = []
    for pattern in patterns:
        found = {path for path in depends if fnmatchcase(path, pattern.lstrip("?"))}
        if not found and not pattern.startswith("?"):
            unmatched.append(pattern)
        wanted |= found
    if unmatched:
        raise BuildFailed(
            f"this kernel has no module {', '.join(unmatched)}",
            hint="correct linuxkit/kernel/modules.txt, or mark what may be absent with ?",
        )
    todo = list(wanted)
    while todo:
        for name in depends[todo.pop()]:
            needed = by_name.get(name.replace("-", "_"))
            if needed is not None and needed not in wanted:
                wanted.add(needed)
                todo.append(needed)
    return sorted(wanted)


def _name(path: str) -> str:
    return PurePosixPath(path).name.removesuffix(".ko").replace("-", "_")


async def build_kernel(
    image: Path,
    modules: str,
    *,
    depmod: Sequence[str],
    cache: Path,
    progress: Progress,
) -> Kernel:
    """Return the kernel of the Debian package ``image`` with the modules of the list ``modules``.

    ``depmod`` is the command line of a depmod of the same Debian.
    Content-addressed below ``cache``: the same package and list are worked on once.
    """
    patterns = read_patterns(modules)
    kernels = cache / "kernel"
    kernels.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=kernels) as file:
        spool = _Spool(file)
        index = await asyncio.to_thread(_index, image, kernels, progress, spool)
        selected = closure(patterns, index)
        folder = kernels / digest_of(_RECIPE, image.name, selected)[:32]
        if not folder.is_dir():
            async with exclusive(kernels / "lock"):
                if not folder.is_dir():
                    with (
                        progress.step(f"unpacking {len(selected)} of {len(index)} kernel modules"),
                        new_folder(folder) as scratch,
                    ):
                        files = spool.files() or _files(image)
                        await asyncio.to_thread(_unpack, files, set(selected), scratch)
                        await _run_depmod(scratch, depmod)
    release = next((folder / "tree" / "lib" / "modules").iterdir()).name
    return Kernel(image=folder / "vmlinuz", tree=folder / "tree", release=release)


class _Spool:
    """The files of a package that was read, as far as they can be of use: nothing on the way from
    a package to its modules takes as long as to decompress it, so it is done once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, name: str, content: bytes) -> None:
        self._places[name] = (self._file.tell(), len(content))
        self._file.write(content)

    def files(self) -> list[_Readable]:
        """Return the files that were added."""
        return [(name, partial(self._read, *place)) for name, place in self._places.items()]

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


def _files(image: Path) -> Iterator[_Readable]:
    """Yield what of the package ``image`` a kernel can be made of; to be read as it comes."""
    with open_data(image) as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix("usr/")
            wanted = name.startswith("boot/vmlinuz-") or (
                name.startswith("lib/modules/")
                and (name.endswith(".ko") or PurePosixPath(name).name in _INDEXES)
            )
            stream = archive.extractfile(member) if wanted else None
            if stream is not None:
                yield name, stream.read


def _index(image: Path, kernels: Path, progress: Progress, spool: _Spool) -> dict[str, list[str]]:
    """Return what each module of the package depends on; read once, then remembered."""
    remembered = kernels / f"{image.stem}.json"
    if remembered.is_file():
        known: dict[str, list[str]] = json.loads(remembered.read_text())
        return known
    found: dict[str, list[str]] = {}
    with progress.step("reading the kernel's modules"):
        for name, read in _files(image):
            content = read()
            spool.add(name, content)
            if name.endswith(".ko"):
                depends = modinfo(content).get("depends", [""])[0]
                found[name.partition("/kernel/")[2]] = [n for n in depends.split(",") if n]
    if not found:
        raise BuildFailed(f"{image} holds no kernel modules")
    write_json(remembered, found)
    return found


def _unpack(files: Iterable[_Readable], selected: set[str], scratch: Path) -> None:
    for name, read in files:
        if name.startswith("boot/"):
            target = scratch / "vmlinuz"
        elif not name.endswith(".ko") or name.partition("/kernel/")[2] in selected:
            target = scratch / "tree" / name
        else:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(slim_module(read()) if name.endswith(".ko") else read())
    if not (scratch / "vmlinuz").is_file():
        raise BuildFailed("the kernel's package holds no boot/vmlinuz")


async def _run_depmod(scratch: Path, depmod: Sequence[str]) -> None:
    release = next((scratch / "tree" / "lib" / "modules").iterdir())
    order = release / "modules.order"
    # depmod warns for each line of an absent module, and later readers would look for them.
    present = [
        line for line in order.read_text().splitlines() if (release / line.strip()).is_file()
    ]
    order.write_text("\n".join(present) + "\n")
    await run([*depmod, "-b", scratch / "tree", release.name])
    for leftover in ("modules.symbols", "modules.symbols.bin", "modules.builtin.alias.bin"):
        (release / leftover).unlink(missing_ok=True)
