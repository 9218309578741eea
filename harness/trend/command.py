"""``hooklab trend``: what each phase took over many runs, in the terminal and as a page."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import LabError, ScenarioError
from harness.report.text import Style, relative, wants_colour
from harness.trend.records import Wanted, benchmarks, records_of
from harness.trend.series import group_benchmarks, group_runs
from harness.trend.table import render, summary


def trend_command(
    paths: Sequence[Path],
    wanted: Wanted,
    *,
    html_file: Path | None = None,
    json_file: Path | None = None,
    fail_on_regression: bool = False,
) -> int:
    """Show the trends of ``paths``, or of all runs that this host remembers; return the status.

    That is 1 when something became slower and ``fail_on_regression`` is asked for, else 0. Raises
    ``LabError`` when there are no runs to look at, as ``ScenarioError`` if they were named, and
    ``OSError``.
    """
    groups = group_runs(
        records_of(paths, wanted, say=lambda line: print(f"hooklab: {line}", file=sys.stderr))
    )
    if not paths:
        groups += group_benchmarks(benchmarks(wanted))
    if not groups:
        if paths:
            hint = "--scenario, --accel, --start and --since choose among what is named"
            raise ScenarioError("there is no run to look at", hint=hint)
        raise LabError(
            "there is no run to look at",
            hint="every hooklab run is remembered; name run folders to look at those",
        )
    # first what is to stay: a reader who has seen enough closes the pipe
    if html_file is not None:
        from harness.trend.page import page

        source = "run folders" if paths else "what this host remembers"
        html_file.write_text(page(groups, source=source), encoding="utf-8")
    if json_file is not None:
        text = json.dumps([group.to_data() for group in groups], indent=2, ensure_ascii=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    print(render(groups, Style(colour=wants_colour(sys.stdout))))
    print(f"\n{summary(groups)}")
    if html_file is not None:
        print(f"page   {relative(html_file.absolute())}")
    worse = any(group.regressions for group in groups)
    return 1 if fail_on_regression and worse else 0
