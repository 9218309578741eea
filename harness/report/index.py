"""One page about many runs: how each ended, where the time went, and what tells two apart."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from harness.errors import LabError, ScenarioError
from harness.facts import MachineTime, machine_time
from harness.phases import Phase
from harness.report.differences import Differences, compare
from harness.report.html import (
    REPORT_NAME,
    as_expected,
    sentence,
    templates,
    tone,
    total_s,
    write_report,
)
from harness.report.record import RunRecord, fit_for, read_run
from harness.report.text import tally
from harness.values import parse_json

INDEX_NAME: Final = "index.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A run in one line."""

    run_dir: Path
    name: str
    title: str
    report: str
    """Where the failure was reported: ``F50, tinkerbell/hook#178``."""
    outcome: str
    """``passed``, ``failed``, ``host too slow``, ``error``, ``interrupted``; ``unreadable`` for
    what is no run."""
    tone: str
    expected: bool
    phase: str
    blame: str
    sentence: str
    total_s: float = 0.0
    phases: tuple[tuple[str, float], ...] = ()
    """Phase and seconds."""
    machine: MachineTime | None = None


def row_of(run: RunRecord) -> Row:
    """Return a run in one line."""
    verdict, item = run.verdict, run.item
    return Row(
        run_dir=run.run_dir,
        name=item.id,
        title=item.title,
        report=item.report or "",
        outcome=run.outcome,
        tone=tone(run),
        expected=as_expected(run),
        phase=verdict.failed_in.words if verdict.failed_in else verdict.reached.words,
        blame=verdict.blame.value if verdict.blame else "",
        sentence=sentence(run),
        total_s=total_s(run),
        phases=tuple(run.tracker.durations().items()),
        machine=machine_time(run.events),
    )


def _unreadable(run_dir: Path, error: Exception) -> Row:
    """Return the row of a run that can't be judged anew: what was said of it when it was new."""
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        data = parse_json((run_dir / "verdict.json").read_bytes())
        told = data if isinstance(data, dict) else {}
    reason = str(error).partition("\n")[0].replace(f"{run_dir}/", "")
    sentence = f"{told['because']} ({reason})" if told.get("because") else reason
    return Row(
        run_dir=run_dir, name=run_dir.name, title="", report="", outcome="unreadable", tone="error",
        expected=False, phase=str(told.get("failed_in") or "").replace("-", " "),
        blame=str(told.get("blame") or ""), sentence=sentence,
    )  # fmt: skip


def session_file(runs: Path) -> Path:
    """Make and return ``<runs>/session-NNNN.html``, the next free number. Raises ``OSError``."""
    taken = [path.stem.removeprefix("session-") for path in runs.glob("session-*.html")]
    number = max((int(one) for one in taken if one.isdecimal()), default=0)
    while True:
        number += 1
        file = runs / f"session-{number:04}.html"
        try:
            file.touch(exist_ok=False)
        except FileExistsError:
            continue
        return file


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run folders among ``paths`` and right below those that are none.

    Raises ``ScenarioError`` for a path without any.
    """
    found: list[Path] = []
    for path in paths:
        if (path / "timeline.jsonl").is_file():
            found.append(path)
            continue
        below = sorted(file.parent for file in path.glob("*/timeline.jsonl"))
        if not below:
            raise ScenarioError(
                f"{path} is no run folder, and has none",
                hint="hooklab run makes run folders below runs/",
            )
        found += below
    return list(dict.fromkeys(found))


def write_index(run_dirs: Sequence[Path], file: Path) -> list[Row]:
    """Write an index of ``run_dirs`` to ``file``; return its rows.

    Of exactly two runs it says what tells them apart. A folder that can't be read has a row that
    says so. Raises ``OSError`` when ``file`` can't be written.
    """
    rows: list[Row] = []
    read: list[RunRecord] = []
    for run_dir in run_dirs:
        try:
            run = read_run(run_dir)
            with fit_for(run_dir, "summed up"):
                row = row_of(run)
            if not (run_dir / REPORT_NAME).is_file():
                write_report(run_dir)
        except (LabError, OSError) as error:
            rows.append(_unreadable(run_dir, error))
            continue
        rows.append(row)
        if len(run_dirs) == 2:
            read.append(run)
    between = compare(*read) if len(read) == 2 else None
    file.write_text(_page(rows, between, file), encoding="utf-8")
    return rows


def _page(rows: Sequence[Row], between: Differences | None, file: Path) -> str:
    whole_s = _scale_s([row.total_s for row in rows])
    order = [phase.value for phase in Phase]
    counted = Counter(row.outcome for row in rows)
    return (
        templates()
        .get_template("index.html.j2")
        .render(
            rows=[_shown(row, whole_s, order, file) for row in rows],
            summary=summary(rows),
            tone="passed" if set(counted) <= {"passed"} else "failed",
            total_s=sum(row.total_s for row in rows),
            legend=[(n, phase.words) for n, phase in enumerate(Phase) if phase in _DRAWN],
            between=between,
            pair=[row.name if rows[0].name != rows[1].name else row.run_dir.name for row in rows]
            if between
            else [],
        )
    )


_MOST: Final = 0.9
_OF_MOST: Final = 1.5
"""A run that takes longer than nine of ten by this factor does not set the scale of the bars."""
_DRAWN: Final = tuple(phase for phase in Phase if phase not in (Phase.POWER_ON, Phase.DONE))


def summary(rows: Sequence[Row]) -> str:
    """Return ``12 runs: 10 passed, 2 failed; machines on for 312 s, 41 % of it waiting``."""
    return tally([row.outcome for row in rows], [row.machine for row in rows])


def _scale_s(totals_s: Sequence[float]) -> float:
    """Return how long a run is that fills its bar.

    That is the longest, unless it is one of a few by far longer than the others, whose bars would
    be dots then: bars of such runs are torn off at the end.
    """
    ordered = sorted(totals_s)
    if not ordered or not ordered[-1]:
        return 1.0
    most_s = _OF_MOST * ordered[int(_MOST * (len(ordered) - 1))]
    return min(ordered[-1], most_s or ordered[-1])


def _shown(row: Row, whole_s: float, order: list[str], file: Path) -> dict[str, Any]:
    page = row.run_dir / REPORT_NAME
    link = quote(os.path.relpath(page, file.parent)) if page.is_file() else ""
    return {
        "row": row,
        "link": link,
        "torn": row.total_s > whole_s,
        "bars": [
            {
                "number": order.index(name),
                "wide": 100 * seconds / whole_s,
                "title": f"{Phase(name).words}: {seconds:.1f} s",
                "seconds": seconds,
            }
            for name, seconds in row.phases
            if seconds > 0 and name in order
        ],
    }
