"""The initramfs: segments are what cpio says they are, the same every time, and made once."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import zstandard

from harness.errors import BuildFailed
from harness.hook.initramfs import Segment, extract_file, join_segments, write_segments
from harness.progress import SilentProgress
from harness.tests.programs import needs

_BUSY = b"the same program in two containers" * 100


def make_tree(path: Path) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, data: bytes = b"", **fields: object) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, 1234567890
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))

        add("containers", type=tarfile.DIRTYPE, mode=0o755)
        add("containers/b/busybox", _BUSY, mode=0o755)
        add("containers/a/busybox", _BUSY, mode=0o755)
        add("containers/a/other-mode", _BUSY, mode=0o700)
        add("containers/a/empty")
        add("containers/b/empty")
        add("etc/passwd", b"root:x:0:0::/:/bin/sh\n", uid=3, gid=4)
        add("bin/sh", type=tarfile.SYMTYPE, linkname="busybox", mode=0o777)
        add("bin/hard", type=tarfile.LNKTYPE, linkname="etc/passwd")
        add("dev/console", type=tarfile.CHRTYPE, devmajor=5, devminor=1, mode=0o600)
        add("boot/kernel", b"kernel")
    return path


def component_of(path: str) -> str | None:
    top = path.partition("/")[0]
    return {"boot": None, "containers": "containers"}.get(top, "root")


def segments_of(folder: Path, tree: Path) -> list[Segment]:
    return write_segments(
        tree, component_of, folder / "segments", SilentProgress(), level_of=lambda _: 3
    )


def unpack(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree.tar")


@needs("cpio")
def test_cpio_unpacks_the_same_tree(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for segment in segments_of(tmp_path, tree):
        listing = subprocess.run(
            ["cpio", "-itv", "--quiet", "--numeric-uid-gid"],
            input=unpack(segment.path),
            capture_output=True,
            check=True,
        ).stdout.decode()
        assert ("5,   1" in listing) == (segment.name == "root")
        nodes = ["-f", "dev/console"]  # only root may make one
        subprocess.run(
            ["cpio", "-idm", "--quiet", "--no-absolute-filenames", *nodes],
            input=unpack(segment.path),
            cwd=out,
            check=True,
        )
    assert (out / "etc/passwd").read_bytes() == b"root:x:0:0::/:/bin/sh\n"
    assert (out / "bin/hard").read_bytes() == b"root:x:0:0::/:/bin/sh\n"
    assert (out / "bin/sh").readlink() == Path("busybox")
    assert (out / "containers/a/busybox").read_bytes() == _BUSY
    assert (out / "containers/b/busybox").read_bytes() == _BUSY
    assert (out / "etc/passwd").stat().st_mtime == 0
    assert not (out / "boot").exists()


@needs("cpio")
def test_equal_files_are_one_file(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    containers = next(s for s in segments_of(tmp_path, tree) if s.name == "containers")
    subprocess.run(["cpio", "-idm", "--quiet"], input=unpack(containers.path), cwd=out, check=True)
    a, b, other = (
        (out / "containers" / name).stat() for name in ("a/busybox", "b/busybox", "a/other-mode")
    )
    assert a.st_ino == b.st_ino
    assert other.st_ino != a.st_ino
    assert (out / "containers/a/empty").stat().st_nlink == 1
    assert containers.unpacked < 3 * len(_BUSY)


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path, tree: Path) -> None:
    joined = []
    for name in ("one", "two"):
        segments = segments_of(tmp_path / name, tree)
        join_segments(segments, tmp_path / f"{name}.img")
        joined.append((tmp_path / f"{name}.img").read_bytes())
    assert joined[0] == joined[1]
    assert len(joined[0]) == sum(segment.size for segment in segments)
    assert all(segment.size % 4 == 0 for segment in segments)


def test_what_did_not_change_is_not_compressed_again(tmp_path: Path, tree: Path) -> None:
    first = segments_of(tmp_path, tree)
    written = {segment.name: segment.path.stat().st_ino for segment in first}
    changed = tmp_path / "changed.tar"
    with tarfile.open(tree) as old, tarfile.open(changed, "w") as new:
        for member in old:
            data = b"another\n" if member.name == "etc/passwd" else None
            stream = old.extractfile(member) if member.isreg() else None
            if data is not None:
                member.size, stream = len(data), io.BytesIO(data)
            new.addfile(member, stream)
    second = {segment.name: segment for segment in segments_of(tmp_path, changed)}
    assert second["containers"].path.stat().st_ino == written["containers"]
    assert second["root"].sha256 != {s.name: s for s in first}["root"].sha256


def test_files_are_taken_out_by_name(tmp_path: Path, tree: Path) -> None:
    extract_file(tree, "boot/kernel", tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == b"kernel"
    with pytest.raises(BuildFailed, match="boot/none"):
        extract_file(tree, "boot/none", tmp_path / "none")
