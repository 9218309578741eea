"""What the scheduler says of a process's threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.machine.effort import Effort, effort_of


def thread(proc: Path, number: int, name: str, told: str) -> None:
    task = proc / "7" / "task" / str(number)
    task.mkdir(parents=True)
    (task / "comm").write_text(name + "\n")
    (task / "schedstat").write_text(told + "\n")


def test_the_busiest_processor_counts(tmp_path: Path) -> None:
    thread(tmp_path, 7, "qemu-system-x86", "9000000000 9000000000 5")
    thread(tmp_path, 8, "CPU 0/TCG", "2000000000 500000000 5")
    thread(tmp_path, 9, "CPU 1/TCG", "1000000000 100000000 5")
    assert effort_of(7, tmp_path) == Effort(busy_s=2.0, delayed_s=0.5)


@pytest.mark.parametrize("told", ["", "1 2", "x y z"])
def test_a_kernel_that_does_not_tell(told: str, tmp_path: Path) -> None:
    thread(tmp_path, 8, "CPU 0/TCG", told)
    assert effort_of(7, tmp_path) is None
    assert effort_of(None, tmp_path) is None


def test_a_process_without_processors() -> None:
    assert effort_of(os.getpid()) is None


def test_a_thread_that_ends_meanwhile_hides_no_other(tmp_path: Path) -> None:
    thread(tmp_path, 7, "worker", "1 1 1")
    thread(tmp_path, 8, "CPU 0/TCG", "2000000000 500000000 5")
    (tmp_path / "7" / "task" / "7" / "comm").unlink()
    assert effort_of(7, tmp_path) == Effort(busy_s=2.0, delayed_s=0.5)
