"""How fast the host is: measured once a boot of it, and what deadlines are multiplied with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.host import per_boot
from harness.host.calibration import (
    REFERENCE_LOOP_S,
    REFERENCE_ZLIB_S,
    Calibration,
    calibrate,
    measure_host,
)


def of(ratio: float, disk_mb_s: float = 1400.0) -> Calibration:
    """Return what a host measures that takes ``ratio`` times as long."""
    return Calibration(
        loop_s=REFERENCE_LOOP_S * ratio, zlib_s=REFERENCE_ZLIB_S * ratio, disk_mb_s=disk_mb_s
    )


@pytest.mark.parametrize(
    ("ratio", "disk", "accel", "factor"),
    [
        (1.0, 1400, "tcg", 1.0),
        (0.3, 1400, "tcg", 1.0),  # no deadline gets shorter
        (1.15, 1400, "tcg", 1.0),  # within what one host's figures differ
        (3.0, 1400, "tcg", 3.0),
        (100.0, 1400, "tcg", 8.0),  # bounded
        (3.0, 1400, "kvm", 1.0),  # KVM makes up for it
        (1.0, 2.0, "tcg", 2.0),  # a boot writes some 2 MB in each second
        (1.0, 90.0, "tcg", 1.0),
        (1.0, 0.0, "tcg", 1.0),  # not known
    ],
)
def test_the_factor(ratio: float, disk: float, accel: str, factor: float) -> None:
    assert of(ratio, disk).factor(accel) == pytest.approx(factor, abs=0.01)


def test_it_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def measure(folder: Path) -> Calibration:
        asked.append(folder)
        return of(2.0)

    assert calibrate(tmp_path, measure=measure) == of(2.0)
    assert calibrate(tmp_path, measure=measure).cpu_ratio == 2.0
    assert len(asked) == 1
    # The host was booted anew: it may be another one, or run at another clock.
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(per_boot, "_BOOT_ID", boot)
    calibrate(tmp_path, measure=measure)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"key": "x"}', '{"key": 1, "loop_s": "many"}', "\0" * 9]
)
def test_a_damaged_file_is_measured_anew(tmp_path: Path, damage: str) -> None:
    calibrate(tmp_path, measure=lambda _: of(1.0))
    (tmp_path / "calibration.json").write_text(damage)
    assert calibrate(tmp_path, measure=lambda _: of(4.0)).factor("tcg") == pytest.approx(4.0)


def test_a_cache_that_can_not_be_written_costs_a_measurement_each_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    assert calibrate(tmp_path / "cache", measure=lambda _: of(1.0)) == of(1.0)


def test_this_host(tmp_path: Path) -> None:
    """Short, and within reason on anything that runs these tests."""
    cpu_before = time.process_time()
    found = measure_host(tmp_path)
    assert time.process_time() - cpu_before < 3
    assert 0.02 < found.cpu_ratio < 50
    assert found.disk_mb_s > 0
    assert list(tmp_path.iterdir()) == []  # nothing is left of it
