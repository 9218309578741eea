"""Looking into a lab: what is refused without one, and the real thing stopped in its firmware."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from harness.attach import find_way_in, ways_in
from harness.errors import LabError
from harness.paths import source_root
from harness.report.record import read_run
from harness.seal import started_at
from harness.tests.endings import Belongings, Run

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
    with pytest.raises(LabError, match="can't be read"):
        find_way_in(way_in_file(tmp_path, pid="me"))
    (tmp_path / "attach.json").unlink()
    with pytest.raises(LabError, match="is no run folder of a lab that runs"):
        find_way_in(tmp_path)


def test_people_are_told_every_way() -> None:
    told = ways_in("runs/hello-uefi-0001")
    for how in ("serial", "monitor", "shell"):
        assert f"hooklab attach runs/hello-uefi-0001 {how}" in told


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
