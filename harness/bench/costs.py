"""What the records of a run cost: its timeline while it goes on, its report afterwards."""

from __future__ import annotations

import asyncio
import shutil
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from harness.bench.table import Row, ratio
from harness.net import pcapng
from harness.paths import source_root
from harness.process import run
from harness.progress import PlainProgress
from harness.timeline import Timeline, read_timeline

REPORT_GOAL_S: Final = 3.0
REPORT_GOAL_MB: Final = 3.0
_EVENTS: Final = 100_000
_FRAMES: Final = 200_000
_RUN_S: Final = 60
_SERVER: Final = "192.168.77.1"
_CLIENT: Final = "192.168.77.10"
_MACS: Final = bytes.fromhex("525400000009" + "02686f6f6b01")


async def measure_timeline(
    *, times: int, scratch: Path, progress: PlainProgress, events: int = _EVENTS
) -> list[Row]:
    """Return what so many events cost, against a file that is given the same lines."""
    ours: list[tuple[float, float]] = []
    floor: list[tuple[float, float]] = []
    back: list[tuple[float, float]] = []
    path = scratch / "timeline.jsonl"
    with progress.step(f"timeline: {events:,} events"):
        for _ in range(times):
            ours.append(await asyncio.to_thread(_record, path, events))
            lines = (await asyncio.to_thread(path.read_text, "utf-8")).splitlines(keepends=True)
            floor.append(await asyncio.to_thread(_write, scratch / "lines", lines))
            back.append(await asyncio.to_thread(_read, path, events))

    def row(what: str, found: list[tuple[float, float]], how: str = "") -> Row:
        wall, cpu = zip(*found, strict=True)
        return Row(what=what, samples=wall, cpu=cpu, by="best", how=how)

    recorded = row(
        f"{events:,} events recorded",
        ours,
        "each handed to the kernel before the next, one listener",
    )
    plain = row(
        f"{events:,} lines written", floor, "the same lines, ready-made, flushed one by one"
    )
    return [
        recorded,
        plain,
        ratio("  recorded / written", recorded, plain),
        row(f"{events:,} events read back", back),
    ]


def _timed() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _record(path: Path, events: int) -> tuple[float, float]:
    timeline = Timeline(path)
    heard = 0

    def listen(event: object) -> None:
        nonlocal heard
        heard += 1

    timeline.subscribe(listen)
    began = _timed()
    for number in range(events):
        timeline.record(
            "tftp",
            "tftp.transfer.progressed",
            id=f"t{number}",
            file="ipxe.efi",
            bytes=number,
            length=1_061_376,
        )
    took = _since(began)
    timeline.close()
    assert heard == events
    return took


def _write(path: Path, lines: list[str]) -> tuple[float, float]:
    with path.open("w", encoding="utf-8") as file:
        began = _timed()
        for line in lines:
            file.write(line)
            file.flush()
        return _since(began)


def _read(path: Path, events: int) -> tuple[float, float]:
    began = _timed()
    found = read_timeline(path)
    took = _since(began)
    assert len(found) == events
    return took


# -- the report


async def measure_report(
    *, times: int, scratch: Path, progress: PlainProgress, frames: int = _FRAMES
) -> list[Row]:
    """Return what the page of a run of a minute takes, against tshark's look at its capture."""
    folder = scratch / "run"
    with progress.step(f"report: a run with {frames:,} frames"):
        await asyncio.to_thread(_make_run, folder, frames)
    ours: list[float] = []
    theirs: list[float] = []
    size = 0
    for number in range(1, times + 1):
        with progress.step(f"report {number} of {times}"):
            seconds, size = await asyncio.to_thread(_report, folder)
            ours.append(seconds)
            if shutil.which("tshark"):
                began_s = time.perf_counter()
                await run(["tshark", "-n", "-r", str(folder / "capture.pcapng"), "-q"])
                theirs.append(time.perf_counter() - began_s)
    page = Row(
        what=f"the report of {frames:,} frames",
        samples=tuple(ours),
        by="best",
        goal=REPORT_GOAL_S,
        how="verdict, timeline, every frame looked at, the page written",
    )
    rows = [
        page,
        Row(what="  its size", samples=(size / 1e6,), unit="MB", goal=REPORT_GOAL_MB),
    ]
    if theirs:
        tshark = Row(
            what="tshark, the same capture",
            samples=tuple(theirs),
            by="best",
            how="dissects every frame and prints none",
        )
        rows += [tshark, ratio("  the report / tshark", page, tshark)]
    return rows


def _report(folder: Path) -> tuple[float, int]:
    from harness.report.html import write_report

    began_s = time.perf_counter()
    page = write_report(folder)
    return time.perf_counter() - began_s, page.stat().st_size


def _make_run(folder: Path, frames: int) -> None:
    """Write a run folder of a machine that downloads for a minute."""
    from harness.hook.images import known_images
    from harness.scenario.item import LOCK_NAME
    from harness.scenario.lock import write_lock
    from harness.scenario.resolve import load_items

    folder.mkdir()
    timeline = Timeline(folder / "timeline.jsonl")
    wall = timeline.clock.started_at
    timeline.record("run", "run.started", wall=wall.isoformat())
    timeline.record("http", "service.started", service="http", port=7080)
    for number in range(frames // 10):
        text = f"[{number / 300:12.6f}] what a kernel has to say, number {number}"
        timeline.record("machine", "console.line.seen", console="ttyS0", text=text)
    timeline.record("run", "run.finished", outcome="ended")
    timeline.close()
    hello = source_root() / "scenarios" / "hello.yaml"
    write_lock(load_items(hello, known_images=frozenset(known_images()))[0], folder / LOCK_NAME)
    (folder / "serial-ttyS0.log").write_bytes(b"[    1.000000] a line of a console\r\n" * frames)
    base_ns = int(wall.timestamp() * 1e9)
    with (folder / "capture.pcapng").open("wb") as file:
        file.write(pcapng.section(application="hooklab") + pcapng.interface("hook0"))
        for number, frame in enumerate(_download(frames)):
            file.write(pcapng.packet(base_ns + number * _RUN_S * 10**9 // frames, frame))


def _download(frames: int) -> Iterator[bytes]:
    """Yield a request now and then, full segments, and an acknowledgement for every second."""
    web, client = (_SERVER, 7080), (_CLIENT, 40_000)
    request = b"GET /vmlinuz HTTP/1.1\r\nHost: 192.168.77.1:7080\r\n\r\n"
    bulk, answer = _segment(web, client, bytes(1400)), _segment(client, web, b"")
    ask = _segment(client, web, request)
    for number in range(frames):
        yield ask if number % 1000 == 0 else answer if number % 3 == 2 else bulk


def _segment(source: tuple[str, int], destination: tuple[str, int], data: bytes) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", source[1], destination[1], 1, 1, 80, 16, 8192, 0, 0)
    addresses = IPv4Address(source[0]).packed + IPv4Address(destination[0]).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0)
    return _MACS + b"\x08\x00" + head + addresses + tcp + data
