"""A whole lab, saved and resumed: the machine is iPXE, which asks for its script.

What is on the disk may be damaged, foreign or half-written: a run ends as it would have without.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoint.memory import NAME
from harness.checkpoint.store import MANIFEST, CheckpointStore
from harness.facts import began_at
from harness.hook.store import digest_of, write_json
from harness.paths import CHECKPOINTS, cache_root, source_root
from harness.report.record import RunRecord, read_run
from harness.tests.endings import Run
from harness.timeline import named

pytestmark = pytest.mark.boot

SCENARIO = """\
scenario: iPXE gets a script, and a kernel that is none
hook: hook
machine: {mac: "52:54:00:12:34:61", firmware: uefi, disks: [{name: vda, size: 16 MiB}]}
profile: fast
expect:
  - event: {name: http.script.served}
"""
BOOTS = timedelta(minutes=5)


class Runs:
    """Runs of one scenario, with checkpoints of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.cache.mkdir()
        for path in cache_root().iterdir():  # all but the checkpoints is built already
            if path.name != CHECKPOINTS:
                (self.cache / path.name).symlink_to(path)
        (folder / "hook").mkdir()
        for name in ("vmlinuz-x86_64", "initramfs-x86_64"):
            (folder / "hook" / name).write_bytes(b"nothing that boots")
        (folder / "tiny.yaml").write_text(SCENARIO)
        self.store = CheckpointStore(self.cache / CHECKPOINTS, limit_bytes=1 << 40)
        self._count = 0
        self._open: list[Run] = []

    def begin(self, start: str = "ipxe") -> Run:
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        folder.mkdir()
        run = Run(
            self.folder / "tiny.yaml",
            folder,
            env={"HOOKLAB_CACHE": str(self.cache)},
            start=start,
        )
        self._open.append(run)
        return run

    def finish(self, run: Run) -> RunRecord:
        words = run.process.communicate(timeout=BOOTS.total_seconds())[0]
        assert run.process.returncode == 0, words
        return read_run(run.run_dir)

    def run(self, start: str = "ipxe") -> RunRecord:
        return self.finish(self.begin(start))

    @property
    def kept(self) -> Path:
        [kept] = self.store.kept()
        return kept.folder

    def close(self) -> None:
        for run in self._open:
            run.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    made = Runs(tmp_path_factory.mktemp("checkpoints"))
    yield made
    made.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Runs]:
    """Return runs with a checkpoint that no other test makes anew."""
    made = Runs(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def built(runs: Runs) -> RunRecord:
    """The run that has made the checkpoint."""
    return runs.run()


def _names(run: RunRecord) -> list[str]:
    return [event.name for event in run.events]


def _lines(run: RunRecord) -> list[str]:
    return [
        str(event["text"])
        for event in named(run.events, "console.line.seen")
        if event["console"] == "ttyS0" and not event.get("partial")
    ]


def test_a_lab_goes_on_in_another_run(alone: Runs) -> None:
    built = alone.run()
    [saved] = named(built.events, "checkpoint.saved")
    assert saved["point"] == "ipxe"
    assert saved["duration_s"] < 10
    assert saved["bytes"] < 100 << 20
    record = alone.run()
    [resumed] = named(record.events, "lab.resumed")
    assert resumed["key"] == saved["key"]
    # one story: each thing once, numbered without gaps, the clock never goes back
    assert [event.seq for event in record.events] == list(range(1, len(record.events) + 1))
    times = [event.t for event in record.events[1:]]  # the first was told before
    assert times == sorted(times)
    for name in ("run.started", "machine.powered_on", "lab.started", "http.script.served"):
        assert _names(record).count(name) == 1, name
    before = [e for e in built.events if e.t < resumed.t and e.name.startswith("dhcp.")]
    again = [e for e in record.events if e.t < resumed.t and e.name.startswith("dhcp.")]
    assert [(e.t, e.name, e.fields) for e in before] == [(e.t, e.name, e.fields) for e in again]
    assert _lines(record)[:20] == _lines(built)[:20]
    # The files are whole, too. What iPXE says of the kernel depends on when the lab ends.
    serials = [
        (run.run_dir / "serial-ttyS0.log").read_bytes().partition(b"vmlinuz")
        for run in (built, record)
    ]
    assert serials[0][:2] == serials[1][:2]
    assert serials[0][1], serials
    assert (record.run_dir / "capture.pcapng").stat().st_size > 1000
    assert "resumed at ipxe" in (record.run_dir / "report.html").read_text()


def test_cold_uses_and_makes_none(runs: Runs, built: RunRecord) -> None:
    before = runs.kept.stat().st_mtime_ns
    record = runs.run("cold")
    assert not {"lab.resumed", "checkpoint.saved"} & set(_names(record))
    assert runs.kept.stat().st_mtime_ns == before


def _flip(file: Path, *, silently: bool) -> None:
    facts = file.stat()
    with file.open("r+b") as stream:
        stream.seek(facts.st_size // 2)
        octet = stream.read(1)
        stream.seek(facts.st_size // 2)
        stream.write(bytes([octet[0] ^ 0x20]))
    if silently:  # as a disk that goes bad does
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _of_another_qemu(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["digest"]
    manifest["meta"]["qemu"] = {"qemu": {"major": 6, "minor": 1, "micro": 0}, "package": "old"}
    write_json(folder / MANIFEST, {**manifest, "digest": digest_of(manifest)})


HARM: dict[str, tuple[Callable[[Path], Any], str]] = {
    "damaged": (lambda folder: _flip(folder / NAME, silently=False), ""),
    "damaged, unseen": (lambda folder: _flip(folder / NAME, silently=True), "memory"),
    "another QEMU": (_of_another_qemu, "another QEMU: 6.1.0 old"),
}


@pytest.mark.parametrize("harm", HARM)
def test_one_of_no_use_is_told_and_made_again(runs: Runs, built: RunRecord, harm: str) -> None:
    do, words = HARM[harm]
    do(runs.kept)
    record = runs.run()
    assert "lab.resumed" not in _names(record)
    refused = named(record.events, "checkpoint.refused")
    assert bool(refused) == bool(words)
    if words:
        assert words in refused[0]["reason"]
    assert named(record.events, "checkpoint.saved")
    for name in ("machine.powered_on", "http.script.served", "lab.started"):
        assert _names(record).count(name) == 1
    assert "lab.resumed" in _names(runs.run())


def test_kill_9_while_it_is_saved_leaves_nothing(runs: Runs, built: RunRecord) -> None:
    assert runs.store.remove(runs.kept.name)
    run = runs.begin()
    run.wait_for("qmp.event.seen", within=BOOTS, event="STOP")
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert not runs.store.kept()
    record = runs.run()
    assert named(record.events, "checkpoint.saved")
    assert "lab.resumed" in _names(runs.run())


def test_kill_9_while_it_is_resumed_harms_nothing(runs: Runs, built: RunRecord) -> None:
    run = runs.begin()
    run.wait_for("run.started", within=BOOTS)
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert "lab.resumed" in _names(runs.run())


def test_guest_and_lab_agree_on_the_time_after_a_resume(tmp_path: Path) -> None:
    """Docker in the guest stamps what it logs; the lab has a calendar of its own."""
    for attempt in ("first", "second"):  # unless somebody else did, the first makes the checkpoint
        folder = tmp_path / attempt
        folder.mkdir()
        options = ["-k", "hello[uefi]"]
        run = Run(
            source_root() / "scenarios" / "hello.yaml", folder, options=options, start="hook-up"
        )
        try:
            words = run.process.communicate(timeout=2 * BOOTS.total_seconds())[0]
        finally:
            run.close()
        assert run.process.returncode == 0, words
        record = read_run(run.run_dir)
        if "lab.resumed" in _names(record):
            break
    [resumed] = named(record.events, "lab.resumed")
    assert "resumed at hook-up" in words
    began = datetime.fromisoformat(began_at(record.events))
    off: dict[bool, list[float]] = {False: [], True: []}
    for event in named(record.events, "console.line.seen"):
        if stamp := re.search(r'time="(\S+?)\.?(\d{0,6})\d*Z"', str(event["text"])):
            there = datetime.fromisoformat(f"{stamp[1]}.{stamp[2]:0<6}+00:00")
            here = began + timedelta(seconds=event.t)
            off[event.t > resumed.t].append((here - there).total_seconds())
    # A line is seen a little after it was stamped, and on a busy host later.
    assert -0.5 < min(off[False]) < 2
    assert -0.5 < min(off[True]) < 2
    assert abs(min(off[True]) - min(off[False])) < 1.5
