"""``hooklab attach``: look into a lab that runs, by serial line, QEMU's monitor or a shell.

A lab's sockets live on a tmpfs of its own; ``/proc/PID/root`` is the way in for its user, and
``attach.json`` of the run folder knows the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from harness.errors import HostUnfit, LabError
from harness.paths import runs_root
from harness.seal import WAY_IN_NAME, started_at
from harness.values import parse_json

CONSOLES: Final = ("ttyS0", "ttyS1")
_LEAVE: Final = b"\x1d"
"""Ctrl-]"""
_MACHINE: Final = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayIn:
    """A lab that runs."""

    pid: int
    """Of its PID 1, seen from outside."""
    user: bool
    """Whether it has a user namespace of its own."""
    room: Path
    """Where its sockets are."""

    def socket(self, name: str) -> Path:
        """Return the path of one of the machine's sockets. Raises ``LabError``."""
        path = self.room / f"{_MACHINE}-{name}"
        try:
            if path.is_socket():
                return path
        except OSError as error:
            raise LabError(
                f"{path}: {error.strerror}", hint="is the lab another user's?"
            ) from error
        raise LabError(f"the machine has no {name} yet, or no more", hint="is it switched on?")

    def enter(self, words: Sequence[str]) -> list[str]:
        """Return the command line that runs ``words`` inside the lab."""
        spaces = ["--user", "--preserve-credentials"] if self.user else []
        return ["nsenter", "--target", str(self.pid), *spaces, "--net", "--mount", "--pid", *words]


def find_way_in(run_dir: Path) -> WayIn:
    """Return the way into the lab of ``run_dir``, which may be a bare name below ``runs/``.

    Raises ``LabError`` when it is over, or was never there.
    """
    if not run_dir.is_dir() and run_dir.parent == Path():
        run_dir = runs_root() / run_dir
    try:
        data = parse_json((run_dir / WAY_IN_NAME).read_bytes())
        pid, started = int(data["pid"]), str(data["started"])
        way_in = WayIn(pid=pid, user=bool(data["user"]), room=Path(data["room"]))
    except FileNotFoundError as error:
        raise LabError(
            f"{run_dir} is no run folder of a lab that runs: it has no {WAY_IN_NAME}",
            hint="hooklab up SCENARIO starts one that stays",
        ) from error
    except (OSError, OverflowError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{run_dir / WAY_IN_NAME} can't be read: {error}") from error
    if started_at(pid) != started:
        raise LabError(
            f"the lab of {run_dir} is over",
            hint="keep one alive: hooklab up SCENARIO, or hooklab run --pause-on-failure",
        )
    return way_in


def attach_command(run_dir: Path, how: str, words: Sequence[str], *, console: str) -> int:
    """Attach; return the exit status. ``shell`` replaces this process. Raises ``LabError``."""
    way_in = find_way_in(run_dir)
    if how == "shell":
        return _shell(way_in, words)
    if words:
        raise LabError(f"attach {how} takes no command", hint="hooklab attach RUN shell COMMAND")
    if how == "monitor":
        return _monitor(way_in.socket("qmp"))
    return _serial(way_in.socket(console), console)


def _shell(way_in: WayIn, words: Sequence[str]) -> int:
    argv = way_in.enter(words or [os.environ.get("SHELL") or "/bin/sh"])
    if shutil.which(argv[0]) is None:
        raise HostUnfit(f"{argv[0]} is not installed", hint="install util-linux")
    if not words and sys.stdin.isatty():
        print("inside the lab: hook0 is its bridge; exit leaves", file=sys.stderr)
    sys.stdout.flush()
    os.execvp(argv[0], argv)


# -- serial line


def _serial(path: Path, name: str) -> int:
    with socket.socket(socket.AF_UNIX) as line, contextlib.ExitStack() as stack:
        line.connect(str(path))
        if sys.stdin.isatty():
            print(f"{name}: Ctrl-] leaves, Enter wakes a shell", file=sys.stderr)
            stack.enter_context(_raw(sys.stdin.fileno()))
        return _relay(line, sys.stdin.buffer, sys.stdout.buffer)


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _relay(line: socket.socket, typed: BinaryIO, shown: BinaryIO) -> int:
    """Pass octets both ways until the line ends, or Ctrl-] is typed."""
    ends: list[Any] = [line, typed]
    while True:
        ready, _, _ = select.select(ends, [], [])
        if line in ready:
            data = line.recv(1 << 16)
            if not data:
                return 0
            shown.write(data)
            shown.flush()
        if typed in ready:
            data = os.read(typed.fileno(), 1 << 12)
            if not data:
                ends = [line]  # a file or a pipe that ended: go on listening
                continue
            before, leave, _ = data.partition(_LEAVE)
            line.sendall(before)
            if leave:
                return 0


# -- monitor


def _monitor(path: Path) -> int:
    """Read commands of QEMU's monitor, or QMP in JSON, line by line."""
    asks = sys.stdin.isatty()
    if asks:
        import readline

        readline.parse_and_bind("tab: complete")
        print("QEMU's monitor: help, info status, …; QMP as JSON; Ctrl-D leaves", file=sys.stderr)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        stream = connection.makefile("rwb")
        _answer(stream)  # the greeting
        _execute(stream, {"execute": "qmp_capabilities"})
        while True:
            try:
                command = input("(qemu) " if asks else "").strip()
            except EOFError:
                return 0
            if command:
                print(_said(stream, command), flush=True)


def _said(stream: Any, command: str) -> str:
    if command.startswith("{"):
        try:
            request = parse_json(command)
        except ValueError as error:
            return f"no JSON: {error}"
        return json.dumps(_execute(stream, request), indent=2)
    arguments = {"command-line": command}
    answer = _execute(stream, {"execute": "human-monitor-command", "arguments": arguments})
    if "error" in answer:
        return str(answer["error"].get("desc"))
    return str(answer.get("return", "")).replace("\r\n", "\n").rstrip()


def _execute(stream: Any, request: dict[str, Any]) -> dict[str, Any]:
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()
    while "event" in (answer := _answer(stream)):
        pass
    return answer


def _answer(stream: Any) -> dict[str, Any]:
    line = stream.readline()
    if not line:
        raise LabError("QEMU has ended")
    try:
        answer = parse_json(line)
    except ValueError as error:
        raise LabError(f"QEMU's monitor does not speak QMP: {error}") from error
    return answer if isinstance(answer, dict) else {}


def ways_in(run_dir: str) -> str:
    """Return how to look into a lab that runs, for people."""
    ways = (
        ("serial", "its console; Ctrl-] leaves"),
        ("serial --console ttyS1", "the other one"),
        ("monitor", "QEMU: info status, info registers, system_reset"),
        ("shell", "in the lab's network: tcpdump -ni hook0, ss, ip"),
    )
    width = max(len(way) for way, _ in ways)
    lines = [f"  hooklab attach {run_dir} {way:{width}}   {words}" for way, words in ways]
    return "\n".join([*lines, _DOCKER])


_DOCKER: Final = """\
  docker in the guest, from Hook's shell on a serial line (exec -t ID sh gets into one):
  nsenter -t $(cat /run/docker/docker.pid) -m runc --root /var/run/docker/runtime-runc/moby list"""
"""Hook has no docker client; runc is there, and knows the containers."""
