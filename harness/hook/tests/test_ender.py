"""The smallest of programs, run by the kernel of this host."""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path

import pytest

from harness.hook.ender import ender

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="it is x86-64 code")


def program(folder: Path, **how: float) -> str:
    path = folder / "ender"
    path.write_bytes(ender(after_s=how.get("after_s", 0.0), code=int(how.get("code", 1))))
    path.chmod(0o755)
    assert path.stat().st_size < 400
    return str(path)


def run(argv: list[str], **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=30, env={"WORD": "env"} | given
    )


@pytest.mark.parametrize("code", [0, 1, 255])
def test_it_ends_at_once(code: int, tmp_path: Path) -> None:
    assert run([program(tmp_path, code=code), "/bin/sleep", "100"]).returncode == code


def test_it_runs_a_program_with_arguments_and_environment_for_a_while(tmp_path: Path) -> None:
    began = time.monotonic()
    ends = program(tmp_path, after_s=1.0, code=7)
    done = run([ends, "/bin/sh", "-c", 'echo "$WORD $1"; sleep 100 & sleep 100', "sh", "argument"])
    # Nobody of its session holds the pipe any more, or this would last 100 seconds.
    assert 0.9 <= time.monotonic() - began < 10
    assert (done.returncode, done.stdout) == (7, "env argument\n")


def test_a_program_that_ends_before_has_its_own_status(tmp_path: Path) -> None:
    began = time.monotonic()
    assert run([program(tmp_path, after_s=60, code=7), "/bin/sh", "-c", "exit 3"]).returncode == 3
    assert time.monotonic() - began < 10


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    assert run([program(tmp_path, after_s=60, code=7), "/nowhere"]).returncode == 127
