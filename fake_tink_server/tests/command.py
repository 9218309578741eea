"""The command as a process, and what reads its terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Command:
    """A running ``python -m fake_tink_server``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    async def until(self, words: str) -> str:
        """Return the first line of standard output that has ``words``."""
        assert self.process.stdout is not None
        seen = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                async for line in self.process.stdout:
                    seen += line
                    if words in line.decode():
                        return line.decode()
        self.process.kill()
        _, err = await self.process.communicate()
        raise AssertionError(f"no {words!r} in:\n{seen.decode()}{err.decode()}")

    async def ended(self) -> tuple[int, str, str]:
        """Return exit status and the rest of both outputs."""
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def command(
    *arguments: str, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Command]:
    """Start the command; it listens on a port of its own choice."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fake_tink_server", "--port", "0", *arguments),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
