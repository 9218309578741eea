"""Disks seen from outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.scenario.disks import check_disk


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "vda.img"
    path.write_bytes(b"LABDISK" + bytes(505) + bytes(range(256)) * 2)
    return path


@pytest.mark.parametrize(
    ("value", "matched"),
    [
        ({"at": 0, "text": "LABDISK"}, True),
        ({"at": 1, "text": "LABDISK"}, False),
        ({"at": 512, "hex": "00 01 02 03"}, True),
        ({"at": 512, "hex": "00010204"}, False),
        ({"at": 1020, "hex": "fcfdfeff00"}, False),  # beyond the disk's end
    ],
)
def test_octets_are_compared(disk: Path, value: dict[str, object], matched: bool) -> None:
    fields = check_disk("vda", value, disk)
    assert (fields["disk"], fields["at_bytes"], fields["matched"]) == ("vda", value["at"], matched)


def test_a_digest_covers_its_length_only(disk: Path) -> None:
    wanted = hashlib.sha256(disk.read_bytes()[512:1024]).hexdigest()
    assert check_disk("vda", {"at": 512, "sha256": wanted, "length": 512}, disk)["matched"]
    assert not check_disk("vda", {"at": 512, "sha256": wanted, "length": 511}, disk)["matched"]


def test_a_disk_that_is_gone_is_no_match(tmp_path: Path) -> None:
    fields = check_disk("vda", {"at": 0, "text": "LABDISK"}, tmp_path / "vda.img")
    assert not fields["matched"]
    assert fields["found"] == "can't be read: No such file or directory"
