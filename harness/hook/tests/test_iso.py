"""The ISO and the FAT volume in it: read back by hand here, by OVMF and GRUB in a machine."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from harness.errors import BuildFailed
from harness.hook.boot_iso import grub_config
from harness.hook.fat import fat16
from harness.hook.iso9660 import SECTOR, BootImage, Platform, write_iso
from harness.wire.iso import BUFFER_BYTES, MAGIC

FILES = {"EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 9, "EFI/EMPTY": b"", "A.TXT": b"hello"}


def fat_files(image: bytes) -> dict[str, bytes]:
    """Return what a FAT16 volume holds, by its own boot sector."""
    size, per_cluster, reserved, fats, entries = struct.unpack_from("<HBHBH", image, 11)
    (sectors_of_fat,) = struct.unpack_from("<H", image, 22)
    assert image[510:512] == b"\x55\xaa"
    table = struct.unpack_from(f"<{sectors_of_fat * size // 2}H", image, reserved * size)
    root_at = (reserved + fats * sectors_of_fat) * size
    data_at = root_at + entries * 32

    def content(cluster: int) -> bytes:
        found = b""
        while 2 <= cluster < 0xFFF8:
            at = data_at + (cluster - 2) * per_cluster * size
            found += image[at : at + per_cluster * size]
            cluster = table[cluster]
        return found

    def walk(folder: bytes, path: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(folder), 32):
            name, kind, cluster, length = struct.unpack_from("<11sB14xHI", folder, at)
            if not name.strip(b"\0") or name.startswith(b"."):
                continue
            stem, extension = name[:8].decode().strip(), name[8:].decode().strip()
            full = f"{path}{stem}" + (f".{extension}" if extension else "")
            if kind & 0x10:
                found |= walk(content(cluster), f"{full}/")
            else:
                found[full] = content(cluster)[:length]
        return found

    return walk(image[root_at:data_at], "")


def test_a_fat_volume_holds_what_it_was_given() -> None:
    image = fat16(FILES)
    assert fat_files(image) == FILES
    assert image == fat16(FILES)
    clusters = len(image) // 512 - 1 - 32
    assert 4085 <= clusters <= 65_524  # by this alone a reader knows that it is FAT16


@pytest.mark.parametrize("name", ["lower.txt", "TOOLONGNAME", "A.LONG", "", "A B"])
def test_names_that_fat_does_not_know_are_refused(name: str) -> None:
    with pytest.raises(BuildFailed, match="is no name for a FAT file system"):
        fat16({name: b""})


def iso_files(image: bytes) -> dict[str, bytes]:
    """Return what an ISO 9660 image holds, from its root's record on."""
    volume = image[16 * SECTOR :]
    assert volume[:7] == b"\x01CD001\x01"
    total = struct.unpack_from("<I", volume, 80)[0]
    assert total * SECTOR == len(image)

    def walk(sector: int, size: int, path: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        folder = image[sector * SECTOR : sector * SECTOR + size]
        at = 0
        while at < len(folder) and folder[at]:
            where, _, length = struct.unpack_from("<IiI", folder, at + 2)
            assert folder[at + 6 : at + 10] == struct.pack(">I", where)
            kind, name = folder[at + 25], folder[at + 33 : at + 33 + folder[at + 32]]
            if kind & 2 and name not in (b"\0", b"\1"):
                found |= walk(where, length, f"{path}{name.decode()}/")
            elif not kind & 2:
                start = where * SECTOR
                found[path + name.decode().removesuffix(";1")] = image[start : start + length]
            at += folder[at]
        return found

    root, _, size = struct.unpack_from("<IiI", volume, 156 + 2)
    return walk(root, size, "")


def test_an_iso_holds_what_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(range(251)) * 40_000)
    boot = fat16(FILES)
    files: dict[str, bytes | Path] = {
        "boot/grub/grub.cfg": grub_config(),
        ".disk/info": b"x",
        "efi.img": boot,
        "empty": b"",
        "initrd.img": tmp_path / "large",
    }
    entry = BootImage(platform=Platform.EFI, file="efi.img", sectors=len(boot) // 512)
    out = io.BytesIO()
    write_iso(out, files=files, boot=[entry], label="HOOK")
    image = out.getvalue()
    found = iso_files(image)
    assert found == {**files, "initrd.img": (tmp_path / "large").read_bytes()}
    record = image[17 * SECTOR : 18 * SECTOR]
    assert record[7:30] == b"EL TORITO SPECIFICATION"
    catalog = image[struct.unpack_from("<I", record, 71)[0] * SECTOR :][:64]
    assert sum(struct.unpack("<16H", catalog[:32])) % 0x10000 == 0
    assert (catalog[1], catalog[30:32], catalog[32]) == (0xEF, b"\x55\xaa", 0x88)
    sectors, where = struct.unpack_from("<HI", catalog, 38)
    assert image[where * SECTOR : where * SECTOR + sectors * 512] == boot
    # smee looks into one piece at a time
    at = image.index(MAGIC)
    assert at // BUFFER_BYTES == (at + len(MAGIC) - 1) // BUFFER_BYTES
