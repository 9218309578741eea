"""``hooklab report``: make a run folder's page anew."""

from __future__ import annotations

from pathlib import Path

from harness.report.html import write_report
from harness.report.record import read_run
from harness.report.text import relative


def report_command(run_dir: Path) -> int:
    """Judge ``run_dir`` anew, write its verdict and its page, say where; return the status."""
    read_run(run_dir).verdict.write(run_dir / "verdict.json")
    print(relative(write_report(run_dir).absolute()))
    return 0
