"""A real QEMU's memory: saved, damaged, cut off, and had again by another QEMU."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.frames import Unpacker
from harness.checkpoint.memory import MemoryRefused, Packed, save_memory, unpacking
from harness.checkpoint.tests.ticker import make_ticker
from harness.clock import Deadline
from harness.machine.devices import Disk
from harness.machine.qmp import Monitor
from harness.machine.tests.test_machine import Bench, bench
from harness.timeline import Event

pytestmark = pytest.mark.machine
SIZE = 1 << 20


def _disk(folder: Path, model: str = "virtio-blk") -> Disk:
    path = folder / "vda.img"
    if not path.exists():
        make_ticker(path)
    return Disk(path=path, size_bytes=SIZE, bootindex=1, model=model)


def _letters(events: list[Event]) -> str:
    return "".join(
        text
        for event in events
        if event.name == "console.line.seen" and not event.get("partial")
        for text in [str(event.get("text"))]
        if len(text) == 1
    )


async def _until_letters(made: Bench, count: int) -> None:
    await made.tasks.race(
        made.timeline.wait_for(lambda _: len(_letters(made.timeline.events)) >= count),
        Deadline.after(timedelta(seconds=60)),
        waiting_for=f"{count} letters",
    )


async def _saved(folder: Path, file: Path) -> tuple[str, Packed]:
    """Run the ticker for a while and save it; return what it printed until then."""
    async with bench(folder, disks=[_disk(folder)], memory_mib=64) as made:
        await made.machine.power_on()
        await _until_letters(made, 20)
        await made.machine.monitor.execute("stop")
        packed = await save_memory(made.machine, file, timeline=made.timeline, tasks=made.tasks)
        said = _letters(made.timeline.events)
        await made.machine.monitor.execute("cont")
        await _until_letters(made, len(said) + 3)
        after = _letters(made.timeline.events)[len(said) :]
    assert "ABCDEFGHIJKLMNOP".find(after[0]) == len(said) % 16
    return said, packed


async def test_a_machine_goes_on_where_another_was_saved(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    file = tmp_path / "memory.zst"
    said, packed = await _saved(folders[0], file)
    assert packed.bytes == file.stat().st_size < packed.memory_bytes
    async with (
        unpacking(file) as unpacked,
        bench(
            folders[1],
            disks=[_disk(folders[1])],
            memory_mib=64,
            incoming=True,
            ram=unpacked.ram,
        ) as made,
    ):
        await unpacked.load(made.machine, timeline=made.timeline, tasks=made.tasks)
        assert not _letters(made.timeline.events)
        await made.machine.let_go()
        await _until_letters(made, 20)
        more = _letters(made.timeline.events)
    everything = said + more
    assert everything == ("ABCDEFGHIJKLMNOP" * (len(everything) // 16 + 1))[: len(everything)]


@pytest.mark.parametrize("harm", ["damaged", "cut off", "gone", "of another size"])
async def test_a_damaged_file_never_runs(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    file = tmp_path / "memory.zst"
    await _saved(tmp_path, file)
    data = bytearray(file.read_bytes())
    if harm == "damaged":
        data[len(data) // 2] ^= 0x40
    file.write_bytes(data[:-100] if harm == "cut off" else data)
    if harm == "gone":
        file.unlink()
    with pytest.raises(MemoryRefused):
        await _try(file, folder, memory_mib=32 if harm == "of another size" else 64)


async def _try(file: Path, folder: Path, *, memory_mib: int) -> None:
    async with (
        unpacking(file) as unpacked,
        bench(
            folder,
            disks=[_disk(folder)],
            memory_mib=memory_mib,
            incoming=True,
            ram=unpacked.ram,
        ) as made,
    ):
        made.machine.expect_end()
        try:
            await unpacked.load(made.machine, timeline=made.timeline, tasks=made.tasks)
        finally:
            assert not _letters(made.timeline.events)


async def test_devices_come_after_all_of_the_ram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtio device that is loaded looks into its rings, which are in the RAM."""
    folder, file = tmp_path / "two", tmp_path / "memory.zst"
    folder.mkdir()
    await _saved(tmp_path, file)
    connected, order = threading.Event(), list[str]()
    unpack, execute = Unpacker.unpack, Monitor.execute

    def slowly(self: Unpacker, ram: int) -> None:
        assert connected.wait(30)
        unpack(self, ram)
        order.append("ram")

    async def told(self: Monitor, command: str, **arguments: Any) -> Any:
        connected.set()
        order.append(command)
        return await execute(self, command, **arguments)

    monkeypatch.setattr(Unpacker, "unpack", slowly)
    monkeypatch.setattr(Monitor, "execute", told)
    async with (
        unpacking(file) as unpacked,
        bench(
            folder,
            disks=[_disk(folder)],
            memory_mib=64,
            incoming=True,
            ram=unpacked.ram,
        ) as made,
    ):
        version = partial(made.machine.monitor.execute, "query-version")
        await unpacked.load(made.machine, timeline=made.timeline, tasks=made.tasks, started=version)
        await made.machine.let_go()
        await _until_letters(made, 3)
    assert order.index("query-version") < order.index("ram") < order.index("migrate-incoming")


async def test_what_is_given_up_half_way_ends_at_once(tmp_path: Path) -> None:
    file = tmp_path / "memory.zst"
    await _saved(tmp_path, file)
    async with unpacking(file) as unpacked:
        pass
    assert unpacked.ram.fileno() == -1


async def test_a_device_that_qemu_cannot_save_is_told(tmp_path: Path) -> None:
    disk = _disk(tmp_path, "nvme")
    async with bench(tmp_path, disks=[disk], memory_mib=64) as made:
        await made.machine.power_on()
        await made.machine.monitor.execute("stop")
        version = (await made.machine.monitor.execute("query-version"))["qemu"]["major"]
        saving = save_memory(made.machine, tmp_path / "m", timeline=made.timeline, tasks=made.tasks)
        if version > 10:  # which can
            await saving
        else:
            with pytest.raises(MemoryRefused, match="nvme"):
                await saving
        await made.machine.monitor.execute("cont")
        await _until_letters(made, 3)


async def test_a_full_disk_is_told_and_the_machine_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path, disks=[_disk(tmp_path)], memory_mib=64) as made:
        await made.machine.power_on()
        await made.machine.monitor.execute("stop")
        with pytest.raises(MemoryRefused, match="No space left"):
            await save_memory(
                made.machine, Path("/dev/full"), timeline=made.timeline, tasks=made.tasks
            )
        await made.machine.monitor.execute("cont")
        await _until_letters(made, 3)
