"""Where trends come from: the history of this host, or run folders."""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from harness.errors import LabError, ScenarioError
from harness.host import history
from harness.report.index import find_runs
from harness.report.record import fit_for, read_run
from harness.report.remembered import record_of
from harness.trend.series import moment

_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d|w)")
_UNITS: Final = {"min": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are looked at; None: whichever."""

    scenario: str | None = None
    """A glob, or a part, of an item's name."""
    accel: str | None = None
    start: str | None = None
    since: datetime | None = None

    def fits(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is wanted."""
        item = str(record.get("item", ""))
        if self.scenario and not (
            self.scenario in item or fnmatch.fnmatchcase(item, _literal(self.scenario))
        ):
            return False
        if self.accel and record.get("accel") != self.accel:
            return False
        if self.start and record.get("start", "cold") != self.start:
            return False
        at = moment(record.get("began")) or moment(record.get("at"))
        return self.since is None or (at is not None and at >= self.since)


def _literal(pattern: str) -> str:
    """Return ``pattern`` with brackets that mean themselves: ``hello[uefi]`` is a name."""
    return pattern.replace("[", "[[]")


def records_of(
    paths: Sequence[Path], wanted: Wanted, *, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Return the runs in ``paths``, or all that this host remembers when there are none.

    ``say`` is told of each that can't be read. Raises ``ScenarioError`` for a path that has no run.
    """
    found: Iterable[dict[str, Any]] = _read_folders(paths, say) if paths else history.read("run")
    return [record for record in found if wanted.fits(record)]


def benchmarks(wanted: Wanted) -> list[dict[str, Any]]:
    """Return what ``hooklab bench`` has measured on this host."""
    if wanted.accel or wanted.start:
        return []
    named = [{**record, "item": str(record.get("what", ""))} for record in history.read("bench")]
    return [record for record in named if wanted.fits(record)]


def _read_folders(paths: Sequence[Path], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield a record a run folder; one that this version can't read is left out, which is told."""
    for run_dir in find_runs(paths):
        try:
            run = read_run(run_dir)
            with fit_for(run_dir, "summed up"):
                record = record_of(
                    run.item,
                    run.events,
                    run.tracker,
                    run.verdict,
                    outcome=run.outcome,
                    duration_s=run.events[-1].t if run.events else 0.0,
                )
        except (LabError, OSError) as error:
            say(f"left out: {error}")
            continue
        changed = datetime.fromtimestamp((run_dir / "timeline.jsonl").stat().st_mtime, UTC)
        yield {"at": changed.isoformat(), **record, "run_dir": str(run_dir)}


def parse_since(text: str, *, now: datetime | None = None) -> datetime:
    """Return the moment of ``2026-11-20``, an ISO 8601 time, or ``7d`` (also min, h, w) ago.

    Raises ``ScenarioError`` for anything else.
    """
    if age := _AGE.fullmatch(text.strip()):
        with contextlib.suppress(OverflowError):
            ago = timedelta(seconds=float(age[1]) * _UNITS[age[2]])
            return (now or datetime.now(UTC)) - ago
        return datetime.min.replace(tzinfo=UTC)  # before all there is
    found = moment(text)
    if found is None:
        raise ScenarioError(
            f"--since: '{text}' is no date", hint="2026-11-20, 2026-11-20T18:30 or an age like 7d"
        )
    return found
