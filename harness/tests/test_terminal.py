"""What a person at a terminal sees while a machine boots."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from harness.clock import Deadline
from harness.paths import cache_root, source_root

pytestmark = pytest.mark.boot

SCENARIO = """\
scenario: A machine that downloads Hook
machine: {{mac: "52:54:00:12:34:5b", firmware: uefi}}
template: {template}
profile: fast
start: cold
faults:                               # for two seconds, however fast the host
  - {{at: http, when: {{file: initramfs}}, do: {{trickle: {{octets_per_s: 20 MiB}}}}}}
"""
BOOTS = timedelta(minutes=8)


def test_time_and_octets_move_on_a_terminal(tmp_path: Path) -> None:
    template = source_root() / "fixtures/templates/hello.yaml"
    (tmp_path / "seen.yaml").write_text(SCENARIO.format(template=template))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "seen.yaml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(source_root()),
            "HOOKLAB_RUNS": str(tmp_path / "runs"),
            "HOOKLAB_CACHE": str(cache_root()),
            "TERM": "xterm",
            "COLUMNS": "120",
            "NO_COLOR": "1",
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    deadline = Deadline.after(BOOTS)
    seen = ""
    try:
        while "\n  hook boot" not in seen:
            assert not deadline.expired, seen[-500:]
            if select.select([ours], [], [], deadline.remaining_s)[0]:
                seen += os.read(ours, 1 << 16).decode(errors="replace").replace("\r\x1b[2K", "\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    octets = re.findall(r"initramfs-x86_64 ([\d.]+ \w?B|[\d.]+) of [\d.]+ MB \(\d+%\)", seen)
    assert octets, seen[-2000:]
    times = re.findall(r"^  firmware dhcp +0\.0 → +([\d.]+) s", seen, re.MULTILINE)
    assert len(set(times)) >= 5, times
