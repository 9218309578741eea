"""Disk images, packed and unpacked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoint.sparse import pack, unpack

writes = st.lists(
    st.tuples(st.integers(0, 5 << 20), st.binary(min_size=1, max_size=5000)), max_size=6
)


@given(writes, st.integers(0, 6 << 20))
def test_an_image_comes_back_as_it_was(pieces: list[tuple[int, bytes]], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "vda.img")
        with image.open("wb") as file:
            for at, data in pieces:
                file.seek(at)
                file.write(data)
            file.truncate(size)
        pack(image, Path(folder, "packed"))
        unpack(Path(folder, "packed"), Path(folder, "again"))
        assert Path(folder, "again").read_bytes() == image.read_bytes()


def test_an_empty_disk_takes_no_room(tmp_path: Path) -> None:
    with (tmp_path / "vda.img").open("wb") as file:
        file.truncate(10 << 30)
    pack(tmp_path / "vda.img", tmp_path / "packed")
    assert (tmp_path / "packed").stat().st_size < 100
    unpack(tmp_path / "packed", tmp_path / "again")
    assert (tmp_path / "again").stat().st_size == 10 << 30
    assert (tmp_path / "again").stat().st_blocks == 0


@pytest.mark.parametrize("cut", [3, 20, 30, 100])
def test_what_was_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "vda.img").write_bytes(b"x" * 4096)
    pack(tmp_path / "vda.img", tmp_path / "packed")
    data = (tmp_path / "packed").read_bytes()
    (tmp_path / "packed").write_bytes(data[:cut])
    with pytest.raises(ValueError, match=r"cut off|no disk"):
        unpack(tmp_path / "packed", tmp_path / "again")
