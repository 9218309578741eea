"""``hooklab diff``: which scenarios ended otherwise in one set of runs than in another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import ScenarioError
from harness.report.index import find_runs
from harness.report.record import read_run
from harness.values import parse_json

_SECONDS: Final = re.compile(r"\b\d+(?:\.\d+)?(?= (?:ms|s|seconds?|min|minutes?)\b)")
_MOMENTS: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
"""RFC 3339 §5.6, as programs that are quoted write it."""
_TIMES: Final = re.compile(r"\b(?:once|twice|\d+ times)\b")
"""How often something happened before the run ended: a matter of a second more or less."""


def _without_times(text: str) -> str:
    return _TIMES.sub("… times", _SECONDS.sub("…", _MOMENTS.sub("…", text)))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Ending:
    """How a run ended, without what differs from one run to the next: times, and how often."""

    outcome: str
    reached: str
    failed_in: str
    blame: str
    because: str

    @classmethod
    def of(cls, outcome: str, verdict: Mapping[str, Any]) -> Ending:
        """Return the ending that ``verdict``, as ``verdict.json`` has it, tells."""
        return cls(
            outcome=outcome,
            reached=str(verdict["reached"]),
            failed_in=str(verdict.get("failed_in") or ""),
            blame=str(verdict.get("blame") or ""),
            because=_without_times(str(verdict["because"])),
        )

    def __str__(self) -> str:
        where = f"failed in {self.failed_in}" if self.failed_in else f"reached {self.reached}"
        whose = f", blame {self.blame}" if self.blame else ""
        return f"{self.outcome}: {where}{whose}: {self.because}"


def diff_command(before: Path, after: Path) -> int:
    """Print what ended otherwise in ``after`` than in ``before``; return 1 if anything did.

    Each is a file of ``hooklab run --json``, a run folder or a folder of these. What ran several
    times must have ended in the same ways, however often in each. Raises ``ScenarioError``.
    """
    olds, news = endings(before), endings(after)
    both = olds.keys() & news.keys()
    differ = sorted(name for name in both if olds[name] != news[name])
    for name in differ:
        print(name)
        _print("-", olds[name] - news[name])
        _print("+", news[name] - olds[name])
    for sign, names in (("-", olds.keys() - both), ("+", news.keys() - both)):
        for name in sorted(names):
            print(f"{sign} {name} only here")
    alone = len(olds) + len(news) - 2 * len(both)
    print(
        f"{len(both)} in both: {len(both) - len(differ)} the same, {len(differ)} otherwise"
        + (f"; {alone} in one of them only" if alone else "")
    )
    return 1 if differ or alone else 0


def endings(source: Path) -> dict[str, set[Ending]]:
    """Return in which ways each scenario of ``source`` ended. Raises ``ScenarioError``."""
    if not source.exists():
        raise ScenarioError(f"there is no {source}")
    found: dict[str, set[Ending]] = {}
    for name, ending in _from_runs(source) if source.is_dir() else _from_file(source):
        found.setdefault(name, set()).add(ending)
    return found


def _from_file(file: Path) -> Iterable[tuple[str, Ending]]:
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
        if not isinstance(data, list):
            raise TypeError("no list")
        return [(str(r["scenario"]), Ending.of(str(r["outcome"]), r["verdict"])) for r in data]
    except OSError as error:
        raise ScenarioError(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(
            f"{file} does not hold the outcomes of runs",
            hint="hooklab run PATH --json FILE writes them",
        ) from error


def _from_runs(folder: Path) -> Iterable[tuple[str, Ending]]:
    for run in map(read_run, find_runs([folder])):
        yield run.item.id, Ending.of(run.outcome, run.verdict.to_data())


def _print(sign: str, ways: Iterable[Ending]) -> None:
    for way in sorted(ways):
        print(f"  {sign} {way}")
