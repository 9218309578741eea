"""``hooklab test`` is pytest: its paths, its arguments, its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.dev.test import RINGS, pytest_words
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


def test_whole_folders_use_every_cpu() -> None:
    root = source_root()
    rings = [str(root / ring) for ring in RINGS]
    assert pytest_words([], cpus=2) == ["-n", "2", *rings]
    assert pytest_words(["-k", "dhcp", "--nightly"], cpus=4)[:2] == ["-n", "4"]
    assert pytest_words(["scenarios"], cpus=2) == ["-n", "2", str(root / "scenarios")]
    assert pytest_words([], cpus=1) == rings
    for word in ("--color=yes", "--confcutdir=x", "--trace-config"):
        assert pytest_words([word], cpus=2)[:2] == ["-n", "2"]


def test_a_word_to_choose_by_is_no_path() -> None:
    """There are folders called scenarios and harness."""
    rings = [str(source_root() / ring) for ring in RINGS]
    assert pytest_words(["-k", "scenarios"], cpus=2) == ["-n", "2", "-k", "scenarios", *rings]


@pytest.mark.parametrize("there", [True, False])
def test_where_runs_go_chooses_no_tests(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the folder is there or not, it is one from here, and the tests are all."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "out"
    if there:
        runs.mkdir()
    rings = [str(source_root() / ring) for ring in RINGS]
    assert pytest_words(["--runs", "out"], cpus=2) == ["-n", "2", "--runs", str(runs), *rings]
    assert pytest_words(["--runs=out"], cpus=2) == ["-n", "2", f"--runs={runs}", *rings]
    hello = str(source_root() / "scenarios" / "hello.yaml")
    words = pytest_words(["--runs", str(runs), "scenarios/hello.yaml"], cpus=2)
    assert words == ["--runs", str(runs), hello]
    # a word that is not a folder's, where there is a folder of that name
    (tmp_path / "cold").mkdir()
    assert pytest_words(["--start", "cold"], cpus=2) == ["-n", "2", "--start", "cold", *rings]


@pytest.mark.parametrize(
    "by_hand", ["-n4", "-n=0", "--numprocesses=1", "-s", "--pdb", "--co", "--collect-only"]
)
def test_what_is_asked_for_by_hand_is_left_alone(by_hand: str) -> None:
    assert pytest_words([by_hand], cpus=2)[0] == by_hand


def test_a_single_file_or_item_needs_no_workers() -> None:
    hello = str(source_root() / "scenarios" / "hello.yaml")
    assert pytest_words(["scenarios/hello.yaml"], cpus=2) == [hello]
    assert pytest_words(["scenarios/hello.yaml::hello[bios]"], cpus=2) == [f"{hello}::hello[bios]"]
