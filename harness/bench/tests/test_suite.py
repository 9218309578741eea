"""Which numbers of jobs are measured, and what the table says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.suite import _write_scenarios, numbers_of_jobs, rows_of
from harness.hook.images import known_images
from harness.scenario.resolve import load_items


@pytest.mark.parametrize(("cpus", "jobs"), [(1, [1]), (2, [1, 2]), (8, [1, 4, 8])])
def test_one_job_is_the_baseline_of_half_and_all_of_the_cpus(cpus: int, jobs: list[int]) -> None:
    assert numbers_of_jobs(cpus) == jobs


def test_more_scenarios_a_minute_are_better() -> None:
    one, two, quotient = rows_of({1: [4.0, 5.0, 6.0], 2: [9.0, 7.0, 7.5]})
    assert (one.figure, two.figure) == (5.0, 7.5)
    assert (quotient.what, quotient.figure) == ("  -j 2 / -j 1", 1.5)
    assert quotient.more_is_better


def test_what_is_measured_are_scenarios(tmp_path: Path) -> None:
    _write_scenarios(tmp_path / "suite", 3)
    items = [
        item
        for file in sorted((tmp_path / "suite").iterdir())
        for item in load_items(file, known_images=frozenset(known_images()))
    ]
    assert [item.firmware for item in items] == ["uefi"] * 3
