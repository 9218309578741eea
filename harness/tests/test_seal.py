"""Nothing of a lab outlives the process that started it; as root and as an ordinary user."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from harness import namespaces
from harness import seal as seals
from harness.clock import Deadline
from harness.errors import SetupFailed
from harness.paths import source_root
from harness.tests.nobody import NOBODY, SYSTEM_PYTHON, needs_root, open_dir, open_sources

__all__ = ["open_dir"]

pytestmark = pytest.mark.service

SOON = timedelta(seconds=20)

USERS = [
    pytest.param([], id="me"),
    pytest.param(NOBODY, id="nobody", marks=needs_root),
]

# What runs inside: a grandchild that ignores every polite signal, an orphan, a bridge and a veth
# pair. The marker in the argument vector finds leftovers from outside.
INNER = """
import asyncio, os, subprocess, sys
from harness.seal import settle_in, life_line_ended, PRIVATE_DIR
settle_in()
marker, mode = sys.argv[1:]
subprocess.run("ip link add b0 type bridge && ip link add v0 type veth peer name v1 "
               "&& ip link set v0 master b0", shell=True, check=True)
(PRIVATE_DIR / "leftover").write_text("x")
deaf = "import signal as s; [s.signal(n, s.SIG_IGN) for n in (1, 2, 15)]; s.pause()"
child = subprocess.Popen([sys.executable, "-c", deaf, marker])
subprocess.run(["sh", "-c", "sleep 0 & exec true"], check=True)  # leaves an orphan
print("uid", os.getuid(), "pid", os.getpid(), flush=True)
print("ready", os.readlink("/proc/self/ns/net"), flush=True)
async def main():
    await life_line_ended()
    if mode == "stubborn":
        while True: await asyncio.sleep(100)
    print("stopping", flush=True)
asyncio.run(main())
sys.exit(7)
"""

# What a command line tool does, as a program that a test can kill.
OUTER = """
import asyncio, sys
from pathlib import Path
from harness.seal import seal
async def main():
    sealed = await seal([sys.executable, "-c", sys.argv[2], sys.argv[3], sys.argv[4]],
                        run_dir=Path(sys.argv[1]), on_line=lambda line: print(line, flush=True))
    print("spawned", sealed.pid, flush=True)
    return await sealed.wait()
sys.exit(asyncio.run(main()))
"""


def processes_with(marker: str) -> list[int]:
    """Return the ids of all processes whose argument vector holds ``marker``."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if marker.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except (ProcessLookupError, FileNotFoundError):
                continue
    return found


def wait_until_gone(marker: str, namespace: str = "") -> None:
    """Wait for the kernel to have reaped everything with ``marker`` or in ``namespace``.

    The death signals travel through three generations, so this is a bounded poll of /proc: there
    is no event to wait for from outside.
    """
    deadline = Deadline.after(SOON)
    while (left := processes_with(marker)) or namespace in namespaces_in_use():
        assert not deadline.expired, f"still alive: {left}, {namespace}"
        os.sched_yield()


def namespaces_in_use() -> set[str]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.add(str((folder / "ns/net").readlink()))
            except OSError:
                continue
    return found


