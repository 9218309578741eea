"""A disk that fills up while a run writes to it: said in a sentence, and nothing hangs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from harness.scenario.runner import Outcome, conclude
from harness.scenario.tests.samples import good_boot, hello
from harness.tests.endings import Belongings, Run

SCENARIO = """\
scenario: A machine that writes more than the host can store
machine: {mac: "52:54:00:12:34:59", firmware: uefi, disks: [{name: vda, size: 16 MiB}]}
template: template.yaml
profile: fast
"""
TEMPLATE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata: {name: writes, namespace: default}
spec:
  data: |
    version: "0.1"
    name: writes
    global_timeout: 900
    tasks:
      - name: writes
        worker: "{{.device_1}}"
        volumes: ["/dev:/dev"]
        actions:
          - {name: wait, image: sleep:v1, timeout: 600, command: ["5"]}
          - name: disk
            image: disk:v1
            timeout: 600
            environment: {DISK: /dev/vda, SIZE: 12 MiB}
"""
BOOTS = timedelta(minutes=8)


@contextmanager
def run_on_a_small_disk(folder: Path) -> Iterator[tuple[Run, Path]]:
    """Start a run whose run folders are on a file system of 700 MiB; give both."""
    (folder / "template.yaml").write_text(TEMPLATE)
    (folder / "writes.yaml").write_text(SCENARIO)
    (folder / "runs").mkdir()
    run = Run(
        folder / "writes.yaml",
        folder,
        before=f"mount -t tmpfs -o size=700m runs '{folder / 'runs'}'",
    )
    try:
        # What is mounted there is seen through the process; a descriptor keeps it after its end.
        run.run_dir = Path(f"/proc/{run.process.pid}/root{run.run_dir}")
        run.wait_for("run.started", within=BOOTS)  # Hook may have to be built
        disk = os.open(run.run_dir.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield run, Path(f"/proc/self/fd/{disk}")
        finally:
            os.close(disk)
    finally:
        run.close()


def fill(disk: Path, *, leave: int) -> None:
    """Leave about ``leave`` octets of ``disk``, a tmpfs that others write to, free."""
    size, step = 0, 64 << 20
    with (disk / "balloon").open("wb") as balloon:
        while step >= 4096:
            space = os.statvfs(disk)
            if space.f_bavail * space.f_frsize - leave < step:
                step //= 2
                continue
            with contextlib.suppress(OSError):  # somebody was faster: look again
                os.posix_fallocate(balloon.fileno(), size, step)
                size += step


MOMENTS = {
    "lab": ("run.started", {}, 0),
    "firmware": ("dhcp.offer.sent", {}, 0),
    "download": ("http.transfer.progressed", {}, 1 << 20),
    "disk": ("tink.action.reported", {"action": "wait", "state": "STATE_RUNNING"}, 2 << 20),
}


@pytest.mark.boot
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_on_a_disk_that_fills_up_says_so(tmp_path: Path, moment: str) -> None:
    name, fields, leave = MOMENTS[moment]
    with run_on_a_small_disk(tmp_path) as (run, disk):
        run.wait_for(name, within=BOOTS, **fields)
        had = Belongings.of(run.process.pid)
        fill(disk, leave=leave)
        words = run.words(within=BOOTS)  # the guest is to write first, however slow the host
    assert run.process.returncode == 1, words
    assert "Traceback" not in words
    assert "can't be written" in words or "No space left" in words, words
    assert "  blame   host" in words
    had.wait_until_gone()
    [result] = json.loads(run.json_file.read_text())
    assert result["outcome"] == "error"
    assert result["failures"]


def test_a_verdict_that_can_not_be_written_is_an_error_of_the_lab(tmp_path: Path) -> None:
    (tmp_path / "verdict.json").symlink_to("/dev/full")
    result = conclude(hello(), list(good_boot().events), tmp_path, 60.0)
    assert result.outcome is Outcome.ERROR
    assert result.error is not None
    assert result.error.endswith(f"{tmp_path}: No space left on device")
    assert result.to_data()["failures"][0] == result.error
