"""Looking into a lab: what is refused without one, and the real thing stopped in its firmware."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from harness.attach import attach_command, find_way_in, ways_in
from harness.errors import LabError
from harness.facts import before_pause
from harness.paths import source_root
from harness.report.record import read_run
from harness.scenario.tests.samples import Tape
from harness.seal import started_at
from harness.tests import test_seal as sealed
from harness.tests.endings import Belongings, Run
from harness.tests.nobody import SYSTEM_PYTHON, open_dir, open_sources
from harness.tests.test_seal import USERS

__all__ = ["open_dir"]

SCENARIO = """\
scenario: A firmware that is never offered an address
machine: {mac: "52:54:00:12:34:59", firmware: uefi}
faults: [{at: dhcp, when: {message: OFFER}, do: drop}]
expect: [{event: {name: dhcp.ack.sent}}]
deadline: 6 s
profile: fast
"""
SOON = timedelta(minutes=4)


def attach(run: Run, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``hooklab attach`` with ``given`` as what is typed."""
    return subprocess.run(
        [sys.executable, "-m", "harness", "attach", run.run_dir.name, *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(source_root()),
            "HOOKLAB_RUNS": str(run.run_dir.parent),
        },
    )


def way_in_file(folder: Path, **changes: object) -> Path:
    """Write the ``attach.json`` of a lab whose first process is this one."""
    data = {"pid": os.getpid(), "started": started_at(os.getpid()), "user": False, "room": "/x"}
    (folder / "attach.json").write_text(json.dumps({**data, **changes}))
    return folder


def test_a_lab_that_runs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = way_in_file(tmp_path)
    way_in = find_way_in(folder)
    assert (way_in.pid, way_in.room) == (os.getpid(), Path("/x"))
    assert way_in.enter(["ip", "addr"])[-2:] == ["ip", "addr"]
    monkeypatch.setenv("HOOKLAB_RUNS", str(tmp_path.parent))
    assert find_way_in(Path(tmp_path.name)) == way_in
    with pytest.raises(LabError, match="the machine has no ttyS0"):
        way_in.socket("ttyS0")


def test_a_lab_that_is_over_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is over"):
        find_way_in(way_in_file(tmp_path, started="1"))
    for pid in ("me", float("inf"), None):
        with pytest.raises(LabError, match="can't be read"):
            find_way_in(way_in_file(tmp_path, pid=pid))
    (tmp_path / "attach.json").write_text("[" * 200_000)
    with pytest.raises(LabError, match="can't be read"):
        find_way_in(tmp_path)
    (tmp_path / "attach.json").unlink()
    with pytest.raises(LabError, match="is no run folder of a lab that runs"):
        find_way_in(tmp_path)


def test_people_are_told_every_way() -> None:
    told = ways_in("runs/hello-uefi-0001")
    for how in ("serial", "monitor", "shell"):
        assert f"hooklab attach runs/hello-uefi-0001 {how}" in told


_ECHO = """async def echo(reader, writer):
    writer.write(b"login: ")
    while octets := await reader.read(100):
        writer.write(octets.upper())
async def main():
    server = await asyncio.start_unix_server(echo, PRIVATE_DIR / "machine-ttyS0")
"""


@pytest.mark.service
@pytest.mark.parametrize("user", USERS)
def test_its_user_gets_in(user: list[str], open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "INNER", sealed.INNER.replace("async def main():\n", _ECHO))
    python = SYSTEM_PYTHON if user else sys.executable
    marker = f"hooklab-test-{os.urandom(6).hex()}"
    words = [*user, python, "-m", "harness", "attach", str(open_dir)]
    environment = {**os.environ, "PYTHONPATH": str(open_sources() if user else source_root())}

    def attached(*more: str, given: str = "") -> str:
        done = subprocess.run(
            [*words, *more], env=environment, input=given, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    with sealed.start_outer(user, open_dir, marker) as outer:
        sealed.read_until(outer, "ready", open_dir)
        inside = attached("shell", "--", "sh", "-c", "ip -br link; cat /dev/shm/leftover; id -u")
        assert "b0" in inside
        assert inside.endswith("x0\n")
        with subprocess.Popen(
            [*words, "serial"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as serial:
            assert serial.stdin is not None
            assert serial.stdout is not None
            assert serial.stdout.read(7) == b"login: "
            serial.stdin.write(b"root")
            serial.stdin.flush()
            assert serial.stdout.read(4) == b"ROOT"
            serial.stdin.write(b"\x1d")
            serial.stdin.flush()
            assert serial.wait(20) == 0
    sealed.wait_until_gone(marker)


def test_a_pause_is_no_part_of_the_run() -> None:
    tape = Tape()
    tape.add(1.0, "machine", "machine.powered_on", mac="52:54:00:12:34:59")
    assert before_pause(tape.events) == tape.events
    tape.add(9.0, "run", "run.paused", outcome="deadline", reason="why")
    tape.add(600.0, "tink", "tink.workflow.changed", workflow_id="x", state="STATE_SUCCESS")
    tape.add(601.0, "run", "run.interrupted", reason="it was killed before its end")
    told = before_pause(tape.events)
    assert [event.name for event in told] == ["machine.powered_on", "run.paused", "run.finished"]
    assert (told[-1].t, told[-1].get("outcome")) == (9.0, "deadline")


@pytest.mark.boot
def test_a_boot_that_failed_is_kept_and_can_be_looked_into(tmp_path: Path) -> None:
    (tmp_path / "mute.yaml").write_text(SCENARIO)
    run = Run(tmp_path / "mute.yaml", tmp_path, options=["--pause-on-failure"])
    try:
        run.wait_for("run.paused", within=SOON)
        had = Belongings.of(run.process.pid)
        monitor = attach(run, "monitor", given='info status\n{"execute": "query-name"}\nnonsense\n')
        assert "VM status: running" in monitor.stdout, monitor
        assert '"name": "machine"' in monitor.stdout
        assert "unknown command: 'nonsense'" in monitor.stdout
        inside = attach(run, "shell", "--", "ip", "-br", "addr", "show", "hook0")
        assert "192.168.77.1/24" in inside.stdout, inside
        serial = attach(run, "serial", given="\x1d")
        assert (serial.returncode, serial.stderr) == (0, "")
        run.process.send_signal(signal.SIGINT)
        words = run.words()
    finally:
        run.close()
    assert run.process.returncode == 1, words
    assert "PAUSED  failed in firmware dhcp: " in words
    assert f"hooklab attach runs/{run.run_dir.name} monitor" in words
    assert "FAILED in firmware dhcp" in words
    assert "Traceback" not in words
    had.wait_until_gone()
    [result] = json.loads(run.json_file.read_text())
    assert result["outcome"] == "failed"
    record = read_run(run.run_dir)
    assert record.outcome == "failed"
    assert record.events[-1].name == "run.finished"
    assert record.tracker.last_s < 60
    assert attach(run, "shell", "--", "true").returncode == 1


def test_what_is_no_monitor_is_told(tmp_path: Path) -> None:
    way_in_file(tmp_path, room=str(tmp_path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "machine-qmp"))
        listener.listen()

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example ESMTP\n")

        server = threading.Thread(target=greet)
        server.start()
        with pytest.raises(LabError, match="does not speak QMP"):
            attach_command(tmp_path, "monitor", [], console="ttyS0")
        server.join()
