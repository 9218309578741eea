"""The sealed process tree: one lab in its own network, PID and mount namespaces.

Outer side: ``seal`` starts a program inside new namespaces and ties its life to this process.
Inner side: the program calls ``settle_in`` first and watches ``life_line_ended``.

Three ties make sure that nothing outlives the process that started a lab:

1. ``setpriv --pdeathsig KILL`` and ``unshare --kill-child``: when the outer process dies, however
   it dies, the kernel kills ``unshare``, then the namespaces' PID 1, and with PID 1 everything in
   them: processes, bridge, taps, sockets, the private tmpfs.
2. The life line, a pipe that only the outer process can hold open. It covers the instant in which
   the outer process dies before the child asked for its death signal: the child sees end of file.
3. PID 1 itself watches the life line and ends the tree when its main process does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from harness.clock import Deadline
from harness.errors import HostUnfit, SetupFailed
from harness.host.hugepages import huge_pages_pay
from harness.namespaces import MS_NOSUID_NODEV, is_real_root, mount, namespace_options
from harness.process import Ends, minimal_environment, send_signal, start_program

PRIVATE_DIR: Final = Path("/dev/shm")
"""A tmpfs of the lab's own: sockets and temporary files go here and die with the lab.

It is not ``/tmp``, because a user's scenario, checkout or run folder may well lie below that.
"""

RAM_DIR: Final = PRIVATE_DIR / "ram"
"""Another, for machines' RAM: with huge pages where they pay, and whoever may start a machine may
fill it.
"""

_CONGESTION_CONTROL: Final = Path("/proc/sys/net/ipv4/tcp_congestion_control")
SOURCES: Final = str(Path(__file__).resolve().parent.parent)
"""Where Python finds hooklab, whatever the current folder."""
_STDIN: Final = 0
_STOP: Final = b"stop\n"
"""What goes over the life line before it is closed on purpose."""
_GRACE: Final = timedelta(seconds=15)
"""How long the main process may take to stop after the life line ended."""


WAY_IN_NAME: Final = "attach.json"


def started_at(pid: int) -> str | None:
    """Return when a process began, in the kernel's ticks; None when it is gone.

    Together with the process id this names a process for good: ids are used again.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19] if fields[0] != "Z" else None


# -- outer side


