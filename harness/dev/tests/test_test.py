"""``hooklab test`` is pytest: its paths, its arguments, its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.paths import source_root


def hooklab_test(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``hooklab test`` in ``cwd``."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", "test", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(source_root())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_paths_and_arguments_reach_pytest_from_anywhere(tmp_path: Path) -> None:
    done = hooklab_test("-q", "harness/dev/tests/test_pin.py", "-k", "hash", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 2 deselected" in done.stdout.splitlines()[-1]


def test_a_path_is_one_from_here_first(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_it():\n    assert 1 == 2\n")
    done = hooklab_test("-q", "test_mine.py::test_it", cwd=tmp_path)
    assert done.returncode == 1
    assert "assert 1 == 2" in done.stdout
    assert "1 failed" in done.stdout.splitlines()[-1]


def test_without_a_path_every_ring_is_taken(tmp_path: Path) -> None:
    done = hooklab_test(
        "--collect-only", "-q", "-k", "test_pin or test_dhcp4 or test_engine", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "harness/dev/tests/test_pin.py" in done.stdout
    assert "fake_tink_server/tests/test_engine.py" in done.stdout
