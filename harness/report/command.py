"""``hooklab report``: make a run folder's page anew."""

from __future__ import annotations

from pathlib import Path

from harness.report.html import write_report
from harness.report.text import relative


def report_command(run_dir: Path) -> int:
    """Write ``report.html`` into ``run_dir`` and say where; return the exit status."""
    print(relative(write_report(run_dir).absolute()))
    return 0
