"""A disk is sparse, and what is on it is compared exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SetupFailed
from harness.machine.disks import check_bytes, create_disk


def test_an_empty_disk_takes_no_room(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 8 << 30, serial="s1")
    facts = disk.path.stat()
    assert facts.st_size == disk.size_bytes == 8 << 30
    assert facts.st_blocks < 100
    assert disk.serial == "s1"


@pytest.mark.parametrize("size", [0, -512, 1000])
def test_odd_sizes_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(SetupFailed, match="no whole number of sectors"):
        create_disk(tmp_path / "vda.img", size)


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "vda.img").write_bytes(b"precious")
    with pytest.raises(SetupFailed, match="File exists"):
        create_disk(tmp_path / "vda.img", 512)
    assert (tmp_path / "vda.img").read_bytes() == b"precious"


def test_bytes_are_compared_where_they_should_be(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 1 << 20)
    with disk.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"hello from hook")
    good = check_bytes(disk.path, 4096, b"hello from hook")
    assert good.matched
    assert good.found == "'hello from hook'"
    assert good.first_difference is None
    bad = check_bytes(disk.path, 4096, b"hello from hell")
    assert not bad.matched
    assert bad.first_difference == 4096 + 12
    assert bad.found != bad.expected
    zeros = check_bytes(disk.path, 0, b"hello")
    assert zeros.found == "00 00 00 00 00"
    beyond = check_bytes(disk.path, (1 << 20) - 2, b"hello")
    assert not beyond.matched
    assert beyond.first_difference == (1 << 20) - 2
