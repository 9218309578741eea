"""Every frame of the segment in one file that Wireshark opens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from harness.clock import Deadline
from harness.errors import LabError, SetupFailed
from harness.process import minimal_environment, send_signal, start_program
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

_START: Final = timedelta(seconds=10)
_STOP: Final = timedelta(seconds=5)
_SOURCES: Final = str(Path(__file__).resolve().parent.parent.parent)
RING_MIB: Final = 32
"""What may arrive while the recorder is not scheduled: at 200 MB/s, for 0.16 s."""


class CaptureFailed(LabError):
    """The recorder died; its file is whole up to that moment."""


class Capture:
    """Records all frames that pass ``interface``, both directions, to ``path``."""

    name = "capture"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        interface: str,
        path: Path,
        ring_mib: int = RING_MIB,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._interface = interface
        self._path = path
        self._ring_mib = ring_mib
        self._process: asyncio.subprocess.Process | None = None
        self._report: asyncio.Task[dict[str, int | str]] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The recorder's process id while there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Return once every later frame is captured. Raises ``SetupFailed``."""
        argv = (
            *("setpriv", "--pdeathsig", "KILL"),
            *(sys.executable, "-m", "harness.net.recorder"),
            *(self._interface, os.fspath(self._path), str(self._base_ns()), str(self._ring_mib)),
        )
        environment = minimal_environment({"PYTHONPATH": _SOURCES, "PYTHONSAFEPATH": "1"})
        try:
            self._process = await start_program(
                *argv,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SetupFailed(f"the capture can't start: {error.strerror}") from error
        assert self._process.stdout is not None
        first = await self._tasks.race(
            self._process.stdout.readline(),
            Deadline.after(_START),
            waiting_for="the capture's start",
        )
        if first != b"ready\n":
            await self._process.wait()
            raise SetupFailed(f"{self._interface} can't be captured: {_error(first)}")
        self._report = self._tasks.spawn(self._watch(self._process), name="capture")
        self._timeline.record(
            self.name, "capture.started", file=str(self._path), interface=self._interface
        )

    def _base_ns(self) -> int:
        clock = self._timeline.clock
        return int(clock.started_at.timestamp() * 1e9) - int(clock.origin_s * 1e9)

    def follow_clock(self) -> None:
        """Stamp later frames by the run's clock as it goes on after it was held."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{self._base_ns()}\n".encode())

    async def _watch(self, process: asyncio.subprocess.Process) -> dict[str, int | str]:
        assert process.stdout is not None
        words = await process.stdout.read()
        status = await process.wait()
        if status != 0 or not self._stopping:
            raise CaptureFailed(
                f"the capture of {self._interface} ended with status {status}: {_error(words)}",
                hint=f"is the disk full? {self._path} is whole up to that moment",
            )
        report: dict[str, int | str] = json.loads(words)
        return report

    async def stop(self) -> None:
        """Write what is still in the ring and close the file; idempotent, takes 60 ms."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._report is None:  # it has not started, and does not any more
            send_signal(process)
            await process.wait()
            return
        self._stopping = True
        assert process.stdin is not None
        process.stdin.close()
        done, _ = await asyncio.wait({self._report}, timeout=_STOP.total_seconds())
        if not done:
            send_signal(process)
            await asyncio.wait({self._report})
        if not self._report.cancelled() and self._report.exception() is None:
            self._timeline.record(self.name, "capture.stopped", **self._report.result())


def _error(words: bytes) -> str:
    with contextlib.suppress(ValueError, TypeError):
        return str(json.loads(words).get("error", "no reason given"))
    return words.decode(errors="replace").strip() or "no reason given"
