"""TFTP: routes, options, errors and refusals, datagram by datagram as the real smee's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from fake_tink_server.objects import Hardware
from harness.hook.tools import ensure_ipxe_binaries, ensure_tool
from harness.paths import cache_root
from harness.progress import SilentProgress
from harness.reservations import reservations_of
from harness.services.smee import SmeeService, smee_settings
from harness.services.tftp import TftpService
from harness.tasks import TaskKeeper
from harness.tests.smee.objects import hardware, interface
from harness.timeline import Timeline
from harness.wire import tftp
from harness.wire.ipxe import ScriptConfig
from harness.wire.netboot import NetbootConfig, Reservations

pytestmark = pytest.mark.service

SEED: Final = 69
_BLOCKS: Final = 3
"""Blocks that are fetched before the client says that it has enough."""
KNOWN: Final = [
    hardware(
        "linux",
        interface(
            "52:54:00:00:00:01", "127.0.0.1",
            {"allowPXE": True, "pxelinux": {"config": "DEFAULT ä\n" * 60}},
        ),
    ),
    hardware(
        "refused",
        interface(
            "52:54:00:00:00:02", "127.0.0.2",
            {"allowPXE": False, "pxelinux": {"config": "LABEL x\n"}},
        ),
    ),
    hardware("bare", interface("52:54:00:00:00:03", "127.0.0.3", {"allowPXE": True})),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request; ``blocks`` are fetched, then the client sends an ERROR."""

    file: str
    options: dict[str, str] = field(default_factory=dict)
    mode: str = "octet"
    opcode: tftp.Opcode = tftp.Opcode.RRQ


def requests() -> list[Asked]:
    """Return requests for every route, with options known, odd and unknown."""
    trace = "-00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    files = (
        "undionly.kpxe", "ipxe.efi", "snp-x86_64.efi", "snp-arm64.efi", "/ipxe.efi", "a/b/ipxe.efi",
        "52:54:00:00:00:01/ipxe.efi", f"ipxe.efi{trace}", f"/x/ipxe.efi{trace}", f"none{trace}",
        f"ipxe.efi-00-{'0' * 32}-{'b' * 16}-01", "none", "a/none", "/none", "none/", "/", "a b",
        "autoexec.ipxe", "ä", "IPXE.EFI", "../etc/passwd", "ipxe.efi/", "ipxe.efi/.",
        "pxelinux.cfg/01-52-54-00-00-00-01", "/pxelinux.cfg/01-52-54-00-00-00-01",
        "pxelinux.cfg/01-52-54-00-00-00-02", "pxelinux.cfg/01-52-54-00-00-00-03",
        "pxelinux.cfg/01-52-54-00-00-00-09", "pxelinux.cfg/01-52:54:00:00:00:01",
        "pxelinux.cfg/default", "pxelinux.cfg/01-nonsense", "pxelinux.cfg/01-", "pxelinux.cfg/",
        "small.txt", "folder/deep.txt", "empty", "exact.bin", "../outside", "link",
    )  # fmt: skip
    found = [Asked(file=file) for file in files]
    random = Random(SEED)
    values = {
        "blksize": ("512", "8", "7", "1428", "1468", "65464", "65465", "0", "-1", "x", "100"),
        "tsize": ("0", "5", "x", ""),
        "timeout": ("1", "255", "0", "256"),
        "windowsize": ("4", "0", "65535"),
        "BLKSIZE": ("256",),
        "unknown": ("1",),
    }
    for name, each in values.items():
        found += [Asked(file="exact.bin", options={name: value}) for value in each]
    for _ in range(60):
        names = random.sample(sorted(values), k=random.randint(2, 4))
        options = {name: random.choice(values[name]) for name in names}
        if not {"blksize", "BLKSIZE"} <= options.keys():
            found.append(
                Asked(file=random.choice(("exact.bin", "ipxe.efi", "none")), options=options)
            )
    return found


