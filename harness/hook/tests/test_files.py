"""A kernel and an initramfs are found by whatever name their makers gave them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from harness.errors import BuildFailed
from harness.hook.files import find_hook

PAIRS = [
    ("vmlinuz-x86_64", "initramfs-x86_64"),
    ("vmlinuz-latest-lts-x86_64", "initramfs-latest-lts-x86_64"),
    ("vmlinuz-armbian-uefi-x86_64", "initramfs-armbian-uefi-x86_64"),
    ("hook-kernel", "hook-initrd.img"),
    ("kernel", "initrd.img"),
    ("vmlinuz", "initrd"),
    ("vmlinuz", "initramfs"),
    ("vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"),
    ("bzImage", "initramfs.cpio.gz"),
    ("hook_x86_64-kernel", "hook_x86_64-initrd.img"),
]


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.mark.parametrize(("kernel", "initramfs"), PAIRS)
def test_a_pair_is_found_among_other_files(tmp_path: Path, kernel: str, initramfs: str) -> None:
    folder = fill(tmp_path, kernel, initramfs, "checksum.txt", f"{kernel}.sha256", "README.md")
    found = find_hook(folder)
    assert (found.kernel.name, found.initramfs.name) == (kernel, initramfs)
    assert found.manifest is None


def test_the_default_flavour_wins_and_flavours_are_not_mixed(tmp_path: Path) -> None:
    both = ("vmlinuz-x86_64", "initramfs-x86_64")
    other = ("vmlinuz-latest-lts-x86_64", "initramfs-latest-lts-x86_64")
    assert find_hook(fill(tmp_path / "a", *both, *other)).kernel.name == both[0]
    found = find_hook(fill(tmp_path / "b", *other, "initramfs-x86_64"))
    assert found.initramfs.name == other[1]


def test_another_architecture_is_not_taken(tmp_path: Path) -> None:
    folder = fill(tmp_path, "vmlinuz-aarch64", "initramfs-aarch64")
    assert find_hook(folder, arch="aarch64").arch == "aarch64"
    with pytest.raises(BuildFailed, match=r"no kernel and initramfs for x86_64.*vmlinuz-aarch64"):
        find_hook(folder)


def test_what_is_missing_and_what_is_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"no initramfs for x86_64 .*vmlinuz") as caught:
        find_hook(fill(tmp_path / "a", "vmlinuz", "notes"))
    assert "initramfs-x86_64" in str(caught.value.hint)
    with pytest.raises(BuildFailed, match="no files"):
        find_hook(fill(tmp_path / "b"))
    with pytest.raises(BuildFailed, match="no folder"):
        find_hook(tmp_path / "nothing")


def test_a_tarball_is_unpacked_once_and_can_not_leave_its_folder(tmp_path: Path) -> None:
    tarball = tmp_path / "hook_x86_64.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name in ("../../vmlinuz-x86_64", "out/initramfs-x86_64"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
    cache = tmp_path / "deep" / "er" / "cache"
    found = find_hook(tarball, cache=cache)
    assert found.kernel.is_relative_to(cache)
    assert found.kernel.read_bytes() == b"data"
    assert find_hook(tarball, cache=cache) == found
    assert str(tarball) in found.origin


def test_a_checkout_of_hook_in_which_one_was_built(tmp_path: Path) -> None:
    checkout = fill(tmp_path / "hook", "build.sh", "README.md", "hook.latest-lts-x86_64.yaml")
    (checkout / "linuxkit-templates").mkdir()
    with pytest.raises(BuildFailed, match="a checkout of Hook in which none was built") as caught:
        find_hook(checkout)
    assert "./build.sh" in str(caught.value.hint)
    fill(checkout / "out", "hook_latest-lts-x86_64.tar.gz")
    built = ("vmlinuz-latest-lts-x86_64", "initramfs-latest-lts-x86_64")
    fill(checkout / "out" / "hook", *built, "dtbs-latest-lts-x86_64.tar.gz")
    found = find_hook(checkout)
    assert (found.kernel.name, found.initramfs.name) == built
    assert found.origin == str(checkout / "out" / "hook")
    with pytest.raises(BuildFailed, match="none was built for aarch64"):
        find_hook(checkout, arch="aarch64")


def test_a_file_that_is_nothing_of_the_kind(tmp_path: Path) -> None:
    (tmp_path / "notes").write_bytes(b"none" * 20_000)
    with pytest.raises(BuildFailed, match="neither a tarball nor an ISO") as caught:
        find_hook(tmp_path / "notes", cache=tmp_path)
    assert "Hook checkout" in str(caught.value.hint)
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(b"\0" * 1024 + b"x" * 100_000)[:60])
    with pytest.raises(BuildFailed):
        find_hook(tmp_path / "cut.tar.gz", cache=tmp_path)