class Program(Ends, Protocol):
    """A program that was started, as ``asyncio.subprocess.Process`` shows one."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """What it writes."""

    async def wait(self) -> int:
        """Return its exit status, negative for a signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A program that is to be started in namespaces of its own."""

    argv: Sequence[str]
    env: Mapping[str, str]
    """All of its environment."""
    stdin: int
    stderr: int
    pass_fds: Sequence[int]
    """Descriptors that it has under the same numbers."""


Starter = Callable[[Launch], Awaitable[Program]]
"""Starts a program as ``seal`` says. Raises ``FileNotFoundError`` for what is not installed."""


class SealedProcess:
    """A program in its own namespaces, seen from outside. Made by ``seal``."""

    def __init__(
        self,
        process: Program,
        life_line: int,
        on_line: Callable[[str], None],
        run_dir: Path,
    ) -> None:
        self._process = process
        self._life_line: int | None = life_line
        self._on_line = on_line
        self._run_dir = run_dir
        self._told = False
        # Not TaskKeeper's: this task must never fail a lab, and is awaited by wait().
        self._ending = asyncio.get_running_loop().create_task(self._run())

    @property
    def pid(self) -> int:
        """The process id of ``unshare``; killing it kills the whole tree."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal, None while it runs."""
        return self._process.returncode

    async def _run(self) -> int:
        assert self._process.stdout is not None
        rest = b""
        try:
            while chunk := await self._process.stdout.read(1 << 16):
                *lines, rest = (rest + chunk).split(b"\n")
                self._tell_people_the_way_in()
                for line in lines:
                    self._on_line(line.decode(errors="replace"))
            if rest:
                self._on_line(rest.decode(errors="replace"))
            return await self._process.wait()
        except BaseException:
            self.kill()
            await self._process.wait()
            raise
        finally:
            self._close_life_line()

    @property
    def init_pid(self) -> int | None:
        """The id, out here, of the namespaces' PID 1; None before it runs."""
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    def _tell_people_the_way_in(self) -> None:
        """Write once into the run folder how to look into the running lab: ``attach.txt``.

        ``attach.json`` tells ``hooklab attach`` the same.
        """
        if self._told:
            return
        pid = self.init_pid
        if pid is None:
            return
        self._told = True
        spaces = "--user --preserve-credentials " if not is_real_root() else ""
        room = f"/proc/{pid}/root{PRIVATE_DIR}"
        way_in = {"pid": pid, "started": started_at(pid), "user": bool(spaces), "room": room}
        text = (
            "# While this lab runs (Ctrl-] leaves a console):\n"
            f"nsenter --target {pid} {spaces}--net --mount --pid\n"
            f"ls {room}\n"
            f"socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:{room}/machine-ttyS0\n"
            f"socat - UNIX-CONNECT:{room}/machine-qmp\n"
        )
        with contextlib.suppress(OSError):  # a convenience: a full disk is told by the timeline
            (self._run_dir / "attach.txt").write_text(text)
            (self._run_dir / WAY_IN_NAME).write_text(json.dumps(way_in) + "\n")

    async def wait(self) -> int:
        """Return the exit status once the program ended and its last line was delivered.

        Raises what ``on_line`` raised, after killing the tree.
        """
        return await asyncio.shield(self._ending)

    async def stop(self, deadline: Deadline) -> int:
        """Ask the program to stop by ending its life line; kill it at the deadline."""
        if self._life_line is not None:
            with contextlib.suppress(BrokenPipeError):  # it has just ended by itself
                os.write(self._life_line, _STOP)
        self._close_life_line()
        done, _ = await asyncio.wait({self._ending}, timeout=deadline.remaining_s)
        if not done:
            self.kill()
        return await self.wait()

    def kill(self) -> None:
        """End the whole tree now."""
        send_signal(self._process)

    def _close_life_line(self) -> None:
        if self._life_line is not None:
            os.close(self._life_line)
            self._life_line = None

    def last_words(self, lines: int = 20) -> str:
        """Return the end of ``lab.log``, for an error message."""
        with contextlib.suppress(OSError):
            text = (self._run_dir / "lab.log").read_text(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""


async def seal(
    argv: Sequence[str],
    *,
    run_dir: Path,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    start: Starter | None = None,
) -> SealedProcess:
    """Start ``argv`` in new namespaces, tied to the life of this process and thread.

    Each line of its stdout goes to ``on_line``, its stderr to ``run_dir/lab.log``. ``env`` is
    added to the minimal environment; ``pass_fds`` stay open in it. The program has a session of
    its own, so that Ctrl-C reaches only the caller. ``start`` is how: ``seal_by_unshare``. Raises
    ``HostUnfit`` when ``unshare`` or ``setpriv`` is missing; whether the host allows namespaces is
    the business of ``harness.namespaces.check``.
    """
    environment = minimal_environment(
        {
            "PYTHONPATH": SOURCES,
            "PYTHONSAFEPATH": "1",
            "TMPDIR": str(PRIVATE_DIR),
            **(env or {}),
        }
    )
    read_end, write_end = os.pipe()
    try:
        with (run_dir / "lab.log").open("ab") as log:
            launch = Launch(
                argv=argv,
                env=environment,
                stdin=read_end,
                stderr=log.fileno(),
                pass_fds=tuple(pass_fds),
            )
            process = await (start or seal_by_unshare)(launch)
    except FileNotFoundError as error:
        os.close(write_end)
        raise HostUnfit("setpriv is not installed", hint="install util-linux") from error
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return SealedProcess(process, write_end, on_line, run_dir)


async def seal_by_unshare(launch: Launch) -> Program:
    """Have util-linux start a program in new namespaces."""
    return await start_program(
        *("setpriv", "--pdeathsig", "KILL", "unshare", *namespace_options(), *launch.argv),
        env=launch.env,
        stdin=launch.stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=launch.stderr,
        start_new_session=True,
        pass_fds=launch.pass_fds,
    )


# -- inner side


def settle_in() -> None:
    """Make the namespaces a home: private tmpfs, usual TCP, an init that reaps orphans, signals.

    Called by the sealed program before it imports anything heavy or starts a thread. Returns in
    a child process (the lab's main process); the caller stays behind as PID 1. Raises
    ``SetupFailed`` when this process is not PID 1 or the tmpfs can't be mounted.
    """
    if os.getpid() != 1:
        raise SetupFailed("this program runs only inside a seal", hint="use: hooklab run")
    _mount_tmpfs(PRIVATE_DIR, "mode=0700")
    RAM_DIR.mkdir()
    with_size = "mode=0700,size=100%"
    pages = "always" if huge_pages_pay() else "never"
    _mount_tmpfs(RAM_DIR, f"{with_size},huge={pages}", with_size)
    _speak_tcp_as_usual()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # SIGCHLD wakes poll() through this pipe; it exists before the child that may end at once.
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    main = os.fork()
    if main == 0:
        os.close(woken)
        os.close(wakes)
        return
    _be_init(main, woken, wakes)


def _mount_tmpfs(folder: Path, *options: str) -> None:
    """Mount a tmpfs with the first of ``options`` that the kernel knows."""
    mount("tmpfs", folder, *options, flags=MS_NOSUID_NODEV)


def _speak_tcp_as_usual() -> None:
    """Have congestion controlled by cubic, Linux's default, whatever this host prefers.

    What a lossy cable comes to would be another thing with each host's otherwise. A host may
    forbid it (tcp_allowed_congestion_control): then the lab's is the host's.
    """
    with contextlib.suppress(OSError):
        _CONGESTION_CONTROL.write_text("cubic\n")


def _be_init(main: int, woken: int, wakes: int) -> None:
    """Reap orphans until ``main`` ends, then end with its status; never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        # Only main may hold stdout: when it closes it, the outer side sees end of file.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        poll.register(_STDIN, 0)  # POLLHUP only: the bytes are main's to read
        deadline: Deadline | None = None
        while (ended := _reap(main)) is None:
            timeout = None if deadline is None else deadline.remaining_s * 1000 + 1
            for fd, _ in poll.poll(timeout):
                if fd == woken:
                    os.read(woken, 4096)
                else:
                    poll.unregister(_STDIN)
                    deadline = Deadline.after(_GRACE)
            if deadline is not None and deadline.expired:
                break
        else:
            status = ended
    finally:
        os._exit(status)  # the kernel kills whatever is left in the namespace


def _reap(main: int) -> int | None:
    """Collect every ended child; return the exit status of ``main`` once it ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid == main:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    return 1


async def life_line_ended(stream: BinaryIO | None = None) -> bool:
    """Return when the life line ended: True when it was asked for, False when its holder died."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), stream or sys.stdin.buffer
    )
    try:
        return await reader.read() == _STOP
    finally:
        transport.close()
