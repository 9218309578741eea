"""Frames go through both kinds of segment and come back; the table says what is good enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.frames import measure_frames, rows_of
from harness.net.segment import probe_tun
from harness.progress import PlainProgress


@pytest.mark.service
async def test_every_segment_gives_all_frames_back(tmp_path: Path) -> None:
    """The machine's end gives up when a frame is lost."""
    rows = await measure_frames(
        times=1, scratch=tmp_path, progress=PlainProgress(), echoes=300
    )  # fmt: skip
    assert len(rows) == (1 if probe_tun() else 5)
    assert all(row.figure > 0 for row in rows)


def test_a_third_of_the_bridge_is_enough_and_a_quarter_is_not() -> None:
    def met(wire: float) -> bool | None:
        rows = rows_of({"bridge": [1e5, 9e4], "wire": [wire, 1.0], "captured": [5e4]})
        return next(row for row in rows if row.what.startswith("  wire")).is_met

    assert met(33e3) is True
    assert met(25e3) is False
