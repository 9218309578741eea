"""``hooklab report``: a run folder's page made anew, or an index of several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.report.html import write_report
from harness.report.record import read_run
from harness.report.text import relative


def report_command(paths: Sequence[Path], *, output: Path | None = None) -> int:
    """Write a page, say where, and return the status.

    One run folder is judged anew, and its verdict and page written. Several, or a folder of run
    folders, give an index: in ``output``, or beside them. Raises ``ScenarioError`` and
    ``OSError``.
    """
    if len(paths) == 1 and output is None and not _holds_runs(paths[0]):
        read_run(paths[0]).verdict.write(paths[0] / "verdict.json")
        print(relative(write_report(paths[0]).absolute()))
        return 0
    from harness.report.index import INDEX_NAME, find_runs, summary, write_index

    runs = find_runs(paths)
    if output is None:
        parents = [str(run.absolute().parent) for run in runs]
        output = Path(os.path.commonpath(parents)) / INDEX_NAME
    rows = write_index(runs, output)
    for row in rows:
        words = [f"{row.outcome:11} {row.name:30} {row.total_s:7.1f} s"]
        if row.tone != "passed":
            words.append(f"  {row.phase}, {row.blame or 'nobody'}: {row.sentence}")
        print("".join(words))
    print(f"{summary(rows)}   {relative(output.absolute())}")
    return 0


def _holds_runs(path: Path) -> bool:
    """Whether ``path`` is a folder of run folders, not one itself."""
    return not (path / "timeline.jsonl").is_file() and any(path.glob("*/timeline.jsonl"))
