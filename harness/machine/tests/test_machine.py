"""A real QEMU: held, let go, reset, killed; its firmware's first words and frames."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.clock import Deadline
from harness.errors import GuestPanic, MonitorLost, QemuExited, SetupFailed
from harness.host.usage import LinuxUsage
from harness.machine import machine as machines
from harness.machine.devices import Nic
from harness.machine.disks import create_disk
from harness.machine.firmware import Firmware, FlashFiles, find_uefi, make_variables
from harness.machine.halts import stopped_at
from harness.machine.machine import Machine, check
from harness.machine.qemu import MachineSpec
from harness.machine.ram import Ram
from harness.net.capture import Capture
from harness.net.segment import Segment, SegmentKind, probe_tun
from harness.net.tests.namespace import in_own_network
from harness.seal import PRIVATE_DIR
from harness.tasks import TaskKeeper
from harness.timeline import Timeline, named

pytestmark = pytest.mark.machine

MAC = "52:54:00:ab:cd:01"
T = TypeVar("T")


class Bench:
    """A timeline, a task keeper and a machine that is not on any network."""

    def __init__(
        self,
        folder: Path,
        *,
        private_dir: Path | None = None,
        ram: Ram | None = None,
        **changes: Any,
    ) -> None:
        self.timeline = Timeline(None)
        self.tasks = TaskKeeper()
        values: dict[str, Any] = {
            "name": "m1",
            "firmware": Firmware.BIOS,
            "accel": "tcg",
            "nics": (),
            "memory_mib": 256,
            **changes,
        }
        self.machine = Machine(
            spec=MachineSpec(**values),
            run_dir=folder,
            private_dir=private_dir or folder,
            timeline=self.timeline,
            tasks=self.tasks,
            ram=ram,
        )

    async def soon(self, awaitable: Awaitable[T], what: str = "the test") -> T:
        return await self.tasks.race(
            awaitable, Deadline.after(timedelta(seconds=60)), waiting_for=what
        )


@asynccontextmanager
async def bench(folder: Path, **changes: Any) -> AsyncIterator[Bench]:
    made = Bench(folder, **changes)
    try:
        yield made
    finally:
        await made.machine.power_off()
        await made.machine.power_off()
        await made.tasks.close()


async def test_the_cpu_is_held_until_power_on(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 1 << 20, serial="s1")
    async with bench(tmp_path, disks=[disk]) as made:
        machine = made.machine
        await machine.start()
        assert (await machine.monitor.execute("query-status"))["status"] == "prelaunch"
        assert not named(made.timeline, "console.line.seen")
        await machine.power_on()
        assert (await machine.monitor.execute("query-status"))["running"] is True
        (powered,) = named(made.timeline, "machine.powered_on")
        assert powered["pid"] == machine.pid
        assert (powered["firmware"], powered["accel"]) == ("bios", "tcg")
        await made.soon(
            made.timeline.wait_for(lambda event: "SeaBIOS" in event.get("text", "")), "SeaBIOS"
        )
    (exited,) = named(made.timeline, "machine.exited")
    assert exited["status"] == 0
    assert not made.tasks.failure.done()
    assert (tmp_path / "qemu.cmd").read_text().startswith("qemu-system-x86_64 -name m1")


async def test_a_start_that_is_given_up_leaves_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def given_up(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(machines, "start_program", given_up)
    before = set(Path("/proc/self/fd").iterdir())
    async with bench(tmp_path) as made:
        with pytest.raises(asyncio.CancelledError):
            await made.machine.start()
    assert set(Path("/proc/self/fd").iterdir()) <= before


async def test_ram_is_there_before_qemu_and_counts_before_it_is_touched(tmp_path: Path) -> None:
    ram = Ram(256 << 20)
    filled = 100 << 20
    os.pwrite(ram.fileno(), os.urandom(filled), 64 << 20)
    async with bench(tmp_path, ram=ram) as made:
        await made.machine.start()
        pid = made.machine.pid
        assert pid is not None
        usage = LinuxUsage()
        assert filled < usage.memory_of({pid}) < filled + (100 << 20)
        assert filled < usage.proportional_memory_of({pid}) < filled + (100 << 20)
        await made.machine.power_on()
        await made.soon(
            made.timeline.wait_for(lambda event: "SeaBIOS" in event.get("text", "")), "SeaBIOS"
        )
        assert usage.memory_of({pid}) < filled + (140 << 20)
    assert ram.fileno() == -1


async def test_the_command_in_the_run_folder_can_be_run_by_hand(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 1 << 20)
    files = find_uefi()
    flash = FlashFiles(code=files.code, variables=make_variables(files, tmp_path / "vars.fd"))
    nics = [Nic(mac=MAC, netdev="user,id=net0", bootindex=1)]
    async with bench(tmp_path, disks=[disk], nics=nics, flash=flash) as made:
        await made.machine.start()
    script = (tmp_path / "qemu.cmd").read_text()
    process = await asyncio.create_subprocess_shell(
        f"exec setpriv --pdeathsig KILL {script}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"\x01x")  # Ctrl-A x: end QEMU
    await process.stdin.drain()
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert disk.path.read_bytes() == bytes(1 << 20)


async def test_serial_logs_hold_every_octet(tmp_path: Path) -> None:
    heard = bytearray()
    async with bench(tmp_path) as made:
        made.machine.consoles["ttyS0"].read_data(heard.extend)
        await made.machine.power_on()
        await made.soon(
            made.timeline.wait_for(lambda event: "No bootable" in event.get("text", ""))
        )
    assert b"SeaBIOS" in heard
    assert (tmp_path / "serial-ttyS0.log").read_bytes() == heard
    assert (tmp_path / "serial-ttyS1.log").read_bytes() == b""


async def test_resets_are_told_with_their_reason(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.power_on()
        await made.machine.reset()
        event = await made.soon(
            made.timeline.wait_for(lambda event: event.name == "machine.reset"), "the reset"
        )
        assert event["reason"] == "host-qmp-system-reset"
        assert event["guest"] is False
        assert "RESET" in [seen["event"] for seen in named(made.timeline, "qmp.event.seen")]


async def test_a_machine_that_stopped_for_good_is_told_once_each_time(tmp_path: Path) -> None:
    disk = create_disk(tmp_path / "vda.img", 1 << 20, serial="s1")
    stops = b"\xfa\xf4\xeb\xfd"  # cli; hlt, for ever
    with disk.path.open("r+b") as file:
        file.write(stops.ljust(510, b"\0") + b"\x55\xaa")
    async with bench(tmp_path, disks=[disk]) as made:
        await made.machine.power_on()
        halts = [
            await made.soon(
                made.timeline.wait_for(lambda event: event.name == "machine.cpu.halted")
            )
        ]
        await made.machine.reset()
        after = len(made.timeline.events)
        halts.append(
            await made.soon(
                made.timeline.wait_for(
                    lambda event: event.name == "machine.cpu.halted" and event.seq > after
                )
            )
        )
        assert [int(event["at"], 16) for event in halts] == [0x7C02] * 2  # behind the HLT
        assert named(made.timeline, "machine.cpu.halted") == halts


async def test_a_firmware_that_waits_has_not_stopped_for_good(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.power_on()
        await made.soon(
            made.timeline.wait_for(lambda event: "No bootable" in event.get("text", ""))
        )
        said = await made.machine.monitor.said("info registers -a")
        assert "RFL=" in said or "EFL=" in said
        assert stopped_at(said) is None


async def test_a_qemu_that_is_killed_ends_every_wait(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.power_on()
        assert made.machine.pid is not None
        os.kill(made.machine.pid, signal.SIGKILL)
        with pytest.raises(QemuExited, match="status -9"):
            await made.soon(asyncio.Event().wait(), "what never happens")
        with pytest.raises(MonitorLost):
            await asyncio.wait_for(made.machine.monitor.execute("query-status"), 10)
        await made.machine.wait_for_end()
    assert named(made.timeline, "machine.exited")[0]["status"] == -9


async def test_what_qemu_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    async with bench(tmp_path, extra=["-device", "nonsense"]) as made:
        with pytest.raises(SetupFailed, match="'nonsense' is not a valid device") as caught:
            await made.machine.start()
        assert "qemu.cmd" in str(caught.value.hint)


async def test_a_refused_command_is_an_error_of_its_own(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.start()
        with pytest.raises(MonitorLost, match="refused no-such-command"):
            await made.machine.monitor.execute("no-such-command")
        assert (await made.machine.monitor.execute("query-name"))["name"] == "m1"


async def test_a_panic_ends_every_wait(tmp_path: Path) -> None:
    async with bench(tmp_path) as made:
        await made.machine.start()
        console = made.machine.consoles["ttyS1"]
        console._show("[ 1.0] Kernel panic - not syncing: no init", partial=False)
        with pytest.raises(GuestPanic, match="not syncing: no init"):
            await made.soon(asyncio.Event().wait())


@contextmanager
def started(argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ours, which is killed at the end of the block at the latest."""
    sources = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        argv,
        env={**os.environ, "PYTHONPATH": str(sources)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


ENDS_WITH_US = """
import asyncio, sys
from pathlib import Path
from harness.machine.tests.test_machine import Bench
async def main():
    made = Bench(Path(sys.argv[1]))
    await made.machine.power_on()
    print(made.machine.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_qemu_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    with started([sys.executable, "-c", ENDS_WITH_US, str(tmp_path)]) as parent:
        assert parent.stdout is not None
        qemu = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ready, _, _ = select.select([qemu], [], [], 20)
    os.close(qemu)
    assert ready, "QEMU still runs"


SEALED = """
import sys
from harness.seal import PRIVATE_DIR, settle_in
settle_in()
import asyncio
from pathlib import Path
from harness.machine.tests.test_machine import sealed_lab
asyncio.run(sealed_lab(Path(sys.argv[1])))
"""
SEALER = """
import asyncio, sys
from pathlib import Path
from harness.seal import seal
async def main():
    sealed = await seal([sys.executable, "-c", sys.argv[2], sys.argv[1]], run_dir=Path(sys.argv[1]),
                        on_line=lambda line: print(line, flush=True))
    await sealed.wait()
asyncio.run(main())
"""


async def sealed_lab(run_dir: Path) -> None:
    """Run a segment, a capture and a machine until somebody ends it."""
    nics = [Nic(mac=MAC, netdev="user,id=net0", bootindex=1)]
    disks = [create_disk(run_dir / "vda.img", 1 << 20)]
    made = Bench(run_dir, private_dir=PRIVATE_DIR, nics=nics, disks=disks)
    lan = Segment(timeline=made.timeline, tasks=made.tasks, private_dir=PRIVATE_DIR)
    await lan.start()
    capture = Capture(
        timeline=made.timeline,
        tasks=made.tasks,
        interface=lan.bridge,
        path=run_dir / "capture.pcapng",
    )
    await capture.start()
    await made.machine.power_on()
    print("up", flush=True)
    await asyncio.Event().wait()


def owners(marker: str) -> list[str]:
    """Return the command lines that mention ``marker``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().decode(errors="replace")
                if marker in words:
                    found.append(words)
    return found


def test_kill_9_of_a_run_takes_qemu_and_capture_along(tmp_path: Path) -> None:
    with started([sys.executable, "-c", SEALER, str(tmp_path), SEALED]) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "up\n", (tmp_path / "lab.log").read_text()
        alive = owners(str(tmp_path))
        assert any(words.startswith("qemu-system-x86_64") for words in alive)
        assert any("harness.net.recorder" in words for words in alive)
        outer.kill()
    deadline = Deadline.after(timedelta(seconds=20))
    while left := owners(str(tmp_path)):
        assert not deadline.expired, left
        os.sched_yield()  # the kernel is at it; nothing tells us from outside
    assert not [path for path in tmp_path.iterdir() if path.is_socket()]
    done = subprocess.run(["capinfos", str(tmp_path / "capture.pcapng")], capture_output=True)
    assert done.returncode == 0


KINDS = [
    pytest.param(
        SegmentKind.BRIDGE,
        marks=pytest.mark.skipif(probe_tun() is not None, reason="no /dev/net/tun"),
    ),
    SegmentKind.WIRE,
]


BOOTS = [
    *((firmware, "virtio-net-pci") for firmware in Firmware),
    (Firmware.UEFI, "e1000"),  # OVMF has no driver for it; QEMU's ROM brings one
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("firmware", "model"), BOOTS)
@in_own_network
async def test_the_firmwares_discover_is_on_the_segment_and_in_the_capture(
    kind: SegmentKind, firmware: Firmware, model: str, tmp_path: Path
) -> None:
    timeline, tasks = Timeline(None), TaskKeeper()
    lan = Segment(timeline=timeline, tasks=tasks, kind=kind, private_dir=tmp_path)
    await lan.start()
    port = await lan.plug_in("m1")
    path = tmp_path / "capture.pcapng"
    capture = Capture(timeline=timeline, tasks=tasks, interface=lan.bridge, path=path)
    await capture.start()
    flash = None
    if firmware.is_uefi:
        found = find_uefi()
        variables = make_variables(found, tmp_path / "vars.fd")
        flash = FlashFiles(code=found.code, variables=variables)
    machine = Machine(
        spec=MachineSpec(
            name="m1",
            firmware=firmware,
            accel="tcg",
            nics=[Nic(mac=MAC, netdev=port.netdev("net0"), model=model, bootindex=1)],
            flash=flash,
            memory_mib=256,
        ),
        run_dir=tmp_path,
        private_dir=tmp_path,
        timeline=timeline,
        tasks=tasks,
    )
    await machine.start()
    deadline = Deadline.after(timedelta(seconds=60))
    await tasks.race(port.ready(), deadline, waiting_for="the port")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, lan.bridge.encode())
        server.bind(("", 67))
        server.setblocking(False)
        await machine.power_on()
        discover = await tasks.race(
            asyncio.get_running_loop().sock_recv(server, 2000), deadline, waiting_for="DISCOVER"
        )
    assert discover[28:34].hex(":") == MAC
    await machine.power_off()
    await capture.stop()
    await lan.stop()
    await tasks.close()
    wanted = {
        Firmware.BIOS: "PXEClient:Arch:00000",
        Firmware.UEFI: "PXEClient:Arch:00007",
        Firmware.UEFI_HTTP: "HTTPClient:Arch:00016",
    }[firmware]
    argv = ["tshark", "-r", str(path), "-Y", "dhcp.option.dhcp == 1", "-T", "fields"]
    argv += ["-e", "dhcp.hw.mac_addr", "-e", "dhcp.option.vendor_class_id", "-e", "udp.checksum"]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=True)
    mac, vendor_class, _ = done.stdout.splitlines()[0].split("\t")
    assert mac.split(",")[0] == MAC
    assert vendor_class.startswith(wanted)


def test_this_host_has_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    check()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match="qemu-system-x86_64 is not installed"):
        check()
