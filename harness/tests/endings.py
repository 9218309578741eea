"""A ``hooklab run`` that a test ends, and everything that it had: nothing of it may be left."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from harness.clock import Deadline
from harness.host.capacity import runtime_folder
from harness.paths import cache_root, source_root
from harness.tests.processes import descendants, stat_of
from harness.timeline import Event

SOON = timedelta(seconds=20)
READY = timedelta(minutes=30)
"""What the first run on a busy host may take to build; it ends by itself when that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What a process tree has of the kernel's, by names that stay the same after its death."""

    processes: frozenset[tuple[int, str]]
    """Id and start time."""
    namespaces: Mapping[str, int]
    """Those that are not our own, as ``net:[4026532345]``, and a descriptor that holds each: the
    kernel gives the number of one that is gone to the next, which is another lab's."""
    sockets: frozenset[str]
    """Inodes."""
    files: frozenset[str]
    """Open temporary files; the checkout and its cache may well lie below ``/tmp`` too."""

    @classmethod
    def of(cls, root: int) -> Belongings:
        """Return what ``root`` and its descendants have now."""
        pids = [root, *descendants(root)]
        links = [link for pid in pids for link in _open_files(pid)]
        return cls(
            processes=frozenset((pid, started) for pid in pids if (started := _started(pid))),
            namespaces=_held_namespaces(pids),
            sockets=frozenset(link[8:-1] for link in links if link.startswith("socket:[")),
            files=frozenset(link for link in links if _is_temporary(link)),
        )

    def left(self) -> list[str]:
        """Return what of it still exists anywhere on this host."""
        pids = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
        spaces = {space for pid in pids for space in _namespaces(pid)}
        sockets = {inode for pid in pids for inode in _sockets(pid)}
        return [
            *(f"process {pid}" for pid, started in self.processes if _started(pid) == started),
            *sorted(self.namespaces.keys() & spaces),
            *sorted(f"socket {inode}" for inode in self.sockets & sockets),
        ]

    def wait_until_gone(self) -> None:
        """Wait for nobody to have anything of it any more; what was held here is let go.

        The death signals travel through three generations, so this is a bounded poll of /proc:
        there is no event to wait for from outside.
        """
        deadline = Deadline.after(SOON)
        try:
            while left := self.left():
                assert not deadline.expired, left
                os.sched_yield()
        finally:
            for descriptor in self.namespaces.values():
                os.close(descriptor)


def _is_temporary(file: str) -> bool:
    # A lab's room is a lock on a file that whoever comes next takes away.
    kept = (f"{source_root()}/", f"{cache_root()}/", f"{runtime_folder()}/")
    return file.startswith(("/tmp/", "/var/tmp/")) and not file.startswith(kept)


def _started(pid: int) -> str:
    fields = stat_of(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _namespaces(pid: int | str) -> list[str]:
    try:
        return [str(path.readlink()) for path in Path(f"/proc/{pid}/ns").iterdir()]
    except OSError:
        return []


def _held_namespaces(pids: Sequence[int]) -> dict[str, int]:
    """Return the namespaces of ``pids`` that are not our own, each held by a descriptor."""
    held: dict[str, int] = {}
    own = set(_namespaces("self"))
    for pid in pids:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for path in Path(f"/proc/{pid}/ns").iterdir():
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
                if name in own or held.setdefault(name, descriptor) != descriptor:
                    os.close(descriptor)
    return held


def _open_files(pid: int) -> Iterator[str]:
    try:
        names = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for name in names:
        try:
            yield str(name.readlink())
        except OSError:
            continue


def _sockets(pid: str) -> set[str]:
    """Return the inodes of all sockets in the network namespace of ``pid``."""
    found: set[str] = set()
    for name, column in (("unix", 6), ("tcp", 9), ("udp", 9), ("packet", 8)):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        found.update(line.split()[column] for line in lines)
    return found


class Run:
    """``hooklab run FILE`` with folders of its own, read as it happens."""

    def __init__(
        self,
        file: Path,
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        before: str = "",
        verb: str = "run",
        options: Sequence[str] = (),
        start: str = "cold",
    ) -> None:
        """Start it. ``folder`` gets the run folders and its temporary files.

        ``before`` is what a shell does first, in user and mount namespaces of the run's own;
        ``verb`` is what hooklab is asked to do, with ``options``. It begins at power-on, or as
        ``start`` says.
        """
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.run_dir = folder / "runs" / f"{file.stem}-uefi-0001"
        self.json_file = folder / "out.json"
        environment = {
            **os.environ,
            "HOOKLAB_CACHE": str(cache_root()),
            "HOOKLAB_RUNS": str(folder / "runs"),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(source_root()),
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        if verb == "run":
            options = [*options, "--json", str(self.json_file), "--start", start]
        argv = [sys.executable, "-m", "harness", verb, str(file), *options]
        if before:
            spaces = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
            argv = [*spaces, f'{before} && exec "$@"', "sh", *argv]
        self.process = subprocess.Popen(
            argv,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._tail: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._events: list[Event] = []

    def wait_for(self, name: str, *, within: timedelta, **fields: Any) -> Event:
        """Return the first event ``name`` with ``fields``, as the file on disk tells it.

        ``within`` counts from when all is built and the run has its folder.
        """
        deadline = Deadline.after(READY)
        while not self.run_dir.exists():
            assert not deadline.expired, f"not ready within {READY}"
            assert self.process.poll() is None, self.words()
            select.select([], [], [], 0.05)
        deadline = Deadline.after(within)
        seen = 0
        while True:
            for event in self._events[seen:]:
                if event.name == name and all(event.get(key) == fields[key] for key in fields):
                    return event
            seen = len(self._events)
            assert not deadline.expired, f"no {name} {fields} within {within}; {self._events[-5:]}"
            assert self.process.poll() is None, self.words()
            self._read_on(deadline)

    def _read_on(self, deadline: Deadline) -> None:
        if self._tail is None:
            file = self.run_dir / "timeline.jsonl"
            if not file.exists():
                select.select([], [], [], 0.05)  # its folder may not even be mounted yet
                return
            words = ["tail", "-n", "+1", "-f", str(file)]  # GNU tail sleeps on inotify
            self._tail = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        assert self._tail.stdout is not None
        if select.select([self._tail.stdout], [], [], min(1.0, deadline.remaining_s))[0]:
            data = os.read(self._tail.stdout.fileno(), 1 << 16)
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._events += [Event.from_json(line) for line in lines]

    def wait_for_output(self, wanted: str, *, within: timedelta) -> None:
        """Return once the run printed ``wanted``."""
        deadline = Deadline.after(within)
        assert self.process.stdout is not None
        seen = ""
        while wanted not in seen:
            assert not deadline.expired, seen
            if select.select([self.process.stdout], [], [], deadline.remaining_s)[0]:
                data = os.read(self.process.stdout.fileno(), 1 << 16).decode(errors="replace")
                assert data, f"it ended with {self.process.wait()}: {seen}"
                seen += data

    def words(self, *, within: timedelta = SOON) -> str:
        """Return what it printed, once it ended."""
        return self.process.communicate(timeout=within.total_seconds())[0]

    def close(self) -> None:
        """End whatever still runs."""
        for process in (self._tail, self.process):
            if process is not None and process.poll() is None:
                process.kill()
            if process is not None:
                process.wait()
                if process.stdout:
                    process.stdout.close()