@contextmanager
def start_outer(
    user: Sequence[str], run_dir: Path, marker: str, mode: str = "polite"
) -> Iterator[subprocess.Popen[str]]:
    """Run the outer program, which is killed at the end of the block at the latest."""
    python = SYSTEM_PYTHON if user else sys.executable
    with subprocess.Popen(
        [*user, python, "-c", OUTER, str(run_dir), INNER, marker, mode],
        env={**os.environ, "PYTHONPATH": str(open_sources() if user else source_root())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(outer: subprocess.Popen[str], word: str, run_dir: Path) -> str:
    assert outer.stdout is not None
    for line in outer.stdout:
        if line.startswith(word):
            return line.strip()
    log = (run_dir / "lab.log").read_text()
    pytest.fail(f"no line {word!r}; lab.log says:\n{log}")


@pytest.mark.parametrize("user", USERS)
def test_kill_9_of_the_outer_process_leaves_nothing(user: list[str], open_dir: Path) -> None:
    marker = f"hooklab-test-{os.urandom(6).hex()}"
    with start_outer(user, open_dir, marker, "stubborn") as outer:
        namespace = read_until(outer, "ready", open_dir).split()[1]
        assert len(processes_with(marker)) >= 4
        assert namespace in namespaces_in_use()
        outer.kill()
    wait_until_gone(marker, namespace)
    assert not Path("/dev/shm/leftover").exists()
    assert {path.name for path in open_dir.iterdir()} == {"lab.log", "attach.txt", "attach.json"}


@pytest.mark.parametrize("user", USERS)
def test_kill_9_at_any_moment_of_the_start_leaves_nothing(user: list[str], open_dir: Path) -> None:
    for delay_ms in (0, 2, 5, 8, 12, 20, 40, 80, 150, 300):
        marker = f"hooklab-test-{os.urandom(6).hex()}"
        with start_outer(user, open_dir, marker) as outer:
            if delay_ms:
                read_until(outer, "spawned", open_dir)
                time.sleep(delay_ms / 1000)  # the moment of the kill is what is being tested
            outer.kill()
        wait_until_gone(marker)


@pytest.mark.parametrize("user", USERS)
def test_a_polite_stop_returns_the_programs_own_status(user: list[str], open_dir: Path) -> None:
    marker = f"hooklab-test-{os.urandom(6).hex()}"
    with start_outer(user, open_dir, marker) as outer:
        who = read_until(outer, "uid", open_dir)
        assert who == "uid 0 pid 2"
        read_until(outer, "ready", open_dir)
        outer.send_signal(signal.SIGINT)  # asyncio.run cancels main, which ends the life line
        outer.wait(timeout=SOON.total_seconds())
    wait_until_gone(marker)


async def start_inner(run_dir: Path, mode: str) -> tuple[seals.SealedProcess, asyncio.Queue[str]]:
    lines: asyncio.Queue[str] = asyncio.Queue()
    marker = f"hooklab-test-{os.urandom(6).hex()}"
    sealed = await seals.seal(
        [sys.executable, "-c", INNER, marker, mode], run_dir=run_dir, on_line=lines.put_nowait
    )
    while not (await asyncio.wait_for(lines.get(), 20)).startswith("ready"):
        pass
    return sealed, lines


async def test_stop_ends_the_life_line_first(tmp_path: Path) -> None:
    sealed, lines = await start_inner(tmp_path, "polite")
    assert sealed.status is None
    assert await sealed.stop(Deadline.after(SOON)) == 7
    assert lines.get_nowait() == "stopping"
    assert sealed.status == 7


async def test_the_way_in_is_told(tmp_path: Path) -> None:
    sealed, _ = await start_inner(tmp_path, "polite")
    text = (tmp_path / "attach.txt").read_text()
    enter = next(line for line in text.splitlines() if line.startswith("nsenter"))
    done = await asyncio.to_thread(
        subprocess.run,
        [*enter.split(), "sh", "-c", "ip -br link; cat /dev/shm/leftover"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "b0" in done.stdout
    assert done.stdout.endswith("x")
    assert Path(f"/proc/{sealed.init_pid}/root/dev/shm/leftover").read_text() == "x"
    await sealed.stop(Deadline.after(SOON))


async def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    sealed, _ = await start_inner(tmp_path, "stubborn")
    before = time.monotonic()
    assert await sealed.stop(Deadline.after(timedelta(seconds=0.2))) == -signal.SIGKILL
    assert time.monotonic() - before < 5


async def test_init_reaps_orphans_and_reports_a_signal(tmp_path: Path) -> None:
    program = """
    import os, signal, subprocess
    from harness.seal import settle_in
    settle_in()
    out = subprocess.run(["sh", "-c", "sleep 0.01 & echo $!"], capture_output=True, text=True)
    orphan = int(out.stdout)
    while os.path.exists(f"/proc/{orphan}"): os.sched_yield()
    print("reaped", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    """
    lines: list[str] = []
    sealed = await seals.seal(
        [sys.executable, "-c", textwrap.dedent(program)], run_dir=tmp_path, on_line=lines.append
    )
    assert await asyncio.wait_for(sealed.wait(), 20) == 128 + signal.SIGTERM
    assert lines == ["reaped"]


async def test_an_on_line_that_raises_kills_the_tree(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    sealed = await seals.seal(
        [sys.executable, "-c", "import time; print('x', flush=True); time.sleep(100)"],
        run_dir=tmp_path,
        on_line=refuse,
    )
    with pytest.raises(ValueError, match="x"):
        await asyncio.wait_for(sealed.wait(), 20)
    assert sealed.status == -signal.SIGKILL


async def test_what_the_program_complains_about_is_kept(tmp_path: Path) -> None:
    sealed = await seals.seal(
        [sys.executable, "-c", "raise SystemExit('no good')"],
        run_dir=tmp_path,
        on_line=lambda line: None,
    )
    assert await asyncio.wait_for(sealed.wait(), 20) == 1
    assert sealed.last_words() == "no good"


def test_settle_in_refuses_to_run_unsealed() -> None:
    program = "from harness.seal import settle_in; settle_in()"  # these tests may be PID 1
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=source_root(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{SetupFailed.__name__}: this program runs only inside a seal" in done.stderr


def test_this_host_can_seal() -> None:
    namespaces.check()
    assert namespaces.probe_namespaces() is None


@pytest.mark.parametrize(("last_words", "asked"), [(b"stop\n", True), (b"", False)])
async def test_a_life_line_tells_a_request_from_a_death(last_words: bytes, asked: bool) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, last_words)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as stream:
        assert await seals.life_line_ended(stream) is asked


def test_tcp_is_as_on_any_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = tmp_path / "tcp_congestion_control"
    setting.write_text("bbr\n")
    monkeypatch.setattr(seals, "_CONGESTION_CONTROL", setting)
    seals._speak_tcp_as_usual()
    assert setting.read_text() == "cubic\n"
    monkeypatch.setattr(seals, "_CONGESTION_CONTROL", tmp_path / "no" / "such")
    seals._speak_tcp_as_usual()


async def test_a_labs_tcp_is_its_own(tmp_path: Path) -> None:
    """Only where the host allows cubic; what is set inside is never the host's setting."""
    folder = Path("/proc/sys/net/ipv4")
    before = (folder / "tcp_congestion_control").read_text()
    inner = (
        "from harness import seal; seal.settle_in(); print(seal._CONGESTION_CONTROL.read_text())"
    )
    said: list[str] = []
    sealed = await seals.seal([sys.executable, "-c", inner], run_dir=tmp_path, on_line=said.append)
    assert await sealed.wait() == 0
    allowed = (folder / "tcp_allowed_congestion_control").read_text().split()
    assert said[0] == ("cubic" if "cubic" in allowed else before.strip())
    assert (folder / "tcp_congestion_control").read_text() == before
