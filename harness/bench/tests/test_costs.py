"""Small measurements of a timeline and a report: every row is there and none is nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.bench.costs import measure_report, measure_timeline
from harness.progress import PlainProgress


async def test_events_cost_more_than_their_lines(tmp_path: Path) -> None:
    rows = await measure_timeline(
        times=1, scratch=tmp_path, progress=PlainProgress(), events=2000
    )  # fmt: skip
    recorded, written, quotient, back = rows
    assert recorded.figure > written.figure > 0
    assert quotient.figure > 1
    assert back.figure > 0


async def test_a_report_is_timed_and_weighed(tmp_path: Path) -> None:
    page, size, *tshark = await measure_report(
        times=1, scratch=tmp_path, progress=PlainProgress(), frames=2000
    )
    assert page.figure > 0
    assert 0.01 < size.figure < 3
    assert len(tshark) == (2 if shutil.which("tshark") else 0)
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "2,000 frames" in text or "2000" in text
