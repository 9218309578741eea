"""The TFTP service against curl, tftp-hpa and busybox, on one port and on many."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.process import CommandFailed, run
from harness.services.tftp import TftpFiles, TftpService
from harness.tasks import TaskKeeper
from harness.tests.programs import needs
from harness.timeline import Event, Timeline, named
from harness.wire import tftp
from harness.wire.netboot import Reservation, Reservations
from harness.wire.tftp import Error, Oack, Opcode, Request
from harness.wire.tftp_server import Refusal
from harness.wire.tftp_transfer import FAST, Content, TftpPolicy

MAC = "52:54:00:00:00:01"
RESERVATIONS = Reservations(
    [Reservation(mac=MAC, address="127.0.0.1", pxelinux_config="DEFAULT hook\n")]
)
PEER = ("127.0.0.1", 2070)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "binaries" / "ipxe.efi"
    path.parent.mkdir()
    path.write_bytes(os.urandom(1_061_376))
    return path


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    folder = tmp_path / "assets"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"asset")
    (folder / "empty").write_bytes(b"")
    (folder / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(None)


@pytest.fixture(params=[(True, TftpPolicy()), (True, FAST), (False, TftpPolicy()), (False, FAST)],
                ids=["single-smee", "single-fast", "multi-smee", "multi-fast"])  # fmt: skip
async def service(
    request: pytest.FixtureRequest, timeline: Timeline, binary: Path, assets: Path
) -> AsyncIterator[TftpService]:
    tasks = TaskKeeper()
    single_port, policy = request.param
    service = TftpService(
        timeline=timeline,
        tasks=tasks,
        binaries={"ipxe.efi": binary},
        reservations=RESERVATIONS,
        assets=assets,
        bind="127.0.0.1",
        port=0,
        single_port=single_port,
        policy=policy,
        identify=lambda address: MAC,
    )
    await service.start()
    yield service
    await service.stop()
    await service.stop()
    assert not tasks.failure.done(), tasks.failure.exception()
    await tasks.close()


async def curl(service: TftpService, path: str, *options: str) -> bytes:
    url = f"tftp://127.0.0.1:{service.port}/{path}"
    return (await run(["curl", "-s", "--noproxy", "*", "-o", "-", *options, url])).stdout


@pytest.mark.parametrize("blksize", [512, 1468, 8192])
async def test_curl_reads_a_binary(
    service: TftpService, timeline: Timeline, binary: Path, blksize: int
) -> None:
    began_s = time.process_time()
    body = await curl(service, f"{MAC}/ipxe.efi", "--tftp-blksize", str(blksize))
    assert body == binary.read_bytes()
    [finished] = named(timeline, "tftp.transfer.finished")
    assert finished["bytes"] == len(body)
    assert finished["mac"] == MAC
    assert time.process_time() - began_s < 3


@needs("tftp")
@pytest.mark.parametrize("mode", ["octet", "netascii"])
async def test_tftp_hpa_reads(
    service: TftpService, timeline: Timeline, tmp_path: Path, mode: str
) -> None:
    here = tmp_path / "got"
    # In multi-port mode tftp-hpa would also do with any port; here both are on loopback.
    await run(
        ["tftp", "-m", mode, "127.0.0.1", str(service.port), "-c", "get",
         f"pxelinux.cfg/01-{MAC.replace(':', '-')}", str(here)]
    )  # fmt: skip
    assert here.read_bytes() == b"DEFAULT hook\n"
    assert len(named(timeline, "tftp.transfer.finished")) == 1


@needs("busybox")
async def test_busybox_reads_with_large_blocks(
    service: TftpService, tmp_path: Path, binary: Path
) -> None:
    here = tmp_path / "got"
    await run(
        ["busybox", "tftp", "-g", "-b", "1400", "-r", "ipxe.efi", "-l", str(here), "127.0.0.1",
         str(service.port)]
    )  # fmt: skip
    assert here.read_bytes() == binary.read_bytes()


async def test_an_unknown_file_is_refused(service: TftpService, timeline: Timeline) -> None:
    with pytest.raises(CommandFailed) as raised:
        await curl(service, "autoexec.ipxe")
    assert raised.value.status == 68  # curl: file not found on TFTP server
    [error] = named(timeline, "tftp.error.sent")
    assert error["text"] == "file [autoexec.ipxe] unknown: file does not exist"
    assert (error["code"], error["mac"]) == (1, MAC)


async def test_writing_is_refused(service: TftpService, timeline: Timeline, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(CommandFailed):
        await run(
            [
                "curl",
                "-s",
                "--noproxy",
                "*",
                "-T",
                str(source),
                f"tftp://127.0.0.1:{service.port}/new",
            ]
        )
    assert named(timeline, "tftp.error.sent")[0]["text"].startswith("access_violation")


async def test_what_is_no_tftp_is_noted(service: TftpService, timeline: Timeline) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"\0\x63nonsense", ("127.0.0.1", service.port))
        event = await asyncio.wait_for(
            timeline.wait_for(lambda event: event.name == "tftp.malformed"), 5
        )
    assert event["bytes"] == 10


async def test_a_name_that_is_no_text_is_refused_and_told(
    service: TftpService, timeline: Timeline
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"\0\1ipxe\xff.efi\0octet\0", ("127.0.0.1", service.port))
        async with asyncio.timeout(10):
            told = await timeline.wait_for(lambda event: event.name == "tftp.error.sent")
    assert told["file"] == "ipxe\\xff.efi"
    assert Event.from_json(told.to_json().encode()).fields == told.fields


# -- which file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("sub/file", b"asset"),
        ("empty", b""),
        (f"pxelinux.cfg/01-{MAC.replace(':', '-')}", b"DEFAULT hook\n"),
        ("ipxe.efi-00-23b1e307bb35484f535a1f772c06910e-d887dc3912240434-01", None),
        ("any/folder/ipxe.efi", None),
    ],
)
def test_files_are_found_as_smees_routes_do(
    binary: Path, assets: Path, path: str, found: bytes | None
) -> None:
    files = TftpFiles(binaries={"ipxe.efi": binary}, reservations=RESERVATIONS, assets=assets)
    content = files.open(path, PEER)
    assert not isinstance(content, Refusal)
    assert _octets(content) == (binary.read_bytes() if found is None else found)


@pytest.mark.parametrize(
    "path",
    ["../secret", "/../secret", "out", "sub", "", "/", ".", "sub/../../secret",
     "pxelinux.cfg/01-52-54-00-00-00-99", "sub\0/file"],
)  # fmt: skip
def test_nothing_else_is_found_and_nothing_outside_the_assets(
    binary: Path, assets: Path, path: str
) -> None:
    files = TftpFiles(binaries={"ipxe.efi": binary}, reservations=RESERVATIONS, assets=assets)
    assert isinstance(files.open(path, PEER), Refusal)


def test_a_changed_file_is_read_anew(binary: Path) -> None:
    files = TftpFiles(binaries={"ipxe.efi": binary}, reservations=RESERVATIONS)
    files.open("ipxe.efi", PEER)
    binary.unlink()
    binary.write_bytes(b"new")
    os.utime(binary, ns=(1, 1))
    assert _octets(files.open("ipxe.efi", PEER)) == b"new"


def _octets(found: Content | Refusal) -> bytes:
    assert not isinstance(found, Refusal)
    return bytes(found[0 : len(found)])


async def test_a_file_that_is_cut_short_ends_in_an_error(
    service: TftpService, timeline: Timeline, binary: Path
) -> None:
    """And not in a lab that a signal killed."""
    loop = asyncio.get_running_loop()
    asked = Request(
        opcode=Opcode.RRQ, file="ipxe.efi", mode="octet", options={"blksize": "512"}
    )  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        sock.sendto(tftp.encode(asked), ("127.0.0.1", service.port))
        block = 0
        answer, server = await loop.sock_recvfrom(sock, 2000)
        assert isinstance(tftp.decode(answer), Oack)
        while True:
            sock.sendto(tftp.ack_packet(block), server)
            packet = tftp.decode((await loop.sock_recvfrom(sock, 2000))[0])
            if isinstance(packet, Error):
                break
            block += 1
            if block == 100:
                os.truncate(binary, 512 * 400 + 7)
    assert packet.text == "ipxe.efi has become shorter"
    assert 100 <= block <= 400
    [error] = named(timeline, "tftp.error.sent")
    assert (error["mac"], error["text"]) == (MAC, packet.text)
    assert not named(timeline, "tftp.transfer.finished")
