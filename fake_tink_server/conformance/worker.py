"""The program under test: started, watched, ended. It and all it starts form one session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import SetupFailed


class WorkerProcess:
    """One run of a worker program."""

    def __init__(
        self, *, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        """Prepare to start ``command`` with ``environment`` on top of the caller's own.

        The caller's environment passes, as with ``env``: it is where a user sets what his worker
        needs. Output of all runs is appended to ``log``.
        """
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the program. Raises ``SetupFailed`` when it can't be."""
        with self._log.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=self._environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise SetupFailed(
                    f"{self._command[0]} can't be started: {error.strerror}",
                    hint="what follows -- is a program and its arguments, without a shell",
                ) from error

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process. Only after ``start``."""
        assert self._process is not None
        return self._process

    @property
    def started(self) -> bool:
        """Whether there is a process, dead or alive."""
        return self._process is not None

    def output(self) -> str:
        """Return all that was printed so far, by every run."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def last_words(self) -> str:
        """Return the last line printed, shortened; empty when nothing was."""
        lines = self.output().strip().splitlines()
        return lines[-1][:300] if lines else ""

    def cpu_s(self) -> float:
        """Return the CPU seconds that the program's processes alive now have used."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # after the name in parentheses: state ppid pgrp session … utime(14) stime(15)
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Kill the program and what it started; wait for the program. Idempotent."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
