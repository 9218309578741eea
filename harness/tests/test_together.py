"""Two real labs at once: told in order, bounded in memory, and both stopped by one Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.host.usage import LinuxUsage, whole_cpus
from harness.paths import cache_root, source_root
from harness.tests.endings import Belongings

pytestmark = pytest.mark.boot

NAMES = ("first", "second")
SCENARIO = """\
scenario: A machine that nobody knows
machine: {{mac: "52:54:00:12:34:5c", firmware: bios, memory: 512 MiB}}
template: {template}
start: cold
"""
UNKNOWN = """\
hardware: none
verdict:
  failed in: firmware-dhcp
  blame: tink
"""
"""Ends after some seconds; any other goes on until it is stopped."""
WITHIN = timedelta(minutes=8)
"""Hook may have to be built."""


def start(folder: Path, more: str = "") -> subprocess.Popen[str]:
    """Run two scenarios at once; ``more`` is added to both."""
    template = source_root() / "fixtures/templates/hello.yaml"
    for name in NAMES:
        (folder / f"{name}.yaml").write_text(SCENARIO.format(template=template) + more)
    return subprocess.Popen(
        [
            sys.executable, "-m", "harness", "run", *(f"{name}.yaml" for name in NAMES),
            "-j", "2", "--json", "out.json",
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(source_root()),
            "HOOKLAB_RUNS": str(folder / "runs"),
            "HOOKLAB_CACHE": str(cache_root()),
            "HOOKLAB_RUNTIME": os.environ.get("HOOKLAB_RUNTIME", str(folder / "runtime")),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_two_are_told_in_order_and_take_no_more_memory_than_they_may(tmp_path: Path) -> None:
    process = start(tmp_path, UNKNOWN)
    out, err = process.communicate(timeout=WITHIN.total_seconds())
    assert process.returncode == 0, out + err
    told = json.loads((tmp_path / "out.json").read_text())
    assert [one["scenario"] for one in told] == [f"{name}[bios]" for name in NAMES]
    assert [one["outcome"] for one in told] == ["passed", "passed"]
    lines = out.splitlines()
    for name in NAMES:
        assert (
            sum(line.startswith(f"{name} [bios]   FAILED in firmware dhcp") for line in lines) == 1
        )
    summary = re.search(r"^at once: up to (\d) labs?, ([\d.]+) GiB of memory$", out, re.MULTILINE)
    assert summary, out
    together = int(summary[1])
    assert 1 <= together <= 2
    # a guest's memory and 200 MB for each lab, and the program that started them
    assert float(summary[2]) * 1024 <= together * (512 + 200) + 200


def test_ctrl_c_stops_both_and_leaves_a_verdict_of_each(tmp_path: Path) -> None:
    process = start(tmp_path)
    deadline = Deadline.after(WITHIN)
    try:
        wanted = min(2, whole_cpus(LinuxUsage()))
        while len(powered_on(tmp_path)) < wanted:
            assert not deadline.expired
            assert process.poll() is None, process.communicate()
            select.select([], [], [], 0.05)  # two files of two processes: there is no event
        had = Belongings.of(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    had.wait_until_gone()
    told = json.loads((tmp_path / "out.json").read_text())
    assert [one["outcome"] for one in told] == ["interrupted"] * wanted
    for one in told:
        assert (Path(one["run_dir"]) / "verdict.json").is_file()
        assert Path(one["run_dir"]).name in err


def powered_on(folder: Path) -> list[Path]:
    """Return the timelines of the runs whose machine is on."""
    return [
        file
        for file in folder.glob("runs/*/timeline.jsonl")
        if '"machine.powered_on"' in file.read_text(errors="replace")
    ]
