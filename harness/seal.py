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

Needs no privileges where user namespaces are allowed. Real root does without a user namespace,
because a mapped root could not read files of other owners (a checkout run with sudo).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from harness.clock import Deadline
from harness.errors import HostUnfit, SetupFailed
from harness.host.hugepages import huge_pages_pay
from harness.process import command_line, minimal_environment, send_signal, start_program

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
_MS_NOSUID_NODEV: Final = 2 | 4
_MS_NOEXEC: Final = 8
_MS_REC: Final = 1 << 14
_MS_PRIVATE: Final = 1 << 18
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWPID: Final = 0x20000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PROC: Final = Path("/proc")
_CAP_SYS_ADMIN: Final = 21
_NAMESPACES: Final = ("--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child")
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


def namespace_options() -> list[str]:
    """Return the options of ``unshare`` that make a lab's namespaces for this user."""
    return [*_NAMESPACES] if _is_real_root() else ["--user", "--map-root-user", *_NAMESPACES]


def own_namespaces() -> list[str]:
    """Return the words before a program's that give it a lab's namespaces, and no more.

    For measurements, whose programs are no labs: without life line, tmpfs and init, but they and
    all that they start die with ``unshare``.
    """
    return ["unshare", *namespace_options()]


def _is_real_root() -> bool:
    if os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


# -- what the host must offer


def probe_namespaces() -> str | None:
    """Return why this user can't make a lab's namespaces, or None when it works. Takes 10 ms."""
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    argv = ["unshare", *namespace_options(), "mount", "-t", "tmpfs", "tmpfs", str(PRIVATE_DIR)]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return done.stderr.strip() or f"{command_line(argv)} exited with status {done.returncode}"


def check() -> None:
    """Raise ``HostUnfit`` unless a sealed process tree can be made here."""
    if reason := probe_namespaces():
        raise HostUnfit(f"a lab's namespaces can't be made: {reason}", hint=_hint(reason))


def _hint(reason: str) -> str:
    if "not installed" in reason:
        return "install util-linux"
    advice = [
        f"set {name} to {wanted}: sudo sysctl -w {name}={wanted}"
        for name, bad, wanted in (
            ("kernel.unprivileged_userns_clone", "0", "1"),
            ("user.max_user_namespaces", "0", "16384"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        )
        if _sysctl(name) == bad
    ]
    if not advice:
        advice = [
            "in a container, start it with --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined (or --privileged)"
        ]
    return "; ".join(advice) + "; or run hooklab as root"


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None


# -- outer side


class Program(Protocol):
    """A program that was started, as ``asyncio.subprocess.Process`` shows one."""

    @property
    def pid(self) -> int:
        """The process id of what made the namespaces."""

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal, None while it runs or nobody waited for it."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """What it writes."""

    async def wait(self) -> int:
        """Return its exit status."""


class Starter(Protocol):
    """Starts a program in namespaces of its own."""

    async def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int,
        stderr: int,
        pass_fds: Sequence[int],
    ) -> Program:
        """Start it as ``seal`` says. Raises ``FileNotFoundError`` for what is not installed."""


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
        spaces = "--user --preserve-credentials " if not _is_real_root() else ""
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
    ``check``'s business.
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
            process = await (start or seal_by_unshare)(
                argv, env=environment, stdin=read_end, stderr=log.fileno(), pass_fds=pass_fds
            )
    except FileNotFoundError as error:
        os.close(write_end)
        raise HostUnfit("setpriv is not installed", hint="install util-linux") from error
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return SealedProcess(process, write_end, on_line, run_dir)


async def seal_by_unshare(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int,
    stderr: int,
    pass_fds: Sequence[int],
) -> Program:
    """Have util-linux start ``argv`` in new namespaces."""
    return await start_program(
        *("setpriv", "--pdeathsig", "KILL", "unshare", *namespace_options(), *argv),
        env=env,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
    )


# -- what ``unshare`` does, for a process that was forked


def enter_namespaces() -> None:
    """Enter the namespaces of ``namespace_options``; the next process forked is PID 1 in them.

    This process must have one thread. Raises ``SetupFailed``.
    """
    flags = _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWPID
    root, user, group = _is_real_root(), os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags if root else flags | _CLONE_NEWUSER) != 0:
        raise SetupFailed(f"a lab's namespaces can't be made: {os.strerror(ctypes.get_errno())}")
    if not root:
        Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): before gid_map
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount(None, Path("/"), flags=_MS_REC | _MS_PRIVATE)


def mount_proc() -> None:
    """Mount a proc for this PID namespace, whose PID 1 this is. Raises ``SetupFailed``."""
    _mount(None, _PROC, flags=_MS_REC | _MS_PRIVATE)
    _mount("proc", _PROC, flags=_MS_NOSUID_NODEV | _MS_NOEXEC)


def die_with(parent: int) -> None:
    """Be killed when the process ``parent``, which forked this one, ends; now, if it has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (parent, 0):  # 0: it is in another PID namespace
        os._exit(1)


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
    _mount("tmpfs", folder, *options, flags=_MS_NOSUID_NODEV)


def _mount(kind: str | None, folder: Path, *options: str, flags: int) -> None:
    """Mount a file system with the first of ``options`` that the kernel knows.

    Without a ``kind`` change the flags of what is mounted. Raises ``SetupFailed``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for each in options or ("",):
        words = (b"hooklab", os.fsencode(folder), kind.encode() if kind else None)
        if libc.mount(*words, ctypes.c_ulong(flags), each.encode()) == 0:
            return
    reason = os.strerror(ctypes.get_errno())
    raise SetupFailed(f"{kind or 'nothing'} can't be mounted on {folder}: {reason}")


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
