"""One way to run another program: explicit environment, closed stdin, its words kept.

``run`` waits for a program and returns what it printed; ``command_line`` is how a command is
shown to people: something they can paste into a shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import LabError
from harness.tasks import in_any_case

_KEPT = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "GOPROXY", "GONOSUMDB", "GOSUMDB", "GOFLAGS")
_KEPT_SUFFIXES = ("_proxy", "_PROXY", "_CERT_FILE", "_CERT_DIR", "_CA_BUNDLE")


class CommandFailed(LabError):
    """A program ended with a status that means failure, or could not be started."""

    def __init__(self, argv: Sequence[str], status: int | None, output: str) -> None:
        tail = "\n".join(output.strip().splitlines()[-20:])
        how = "could not be started" if status is None else f"failed with status {status}"
        super().__init__(f"{argv[0]} {how}: {command_line(argv)}" + (f"\n{tail}" if tail else ""))
        self.status = status
        self.output = output


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a program left behind."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes


def command_line(argv: Sequence[str]) -> str:
    """Return ``argv`` as a line that can be pasted into a shell."""
    return shlex.join(argv)


def minimal_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the few variables a child program gets, plus ``extra``.

    Proxy and certificate settings pass, since downloads need them; nothing else of the caller's
    environment leaks into a build.
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in _KEPT or key.endswith(_KEPT_SUFFIXES)
    }
    return {"LC_ALL": "C.UTF-8", **kept, **(extra or {})}


async def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    ok: Sequence[int] = (0,),
    on_line: Callable[[str], None] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end.

    ``env`` is added to the minimal environment. ``on_line`` is called with each line of stderr as
    it comes, for progress. ``pass_fds`` stay open in the program. Raises ``CommandFailed`` when the
    status is not one of ``ok``. When the caller is cancelled the program and what it started are
    killed and waited for.
    """
    words = tuple(os.fspath(word) for word in argv)
    try:
        process = await start_program(
            *words,
            cwd=cwd,
            env=minimal_environment(env),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            pass_fds=pass_fds,
            process_group=0,  # so that it can be ended with all that it started
        )
    except OSError as error:
        raise CommandFailed(words, None, str(error)) from error
    assert process.stdout is not None
    assert process.stderr is not None

    async def feed() -> None:
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await process.stdin.drain()
            process.stdin.close()

    async def read_stderr(stream: asyncio.StreamReader) -> bytes:
        kept: list[bytes] = []
        while line := await stream.readline():
            kept.append(line)
            if on_line:
                on_line(line.decode(errors="replace").rstrip("\n"))
        return b"".join(kept)

    try:
        _, stdout, stderr = await asyncio.gather(
            feed(), process.stdout.read(), read_stderr(process.stderr)
        )
        status = await process.wait()
    except BaseException:
        await in_any_case(_end(process, leads=True))
        raise
    if status not in ok:
        raise CommandFailed(words, status, (stdout + stderr).decode(errors="replace"))
    return Completed(argv=words, status=status, stdout=stdout, stderr=stderr)


async def start_program(
    *argv: str | os.PathLike[str], **options: Any
) -> asyncio.subprocess.Process:
    """Start a program as ``asyncio.create_subprocess_exec`` does, or leave nothing behind.

    asyncio drops a program whose start is cancelled half-way, with its pipes open (CPython 3.11:
    a pipe connected after the transport was closed is closed by nobody). Here it is killed and
    waited for.
    """
    leads = options.get("process_group") == 0 or bool(options.get("start_new_session"))
    starting = asyncio.ensure_future(  # noqa: TID251 - waited for right here
        asyncio.create_subprocess_exec(*argv, **options)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:

        async def undo() -> None:
            with contextlib.suppress(OSError):
                await _end(await starting, leads=leads)

        await in_any_case(undo())
        raise


class Ends(Protocol):
    """A program, as far as it can be ended."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs or nobody waited for it."""


def send_signal(process: Ends, number: int = signal.SIGKILL) -> None:
    """Send a signal to a program; nothing happens when it has ended.

    ``Process.kill`` and its like ask the kernel first whether the program has ended. When it just
    has, that takes its status from the thread of asyncio which waits for it: the status is lost,
    and a warning is printed (CPython before 3.13).
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def _end(process: asyncio.subprocess.Process, *, leads: bool) -> None:
    """Kill a program and what it started, and wait until nobody holds its pipes any more.

    A compiler or a shell leaves others behind that hold the same pipes: with the program alone
    dead they would go on at work, and the loop could not close. The program itself may have ended
    before them; its process group, which it ``leads``, has its number for as long as one is left.
    """
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    if not leads:
        send_signal(process)
    elif process.returncode is None or not all(stream.at_eof() for stream in streams):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    for stream in streams:
        while await stream.read(1 << 16):
            pass
