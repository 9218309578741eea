"""A process that has imported all that a lab needs, and forks the lab of each run from there.

A run begins with 0.4 s of imports, 1 s where both of two CPUs are busy. When many runs follow each
other these are done once: the zygote (Android's word) imports, then forks sealed processes, in the
same namespaces that ``harness.seal`` has ``unshare`` make.

::

    this process ── zygote ── the seal (pid) ── PID 1 of the namespaces ── the lab
         └─ datagrams, each a request ──┘                with its stdin, stdout, stderr, brief, fate

The zygote itself runs no thread and no event loop, so that what it forks begins as a program does.
The seal tells its process id and its exit status through ``fate``, a pipe of its own: whoever waits
for it needs neither the zygote nor the event loop that asked for it. As in ``harness.seal``, each
process dies with the one that it was started by.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self

from harness.namespaces import die_with, enter_namespaces, mount_proc
from harness.process import minimal_environment, send_signal
from harness.seal import SOURCES, Launch, Program, seal_by_unshare
from harness.tasks import in_any_case

_LAB: Final = ("harness.sealed", "harness.resuming", "harness.services.http_server")
"""The program, and what it imports when it comes to it."""
_FORKS_WITHIN_S: Final = 60.0
"""Its imports included."""
_ENDS_WITHIN_S: Final = 10.0
_Main = Callable[[list[str]], int]
_MOST: Final = 1 << 16
"""Octets of a request."""
_MOST_DESCRIPTORS: Final = 16


class Forked:
    """A seal that was forked: what ``asyncio.subprocess.Process`` is for one that was executed."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, fate: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._fate = fate

    async def wait(self) -> int:
        """Return its exit status, negative for a signal."""
        told = await self._fate.read()
        if self.returncode is None:
            self.returncode = int(told) if told else -signal.SIGKILL
        return self.returncode


class Zygote:
    """Starts a module's ``main`` for ``harness.seal``, again and again.

    It lives until ``close``, and so does all that it forked.
    """

    def __init__(self, modules: Sequence[str] = _LAB) -> None:
        """``modules`` are imported before anything is forked; the first one is the program."""
        self._modules = modules
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def begin(self) -> None:
        """Let it import what it needs, beside whatever is done until ``start``. Raises nothing."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        name = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "harness.zygote"]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*name, str(theirs.fileno()), *self._modules],
                    env=minimal_environment({"PYTHONPATH": SOURCES, "PYTHONSAFEPATH": "1"}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    pass_fds=[theirs.fileno()],
                )
            except OSError:  # ``start`` says what is missing
                ours.close()
                return
        self._control = ours

    async def start(self, launch: Launch) -> Program:
        """Start ``python -m PROGRAM …`` as ``seal_by_unshare`` does.

        Where nothing can be forked it is done by that.
        """
        assert list(launch.argv[:3]) == [sys.executable, "-m", self._modules[0]]
        self.begin()
        forking = asyncio.ensure_future(  # noqa: TID251 - waited for right here
            self._fork(launch)
        )
        try:
            forked = await asyncio.shield(forking)
        except asyncio.CancelledError:

            async def undo() -> None:
                if (begun := await forking) is not None:
                    send_signal(begun)
                    await begun.wait()

            await in_any_case(undo())
            raise
        return forked or await seal_by_unshare(launch)

    async def _fork(self, launch: Launch) -> Forked | None:
        """Return what was forked, or None."""
        if self._control is None:
            return None
        stdout_end, stdout = os.pipe()
        fate_end, fate = os.pipe()
        streams = [await _reader(end) for end in (stdout_end, fate_end)]
        request = {
            "argv": list(launch.argv[2:]),
            "env": dict(launch.env),
            "fds": list(launch.pass_fds),
        }
        given = [launch.stdin, stdout, launch.stderr, fate, *launch.pass_fds]
        try:
            message = json.dumps({**request, "cwd": str(Path.cwd())}).encode()
            if len(message) > _MOST:
                return None
            socket.send_fds(self._control, [message], given)
        except OSError:
            return None
        finally:
            os.close(stdout)
            os.close(fate)
        try:
            async with asyncio.timeout(_FORKS_WITHIN_S):
                told = await streams[1].readline()
        except TimeoutError:
            self.close()
            return None
        return Forked(int(told), *streams) if told else None

    def close(self) -> None:
        """End it. May be called twice."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN_S)
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _reader(end: int) -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(end, "rb", buffering=0)
    )
    return stream


# -- inner side


def main(argv: Sequence[str]) -> int:
    """Be the zygote; return its status, or that of the program in a process that was forked."""
    control = socket.socket(fileno=int(argv[1]))
    modules = [import_module(name) for name in argv[2:]]
    gc.freeze()  # what is here now is nobody's garbage, and its pages stay shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks it what became of the seals
    own = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MOST, _MOST_DESCRIPTORS)
        if not message:
            return 0
        if os.fork() == 0:
            control.close()
            return _seal(json.loads(message), descriptors, own, modules[0].main)
        for descriptor in descriptors:
            os.close(descriptor)


def _seal(request: dict[str, Any], descriptors: Sequence[int], zygote: int, program: _Main) -> int:
    """Be the seal, and never return; or the program in it, and return its status."""
    try:
        os.setsid()
        die_with(zygote)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        fate = _arranged(descriptors, [0, 1, 2, *request["fds"]])
        enter_namespaces()
        os.write(fate, b"%d\n" % os.getpid())
    except BaseException:
        os._exit(1)  # it was not told of: ``unshare``, which a host may allow more, is tried next
    status, inside, own = 1, -1, os.getpid()
    try:
        inside = os.fork()
        if inside != 0:
            status = os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1])
    except BaseException:
        traceback.print_exc()
    if inside == 0:
        os.close(fate)
        _begin(request, own)
        return program(request["argv"])
    with contextlib.suppress(OSError):
        os.write(fate, b"%d" % status)
    os._exit(0)


def _begin(request: dict[str, Any], seal: int) -> None:
    """Be PID 1 of the namespaces, with everything that the program was to have."""
    die_with(seal)
    mount_proc()
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    os.chdir(request["cwd"])


def _arranged(descriptors: Sequence[int], numbers: Sequence[int]) -> int:
    """Give descriptors the numbers that they have in the program; return where its fate is told.

    It is the fourth of them, and gets none.
    """
    above = max(*numbers, *descriptors) + 1  # out of each other's way
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, above) for each in descriptors]
    for each in descriptors:
        os.close(each)
    fate = moved.pop(3)
    for each, number in zip(moved, numbers, strict=True):
        os.dup2(each, number)
        os.close(each)
    # What the zygote had there were no pipes, which a stream finds out once.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        was = getattr(sys, name)
        stream = os.fdopen(
            *(number, "w" if number else "r", 1 if number == 2 else -1),
            encoding=was.encoding,
            errors=was.errors,
            closefd=False,
        )
        setattr(sys, name, stream)
    return fate


if __name__ == "__main__":
    sys.exit(main(sys.argv))
