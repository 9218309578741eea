"""Somebody's ISO: names as xorriso wrote them, damage told, nothing taken for granted."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BuildFailed
from harness.hook.files import find_hook
from harness.hook.iso9660 import SECTOR, BootImage, Platform, write_iso
from harness.hook.iso_reader import copy_file, files_of, is_iso

KERNEL = b"kernel" * 5_000
INITRD = b"initrd" * 900
BOOT = [BootImage(platform=Platform.EFI, file="kernel", sectors=1)]


def tree(folder: Path, *names: str) -> Path:
    """Return a folder with a kernel and an initramfs of these names, and other files."""
    for name, octets in zip(names, (KERNEL, INITRD), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(octets)
    (folder / "EFI" / "BOOT").mkdir(parents=True)
    (folder / "EFI" / "BOOT" / "grub.cfg").write_text("linux /kernel\n")
    for number in range(60):  # more than one sector of records
        (folder / "EFI" / f"a-rather-long-name-of-a-file-{number}.mod").write_bytes(b"x" * number)
    return folder


@pytest.mark.parametrize("names", [("kernel", "initrd.img"),
                                   ("boot/vmlinuz-x86_64", "boot/initramfs-x86_64")])  # fmt: skip
@pytest.mark.parametrize("options", [["-R"], ["-R", "-J", "-joliet-long"], ["-J"], ["-l"]])
def test_what_xorriso_made(tmp_path: Path, names: tuple[str, str], options: list[str]) -> None:
    iso = tmp_path / "hook.iso"
    source = tree(tmp_path / "source", *names)
    command = ["xorriso", "-as", "mkisofs", *options, "-o", str(iso), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    assert is_iso(iso)
    if options != ["-l"]:  # ISO 9660 alone has fewer letters
        wanted = {str(f.relative_to(source)): f.stat().st_size
                  for f in source.rglob("*") if f.is_file()}  # fmt: skip
        assert {file.path: file.size for file in files_of(iso)} == wanted
    if options == ["-l"] and "x86_64" in names[0]:
        return  # vmlinuz-x86_64 is VMLINUZ_X86_64 there
    found = find_hook(iso, cache=tmp_path / "cache")
    assert found.kernel.read_bytes() == KERNEL
    assert found.initramfs.read_bytes() == INITRD
    assert str(iso) in found.origin
    assert find_hook(iso, cache=tmp_path / "cache") == found


def test_what_the_lab_makes(tmp_path: Path) -> None:
    iso = tmp_path / "a.iso"
    with iso.open("wb") as out:
        write_iso(out, files={"kernel": KERNEL, "boot/initrd": INITRD}, boot=BOOT, label="A")
    (kernel, initrd) = files_of(iso)
    assert (kernel.path, initrd.path) == ("kernel", "boot/initrd")
    copy_file(iso, kernel, tmp_path / "kernel")
    assert (tmp_path / "kernel").read_bytes() == KERNEL
    found = find_hook(iso, cache=tmp_path)  # in two folders
    assert (found.kernel.read_bytes(), found.initramfs.read_bytes()) == (KERNEL, INITRD)


def test_one_without_a_pair_and_one_that_is_cut_off(tmp_path: Path) -> None:
    iso = tmp_path / "a.iso"
    with iso.open("wb") as out:
        write_iso(out, files={"docs/manual": b"x", "kernel": KERNEL}, boot=BOOT, label="A")
    with pytest.raises(BuildFailed, match=r"no initramfs for x86_64 in .*it holds kernel, manual"):
        find_hook(iso, cache=tmp_path)
    with iso.open("wb") as out:
        write_iso(out, files={"kernel": KERNEL, "initrd": INITRD}, boot=BOOT, label="A")
    whole = iso.read_bytes()
    iso.write_bytes(whole[: -2 * SECTOR])
    with pytest.raises(BuildFailed, match="cut off in the middle of initrd"):
        find_hook(iso, cache=tmp_path)
    iso.write_bytes(whole[: 20 * SECTOR])
    with pytest.raises(BuildFailed, match="damaged ISO"):
        find_hook(iso, cache=tmp_path)


@settings(max_examples=200, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 8 * SECTOR), st.integers(0, 255)), max_size=30))
def test_damage_is_told_and_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    iso = tmp_path_factory.getbasetemp() / "damaged.iso"
    with iso.open("wb") as out:
        write_iso(out, files={"kernel": KERNEL, "boot/initrd": INITRD}, boot=BOOT, label="A")
    octets = bytearray(iso.read_bytes())
    for at, value in changes:
        octets[16 * SECTOR + at] = value
    iso.write_bytes(octets)
    with contextlib.suppress(BuildFailed):
        assert all(file.size >= 0 for file in files_of(iso))
