"""A planted step is found where it is, and none in noise."""

from __future__ import annotations

import random

import pytest

from harness.trend.series import LEAST_STEP_S, TOGETHER, group_runs
from harness.trend.shift import find_shift
from harness.trend.tests.samples import history


@pytest.mark.parametrize("seed", range(40))
def test_a_planted_regression_is_found(seed: int) -> None:
    records = history(30, seed=seed, step={"hook-boot": 1.4}, step_at=22, strays=0.03)
    [group] = group_runs(records)
    found = {one.name for one in group.regressions}
    assert "hook-boot" in found
    assert found <= {"hook-boot", TOGETHER}
    shift = group.series["hook-boot"].shift
    assert shift is not None
    assert abs(shift.index - 22) <= 1
    assert shift.ratio == pytest.approx(1.4, abs=0.12)
    assert group.series["hook-boot"].to_data()["regressed"]


def test_none_in_noise() -> None:
    """Some 8 × 150 series without a step, some with strays, from 8 to 60 runs: no alarm in any."""
    alarms = []
    for seed in range(150):
        runs = 8 + seed % 53
        [group] = group_runs(history(runs, seed=seed, strays=0.03 * (seed % 3)))
        alarms += [(seed, one.name, one.shift) for one in group.shown if one.shift]
    assert alarms == []


def test_a_single_slow_run_is_none() -> None:
    assert find_shift([10.0, 10.1, 9.9, 10.0, 10.2, 10.0, 31.0, 10.1, 9.9]) is None


def test_what_rose_and_fell_again_is_none() -> None:
    values = [10.0, 10.1, 9.9, 10.0, 10.2, 10.0, 14.0, 14.1, 13.9, 10.1, 9.9, 10.0, 10.1, 9.8, 10.0]
    assert find_shift(values) is None


def test_faster_is_a_shift_and_no_regression() -> None:
    [group] = group_runs(history(20, step={"hook-boot": 0.6}, step_at=12))
    assert group.regressions == []
    assert group.series["hook-boot"].improved


def test_a_step_that_does_not_matter_is_none() -> None:
    dice = random.Random(1)
    short = [dice.gauss(0.5, 0.005) for _ in range(10)] + [dice.gauss(0.8, 0.005) for _ in range(6)]
    assert find_shift(short, least=LEAST_STEP_S) is None
    assert find_shift(short) is not None
    assert find_shift([10.0] * 10 + [10.4] * 6) is None  # 4 %


def test_few_figures_prove_nothing() -> None:
    assert find_shift([]) is None
    assert find_shift([1.0, 9.0]) is None
    assert find_shift([10.0] * 5 + [20.0] * 2) is None
    assert find_shift([10.0] * 5 + [20.0] * 3) is not None
    assert find_shift([0.0] * 12) is None
