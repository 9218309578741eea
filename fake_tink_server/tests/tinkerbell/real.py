"""``linuxkit/tools/tinkerbell``: Tinkerbell's server and controller, on no cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from harness.clock import Deadline
from harness.hook.tools import ensure_tool
from harness.paths import cache_root
from harness.process import minimal_environment
from harness.progress import SilentProgress
from harness.tasks import TaskKeeper

_PATIENCE: Final = timedelta(seconds=20)
_LINE: Final = 1 << 26
"""Octets: a state is one line."""


class RealTinkerbell:
    """One running program."""

    def __init__(self, process: asyncio.subprocess.Process, tasks: TaskKeeper) -> None:
        self._process = process
        self._tasks = tasks
        self.once = ""
        """``address:port`` of the server that tries once."""
        self.patient = ""
        """``address:port`` of Tinkerbell's own server, which tries again for a minute."""

    async def read(self) -> dict[str, Any]:
        """Return the next line."""
        assert self._process.stdout is not None
        line = await self._tasks.race(
            self._process.stdout.readline(), Deadline.after(_PATIENCE), waiting_for="an answer"
        )
        assert line, "the program ended"
        answer = json.loads(line)
        assert isinstance(answer, dict)
        assert "error" not in answer, answer["error"]
        return answer

    async def command(self, do: str, **more: Any) -> dict[str, Any]:
        """Give a command; return the state after it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        return await self.read()

    async def load(
        self,
        objects: Sequence[Mapping[str, Any]],
        now: int,
        *,
        hide: int = 0,
        auto: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Forget everything and begin with ``objects`` at ``now`` (seconds since the epoch).

        The first ``hide`` times an agent's workflows are looked for, none is found. ``auto`` has
        the keys ``Enrollment``, ``Discovery``, ``Namespace`` and ``EnrollmentEnabled``.
        """
        given = {"objects": list(objects), "now": now, "hide": hide, "auto": dict(auto or {})}
        return await self.command("load", **given)


@asynccontextmanager
async def real_tinkerbell(tool: str = "tinkerbell") -> AsyncIterator[RealTinkerbell]:
    """Run the program, which is built when it was not; ``tink`` is v0.12.2's."""
    program = await ensure_tool(tool, cache_root(), SilentProgress())
    process = await asyncio.create_subprocess_exec(
        program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=minimal_environment({"GOGC": "800"}),
        limit=_LINE,
    )
    tasks = TaskKeeper()
    try:
        real = RealTinkerbell(process, tasks)
        told = await real.read()
        real.once, real.patient = told["once"], told.get("patient", "")
        yield real
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await tasks.close()
