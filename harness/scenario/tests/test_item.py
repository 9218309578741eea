"""An item as plain data, and what is refused when it is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.scenario.item import Item, PythonItem
from harness.scenario.tests.samples import hello


def test_an_item_reads_back_as_it_was() -> None:
    item = replace(
        hello().with_hook(kernel=Path("/a/k"), initramfs=Path("/a/i"), kernel_sha256="ab"),
        python=PythonItem(file=Path("test_x.py"), function="test_x"),
        deadline_s=5.0,
    )
    assert Item.from_data(item.to_data()) == item


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mac": 5}, "item.mac must be of type str, found 5"),
        ({"firmware": "efi"}, "item.firmware can't be 'efi'"),
        ({"surprise": 1}, "item has unknown keys: surprise"),
        ({"disks": {}}, "item.disks must be a list"),
        ({"disks": [{"name": "vda"}]}, r"item.disks\[0\]: .*size_bytes"),
        ({"network": 3}, "item.network must be a mapping"),
    ],
)
def test_other_data_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Item.from_data({**hello().to_data(), **changes})


def test_missing_data_is_named() -> None:
    data = hello().to_data()
    del data["mac"]
    with pytest.raises(ValueError, match="mac"):
        Item.from_data(data)
