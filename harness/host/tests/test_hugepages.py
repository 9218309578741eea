"""A hypervisor that takes freed memory back is recognised by its balloon."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.host.hugepages import huge_pages_pay


def device(folder: Path, *, number: str, features: str) -> None:
    """Make a virtio device as sysfs shows it."""
    place = folder / f"virtio{len(list(folder.iterdir()))}"
    place.mkdir()
    (place / "device").write_text(number + "\n")
    (place / "features").write_text(features + "\n")


@pytest.mark.parametrize(
    ("number", "features", "pay"),
    [
        ("0x0005", "01100101" + "0" * 56, False),
        ("0x0005", "01100001" + "0" * 56, True),  # a balloon that is told of nothing
        ("0x0002", "01100101" + "0" * 56, True),  # a disk: another feature
        ("0x0005", "", True),
        ("nonsense", "11111111", True),
    ],
)
def test_only_a_balloon_with_page_reporting_counts(
    tmp_path: Path, number: str, features: str, pay: bool
) -> None:
    device(tmp_path, number="0x0001", features="1" * 64)
    device(tmp_path, number=number, features=features)
    assert huge_pages_pay(tmp_path) is pay


def test_a_host_without_virtio_has_them(tmp_path: Path) -> None:
    assert huge_pages_pay(tmp_path / "none")
