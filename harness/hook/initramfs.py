"""The initramfs: the tree that LinuxKit assembled, as one compressed cpio segment a component.

The kernel unpacks segments one after the other into one tree, so that a segment whose bytes did
not change needs no second compression: that is the part of a build that takes time. The format is
"newc" (cpio(5); Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from harness.errors import BuildFailed
from harness.hook.store import digest_of_file, mark_used, write_atomically
from harness.progress import Progress

_WINDOW_LOG = 27  # the widest that the kernel unpacks (lib/zstd: ZSTD_WINDOWSIZE_MAX)
_THREADS = 2  # segments at a time; each by one thread, so that the bytes depend on the input only
_KINDS = {
    tarfile.REGTYPE: 0o100000,
    tarfile.AREGTYPE: 0o100000,
    tarfile.DIRTYPE: 0o040000,
    tarfile.SYMTYPE: 0o120000,
    tarfile.CHRTYPE: 0o020000,
    tarfile.BLKTYPE: 0o060000,
    tarfile.FIFOTYPE: 0o010000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One compressed segment, stored."""

    name: str
    path: Path
    size: int
    """In bytes, compressed."""
    unpacked: int
    """In bytes, as cpio."""
    sha256: str
    """Of the cpio archive inside."""


@dataclass(slots=True, kw_only=True)
class _Member:
    """One file of the tree, and the tar member that holds its bytes."""

    info: tarfile.TarInfo
    source: tarfile.TarInfo


@dataclass(slots=True, kw_only=True)
class _Plan:
    """What belongs into one segment, by path."""

    members: dict[str, _Member] = field(default_factory=dict)


def write_segments(
    tree: Path,
    component_of: Callable[[str], str | None],
    folder: Path,
    progress: Progress,
    *,
    level_of: Callable[[str], int] = lambda _: 18,
) -> list[Segment]:
    """Return the segments of the tar archive ``tree``, compressed into ``folder`` where new.

    ``component_of`` names the segment a path (relative) belongs to; None leaves it out.
    ``level_of`` says how hard zstd tries, 1 to 22. Raises ``BuildFailed``.
    """
    with tarfile.open(tree) as archive:
        archives = {
            name: _cpio(archive, plan) for name, plan in _plan(archive, component_of).items()
        }

    def store(name: str) -> Segment:
        cpio, level = archives.pop(name), level_of(name)
        digest = hashlib.sha256(cpio).hexdigest()
        path = folder / f"{digest}-{level}.cpio.zst"
        if path.is_file():
            mark_used(path)
        else:
            with progress.step(f"compressing {name}, {len(cpio) / 1e6:.0f} MB"):
                write_atomically(path, _compress(cpio, level))
        return Segment(
            name=name,
            path=path,
            size=path.stat().st_size,
            unpacked=len(cpio),
            sha256=digest,
        )

    largest_first = sorted(archives, key=lambda name: -len(archives[name]))
    with ThreadPoolExecutor(_THREADS) as pool:
        return sorted(pool.map(store, largest_first), key=lambda segment: segment.name)


def join_segments(segments: list[Segment], target: Path) -> None:
    """Write ``segments`` one after the other to ``target``."""
    with target.open("wb") as stream:
        for segment in segments:
            stream.write(segment.path.read_bytes())


def extract_file(tree: Path, name: str, target: Path) -> None:
    """Write the file ``name`` of the tar archive ``tree`` to ``target``."""
    with tarfile.open(tree) as archive:
        for member in archive:
            if member.name.removeprefix("./") == name:
                stream = archive.extractfile(member)
                if stream is not None:
                    target.write_bytes(stream.read())
                    return
    raise BuildFailed(f"LinuxKit wrote no {name}")