def conversation(port: int, asked: Asked) -> list[str]:
    """Return what the server says, up to a few blocks; its datagrams in hexadecimal."""
    request = tftp.Request(
        opcode=asked.opcode, file=asked.file, mode=asked.mode, options=asked.options
    )
    said: list[str] = []
    size = tftp.DEFAULT_BLOCK_BYTES
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        sock.sendto(tftp.encode(request), ("127.0.0.1", port))
        for _ in range(_BLOCKS + 1):
            try:
                data, server = sock.recvfrom(70_000)
            except TimeoutError:
                return [*said, "silence"]
            said.append(_shown(data))
            packet = tftp.decode(data)
            if isinstance(packet, tftp.Error):
                return said
            if isinstance(packet, tftp.Oack):
                size = int(packet.options.get("blksize", size))
                sock.sendto(tftp.encode(tftp.Ack(block=0)), server)
            elif isinstance(packet, tftp.Data):
                sock.sendto(tftp.encode(tftp.Ack(block=packet.block)), server)
                if len(packet.payload) < size:
                    return said
        sock.sendto(tftp.encode(tftp.Error(code=0, text="enough")), server)
    return said


def _shown(data: bytes) -> str:
    if data[:2] == b"\0\6":  # the order of options has no meaning
        words = data[2:].split(b"\0")[:-1]
        pairs = sorted(zip(words[::2], words[1::2], strict=False))
        return f"OACK {pairs}"
    return data.hex() if data[:2] != b"\0\5" else f"ERROR {data[2:]!r}"


@asynccontextmanager
async def both(folder: Path, assets: Path, *, single_port: bool) -> AsyncIterator[tuple[int, int]]:
    """Run the real smee and the lab's service; yield their ports."""
    async with AsyncExitStack() as stack:
        timeline, tasks = Timeline(None), TaskKeeper()
        stack.push_async_callback(tasks.close)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        off = {"enabled": False}
        settings = smee_settings(
            config=NetbootConfig(server="127.0.0.1"),
            scripts=ScriptConfig(osie_url="http://127.0.0.1:7173"),
            dhcp=off, syslog=off, http=off,
            tftp={"port": port, "assets": str(assets), "single_port": single_port},
        )  # fmt: skip
        binaries = await ensure_ipxe_binaries(cache_root(), SilentProgress())
        real = SmeeService(
            timeline=timeline, tasks=tasks, hardware=KNOWN, settings=settings, folder=folder,
            program=await ensure_tool("smee", cache_root(), SilentProgress()),
        )  # fmt: skip
        ours = TftpService(
            timeline=timeline, tasks=tasks, bind="127.0.0.1", port=0, single_port=single_port,
            binaries={path.name: path for path in binaries.iterdir()}, assets=assets,
            reservations=Reservations(
                r for each in KNOWN for r in reservations_of(Hardware.model_validate(each))
            ),
        )  # fmt: skip
        services: tuple[Any, ...] = (real, ours)
        for service in services:
            stack.push_async_callback(service.stop)
            await service.start()
        yield port, ours.port


def make_assets(tmp_path: Path) -> Path:
    """Return a folder of assets, with a link that leads out of it."""
    assets = tmp_path / "assets"
    (assets / "folder").mkdir(parents=True)
    (assets / "small.txt").write_text("small")
    (assets / "folder/deep.txt").write_text("deep" * 300)
    (assets / "empty").touch()
    (assets / "exact.bin").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "outside").write_text("not yours")
    (assets / "link").symlink_to("../outside")
    return assets


@pytest.mark.parametrize("single_port", [True, False])
async def test_every_conversation_is_the_same(tmp_path: Path, single_port: bool) -> None:
    assets = make_assets(tmp_path)
    everything = requests()
    found: list[str] = []
    async with both(tmp_path, assets, single_port=single_port) as ports:
        for asked in everything:
            first, second = await asyncio.gather(
                *(asyncio.to_thread(conversation, port, asked) for port in ports)
            )
            if first != second:
                found.append(f"{asked}:\n  smee {first!s:.200}\n  the lab {second!s:.200}")
    print(f"TFTP: {len(everything)} requests, {len(found)} differences")
    assert not found, "\n".join(found[:40])
