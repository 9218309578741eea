"""Which file a TFTP request means."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.services.pxe_http import PxeHttp
from harness.services.tftp import TftpFiles
from harness.wire import gohttp
from harness.wire.netboot import Reservation, Reservations
from harness.wire.tftp_server import Refusal

PI = Reservation(
    mac="dc:a6:32:00:00:01",
    address="192.168.77.20",
    pi_serial="abc123",
    pi_firmware_path="pi4",
    pi_config="arm_64bit=1\n",
    kernel_params=("console=tty1", "rw"),
    pxelinux_config="default hook\n",
)
FROM_PI, FROM_ANOTHER = (PI.address, 2000), ("192.168.77.21", 2000)


@pytest.fixture
def files(tmp_path: Path) -> TftpFiles:
    assets = tmp_path / "assets"
    (assets / "pi4").mkdir(parents=True)
    (assets / "pi4" / "start4.elf").write_bytes(b"firmware")
    (tmp_path / "secret").write_bytes(b"secret")
    return TftpFiles(binaries={}, reservations=Reservations([PI]), assets=assets)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("abc123/config.txt", b"arm_64bit=1\n"),
        ("abc123/cmdline.txt", b"console=tty1 rw"),
        ("abc123/start4.elf", b"firmware"),
        ("pi4/start4.elf", b"firmware"),
        ("pxelinux.cfg/01-DC-A6-32-00-00-01", b"default hook\n"),
    ],
)
def test_a_pi_finds_its_files(files: TftpFiles, path: str, content: bytes) -> None:
    found = files.open(path, FROM_PI)
    assert not isinstance(found, Refusal)
    assert bytes(found[0 : len(found)]) == content


@pytest.mark.parametrize(
    "path",
    [
        *("abc123/nothing", "other/config.txt", "abc123/../../secret", "/pi4/start4.elf"),
        *("pxelinux.cfg/01-dca6.3200.0001", "x/pxelinux.cfg/01-dc-a6-32-00-00-01"),
    ],
)
def test_what_is_not_there(files: TftpFiles, path: str) -> None:
    assert isinstance(files.open(path, FROM_PI), Refusal)


@pytest.mark.parametrize("path", ["a" * 300, "a/" * 2500, "loop", "loop/x", "pi4/start4.elf/x", ""])
def test_a_path_that_the_kernel_refuses_is_not_there(
    files: TftpFiles, tmp_path: Path, path: str
) -> None:
    assets = tmp_path / "assets"
    (assets / "loop").symlink_to("loop")
    assert isinstance(files.open(path, FROM_ANOTHER), Refusal)
    over_http = PxeHttp(reservations=Reservations([PI]), assets=assets)
    assert over_http.answer("GET", f"/tftp/{path}") == gohttp.NOT_FOUND


def test_only_the_pi_itself_finds_them(files: TftpFiles) -> None:
    assert isinstance(files.open("abc123/config.txt", FROM_ANOTHER), Refusal)


def test_without_an_asset_folder_a_pi_finds_nothing() -> None:
    files = TftpFiles(binaries={}, reservations=Reservations([PI]))
    assert isinstance(files.open("abc123/config.txt", FROM_PI), Refusal)


def test_a_folder_of_very_many_files_does_not_use_up_descriptors(
    files: TftpFiles, tmp_path: Path
) -> None:
    folder = tmp_path / "assets" / "overlays"
    folder.mkdir()
    opened = Path("/proc/self/fd")
    before = len(list(opened.iterdir()))
    first = None
    for number in range(300):
        (folder / f"{number}.dtbo").write_bytes(b"%d" % number)
        found = files.open(f"overlays/{number}.dtbo", FROM_ANOTHER)
        assert not isinstance(found, Refusal)
        assert bytes(found[0:9]) == b"%d" % number
        first = first or found
    assert len(list(opened.iterdir())) - before < 80
    assert first is not None
    assert bytes(first[0:9]) == b"0"  # a transfer that still goes on
