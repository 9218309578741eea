"""RAM in a file: given back as it was, holes as holes, and nothing that was changed or cut off."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checkpoint.frames import CHUNK, GivenUp, Packer, Unpacker
from harness.errors import SetupFailed
from harness.machine.ram import Ram

SIZE = 9 << 20  # four chunks and a half
DEVICES = b"what QEMU knows" * 1000


def _ram(pieces: dict[int, bytes], size: int = SIZE) -> Ram:
    ram = Ram(size)
    for at, data in pieces.items():
        os.pwrite(ram.fileno(), data, at)
    return ram


def _packed(file: Path, pieces: dict[int, bytes], rest: bytes = DEVICES) -> Ram:
    ram, packer = _ram(pieces), Packer(file)
    packer.pack(ram.fileno())
    contents = packer.finish(rest)
    assert contents.file_bytes == file.stat().st_size
    with Unpacker(file) as unpacker:
        assert unpacker.contents == contents
    return ram


def _unpacked(file: Path, size: int = SIZE) -> tuple[bytes, int, bytes]:
    """Return the RAM, how much of it is there, and what else is in the file."""
    with contextlib.closing(Ram(size)) as ram:
        with Unpacker(file) as unpacker:
            rest = unpacker.rest()
            unpacker.unpack(ram.fileno())
        data = os.pread(ram.fileno(), size, 0)
        filled = os.fstat(ram.fileno()).st_blocks * 512
    return data, filled, rest


def test_ram_comes_back_and_its_holes_are_holes(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(3 << 20)
    pieces = {5: b"first", CHUNK - 2: noise, 6 << 20: bytes(2 << 20), SIZE - 3: b"end"}
    ram = _packed(tmp_path / "m", pieces)
    data, filled, rest = _unpacked(tmp_path / "m")
    assert data == os.pread(ram.fileno(), SIZE, 0)
    assert data[CHUNK - 2 :].startswith(noise)
    assert rest == DEVICES
    assert filled == SIZE - CHUNK  # one chunk is of zeros
    ram.close()


@settings(max_examples=20, deadline=None)
@given(
    pieces=st.dictionaries(
        st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=9), max_size=12
    ),
    rest=st.binary(max_size=300),
)
def test_any_ram_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pieces: dict[int, bytes], rest: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / "m"
    pieces = {at: data[: SIZE - at] for at, data in pieces.items()}
    ram = _packed(file, pieces, rest)
    data, _, found = _unpacked(file)
    assert (data, found) == (os.pread(ram.fileno(), SIZE, 0), rest)
    ram.close()


def test_no_octet_can_be_changed(tmp_path: Path) -> None:
    noise = random.Random(2).randbytes(40)
    ram = _packed(tmp_path / "m", {0: noise, 5 << 20: noise}, b"devices")
    before, whole = os.pread(ram.fileno(), SIZE, 0), (tmp_path / "m").read_bytes()
    ram.close()
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        (tmp_path / "m").write_bytes(changed)
        try:
            data, _, rest = _unpacked(tmp_path / "m")
        except ValueError:
            continue
        assert (data, rest) == (before, b"devices"), at


def test_what_is_cut_off_is_seen(tmp_path: Path) -> None:
    _packed(tmp_path / "m", {0: b"something"}, b"devices").close()
    whole = (tmp_path / "m").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "m").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="damaged"):
            _unpacked(tmp_path / "m")


def test_what_was_not_finished_is_seen(tmp_path: Path) -> None:
    ram = _ram({0: random.Random(3).randbytes(1 << 20)})
    Packer(tmp_path / "m").pack(ram.fileno())
    ram.close()
    with pytest.raises(ValueError, match="damaged"):
        _unpacked(tmp_path / "m")


def test_another_machine_does_not_get_it(tmp_path: Path) -> None:
    _packed(tmp_path / "m", {}).close()
    with pytest.raises(ValueError, match="octets of RAM"):
        _unpacked(tmp_path / "m", SIZE - CHUNK)


def test_a_full_disk_is_told() -> None:
    ram = _ram({0: b"something"})
    with pytest.raises(OSError, match="No space left"):
        Packer(Path("/dev/full")).pack(ram.fileno())
    ram.close()


def test_who_is_stopped_says_so(tmp_path: Path) -> None:
    ram = _packed(tmp_path / "m", {0: b"something", 5 << 20: b"more"})
    packer = Packer(tmp_path / "again")
    packer.stop()
    with pytest.raises(GivenUp):
        packer.pack(ram.fileno())
    with Unpacker(tmp_path / "m") as unpacker:
        unpacker.stop()
        with pytest.raises(GivenUp):
            unpacker.unpack(ram.fileno())
    ram.close()


def test_zstd_itself_reads_the_file(tmp_path: Path) -> None:
    _packed(tmp_path / "m", {0: b"something", 5 << 20: b"more"}).close()
    done = subprocess.run(
        ["zstd", "-dc", str(tmp_path / "m")],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    assert len(done.stdout) > 2 * CHUNK + len(DEVICES)
    assert DEVICES in done.stdout


def test_ram_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="64 MiB of RAM can't be had: No such file"):
        Ram(64 << 20, folder=tmp_path / "nowhere")