def _plan(archive: tarfile.TarFile, component_of: Callable[[str], str | None]) -> dict[str, _Plan]:
    plans: dict[str, _Plan] = {}
    folders: dict[str, tarfile.TarInfo] = {}
    latest: dict[str, tarfile.TarInfo] = {}
    for info in archive:
        name = info.name.removeprefix("./").strip("/")
        component = component_of(name) if name else None
        if component is None:
            continue
        source = info
        if info.islnk():
            source = latest[info.linkname.removeprefix("./").strip("/")]
        latest[name] = source
        if info.isdir():
            folders[name] = info
        plan = plans.setdefault(component, _Plan())
        plan.members[name] = _Member(info=info, source=source)
    for plan in plans.values():
        for name in list(plan.members):
            for parent in PurePosixPath(name).parents:
                path = str(parent)
                if path != "." and path not in plan.members:
                    info = folders.get(path) or _folder(path)
                    plan.members[path] = _Member(info=info, source=info)
    return plans


def _folder(path: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def _cpio(archive: tarfile.TarFile, plan: _Plan) -> bytes:
    """Return the cpio archive of ``plan``: sorted, times 0, equal files as links of one inode."""
    out = io.BytesIO()
    groups: dict[tuple[str, int, int, int], list[str]] = {}
    contents: dict[str, bytes] = {}
    for name, member in _regular(plan):
        contents[name] = _read(archive, member.source)
        digest = hashlib.sha256(contents[name]).hexdigest()
        info = member.source
        groups.setdefault((digest, info.mode, info.uid, info.gid), []).append(name)
    inodes = {name: (number, group) for number, group in enumerate(groups.values(), 1)
              for name in group}  # fmt: skip
    for number, name in enumerate(sorted(plan.members), len(groups) + 1):
        info = plan.members[name].info
        if name in contents:
            inode, group = inodes[name]
            # An empty file is not worth a link; the first of a group carries the bytes.
            if not contents[name]:
                inode, group = number, [name]
            data = contents[name] if name == group[0] else b""
            _write(out, name, plan.members[name].source, data, inode=inode, links=len(group))
        elif info.issym():
            _write(out, name, info, info.linkname.encode(), inode=number)
        else:
            _write(out, name, info, b"", inode=number, links=2 if info.isdir() else 1)
    _write(out, "TRAILER!!!", tarfile.TarInfo(), b"", inode=0)
    return out.getvalue()


def _regular(plan: _Plan) -> Iterator[tuple[str, _Member]]:
    for name in sorted(plan.members):
        if plan.members[name].source.isreg():
            yield name, plan.members[name]


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(info)
    assert stream is not None
    return stream.read()


def _write(
    out: IO[bytes],
    name: str,
    info: tarfile.TarInfo,
    data: bytes,
    *,
    inode: int,
    links: int = 1,
) -> None:
    trailer = name == "TRAILER!!!"
    mode = 0 if trailer else _KINDS[info.type] | (info.mode & 0o7777)
    device = info.ischr() or info.isblk()
    encoded = name.encode() + b"\0"
    fields = (
        inode, mode, info.uid, info.gid, links, 0, len(data), 0, 0,
        info.devmajor if device else 0, info.devminor if device else 0, len(encoded), 0,
    )  # fmt: skip
    out.write(b"070701" + b"".join(b"%08X" % value for value in fields) + encoded)
    out.write(b"\0" * (-out.tell() % 4))
    out.write(data)
    out.write(b"\0" * (-out.tell() % 4))


def _compress(cpio: bytes, level: int) -> bytes:
    import zstandard

    # A window as wide as the archive finds what the programs of several components share.
    window = min(_WINDOW_LOG, max(10, (len(cpio) - 1).bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=window)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(cpio)
    return packed + b"\0" * (-len(packed) % 4)


def describe(path: Path, segments: list[Segment]) -> dict[str, object]:
    """Return what a manifest says about the initramfs ``path`` made of ``segments``."""
    return {
        "file": path.name,
        "sha256": digest_of_file(path),
        "size": path.stat().st_size,
        "segments": [
            {
                "name": segment.name,
                "cpio_sha256": segment.sha256,
                "size": segment.size,
                "unpacked": segment.unpacked,
            }
            for segment in segments
        ],
    }
