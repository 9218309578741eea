"""Real machines on a host that takes their CPU away: deadlines stretch, and never a false failure.

The lab and a few programs that only burn time share one CPU, so that the rest of the host goes on.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from harness.errors import LabError
from harness.host.load import LoadMeter
from harness.phases import Party
from harness.progress import PlainProgress
from harness.scenario.prepare import prepare
from harness.scenario.resolve import load_items
from harness.scenario.runner import Listener, Outcome, RunResult, run_item
from harness.timeline import Event, named
from harness.verdict import how_busy

pytestmark = pytest.mark.boot

SCENARIO: Final = """\
scenario: A firmware asks for its address
machine: {{mac: "52:54:00:12:34:5b", firmware: bios, accel: tcg}}
expect:
  - event: dhcp.ack.sent
deadline: {deadline} s
"""
_BURN: Final = "ulimit -t 60; while :; do :; done"


class Hogs:
    """Programs that take all of one CPU they can get, from power-on to the end of the run."""

    def __init__(self, count: int, cpu: int) -> None:
        self._count = count
        self._cpu = cpu
        self._running: list[subprocess.Popen[bytes]] = []

    def hear(self, event: Event) -> None:
        """Begin and end with the machine."""
        if event.name == "machine.powered_on":
            for _ in range(self._count):
                # A session each: where the kernel shares by sessions, each counts as one.
                one = subprocess.Popen(["sh", "-c", _BURN], start_new_session=True)
                os.sched_setaffinity(one.pid, {self._cpu})
                self._running.append(one)
        elif event.name in ("lab.stopped", "run.finished", "host.too_slow"):
            self.stop()

    def stop(self) -> None:
        """End them all."""
        while self._running:
            one = self._running.pop()
            one.kill()
            one.wait()


@contextmanager
def hogs(count: int) -> Iterator[Listener]:
    """Share one CPU with ``count`` programs while a machine runs; give what starts them."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    burning = Hogs(count, cpu)
    os.sched_setaffinity(0, {cpu})  # the lab inherits it
    try:
        yield burning.hear
    finally:
        burning.stop()
        os.sched_setaffinity(0, before)


def boot(folder: Path, *, deadline_s: int, beside: int) -> RunResult:
    """Boot the machine beside some hogs."""
    if LoadMeter().read().by != "run_delay":
        pytest.skip("this kernel counts no run delay")
    file = folder / "address.yaml"
    file.write_text(SCENARIO.format(deadline=deadline_s))
    [item] = load_items(file, known_images=frozenset())

    async def run() -> RunResult:
        [ready] = await prepare([item], progress=PlainProgress(), runs=folder)
        with hogs(beside) as listener:
            return await run_item(ready, runs=folder / "runs", listener=listener)

    try:
        return asyncio.run(run())
    except LabError as error:
        pytest.skip(str(error))


def test_a_busy_host_stretches_the_deadline(tmp_path: Path) -> None:
    result = boot(tmp_path, deadline_s=5, beside=2)
    busy = how_busy(result.events)
    assert busy is not None
    assert busy.stretch > 1.3
    # A host may be too slow; that is never a failure of what was tested.
    assert result.outcome in (Outcome.PASSED, Outcome.HOST_TOO_SLOW), result.verdict
    assert sum(float(e["machine_waited_s"]) for e in named(result.events, "host.stalled")) > 1


def test_a_lab_that_starves_ends_as_host_too_slow(tmp_path: Path) -> None:
    """Beside thirty programs on its CPU a machine gets no second's work done in four seconds."""
    result = boot(tmp_path, deadline_s=1, beside=30)
    assert result.outcome is Outcome.HOST_TOO_SLOW, result.verdict
    assert result.verdict.blame is Party.HOST
    [event] = named(result.events, "host.too_slow")
    assert event["granted_s"] < event["given_s"] <= 1  # the wait began a little later
    assert "the host is too slow: in" in result.verdict.because
    assert named(result.events, "dossier.begun") == []  # nothing hangs
    text = (result.run_dir / "report.html").read_text()
    assert "<h1>The host was too slow in" in text
