"""Records of runs, ordered into series: one a scenario, a way to start it, and a phase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median, quantiles
from typing import Any, Final

from harness.host.history import figure_of
from harness.phases import Phase
from harness.trend.shift import Shift, find_shift

TOGETHER: Final = "together"
_PHASES: Final = frozenset(phase.value for phase in Phase)
LEAST_STEP_S: Final = 0.5
"""A phase that became slower by less is not worth a word."""
MOST_POINTS: Final = 500
"""What a step is searched in, and what a page draws, of each series; the search is quadratic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Runs that can be compared with each other: only these ever are."""

    item: str
    """``hello[uefi]``; of benchmarks their part."""
    start: str = "cold"
    """``cold``, or the checkpoint that they began from."""
    accel: str = ""
    profile: str = ""
    bench: bool = False

    @property
    def how(self) -> str:
        """``cold, tcg, faithful``; of a benchmark nothing."""
        start = self.start if self.start in ("cold", "") else f"from {self.start}"
        return ", ".join(word for word in (start, self.accel, self.profile) if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One figure of one run."""

    value: float
    at: datetime
    code: str = ""
    stalled_s: float = 0.0
    run: str = ""


@dataclass(slots=True, kw_only=True)
class Series:
    """What one phase took in run after run, the oldest first."""

    name: str
    """A phase's value, ``together``, or what a benchmark measured."""
    unit: str = "s"
    points: list[Point] = field(default_factory=list)
    less_is_better: bool = True
    least_step: float = 0.0
    _shift: Shift | None = None
    _searched: int = -1

    @property
    def words(self) -> str:
        """The name as a person reads it."""
        return Phase(self.name).words if self.name in _PHASES else self.name

    @property
    def values(self) -> list[float]:
        """The figures."""
        return [point.value for point in self.points]

    @property
    def median(self) -> float:
        """The median of all."""
        return median(self.values)

    @property
    def low(self) -> float:
        """Below this lies a tenth."""
        return tenths(self.values)[0]

    @property
    def high(self) -> float:
        """Above this lies a tenth."""
        return tenths(self.values)[1]

    @property
    def shift(self) -> Shift | None:
        """The step in it, if there is one."""
        if self._searched != len(self.points):
            self._shift = find_shift(self.values, least=self.least_step)
            self._searched = len(self.points)
        return self._shift

    @property
    def regressed(self) -> bool:
        """Whether it became worse and stayed so."""
        return self.shift is not None and self.shift.rose is self.less_is_better

    @property
    def improved(self) -> bool:
        """Whether it became better and stayed so."""
        return self.shift is not None and not self.regressed

    def since(self) -> Point | None:
        """Return the first point behind the step."""
        return self.points[self.shift.index] if self.shift else None

    def to_data(self) -> dict[str, Any]:
        """Return the series as JSON has it."""
        shift, since = self.shift, self.since()
        data: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "runs": len(self.points),
            "median": round(self.median, 3),
            "low": round(self.low, 3),
            "high": round(self.high, 3),
            "latest": round(self.values[-1], 3),
            "values": [round(value, 3) for value in self.values],
            "regressed": self.regressed,
            "shift": None,
        }
        if shift and since:
            data["shift"] = {
                "before": round(shift.before, 3),
                "after": round(shift.after, 3),
                "spreads": round(shift.spreads, 1),
                "since": since.at.isoformat(),
                "code": since.code,
            }
        return data


@dataclass(slots=True, kw_only=True)
class Group:
    """All series of runs of one kind."""

    kind: Kind
    runs: int = 0
    """How many there were, whatever they came to."""
    outcomes: dict[str, int] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)

    @property
    def timed(self) -> int:
        """How many ended as their scenario says, and can be compared."""
        return max((len(one.points) for one in self.series.values()), default=0)

    @property
    def shown(self) -> list[Series]:
        """The series with figures, in the order of a boot."""
        order = [phase.value for phase in Phase]
        known = [one for one in self.series.values() if one.points]
        return sorted(known, key=lambda one: order.index(one.name) if one.name in order else 99)

    @property
    def regressions(self) -> list[Series]:
        """The series that became worse; all together only where no phase alone did."""
        worse = [one for one in self.shown if one.regressed]
        return [one for one in worse if one.name != TOGETHER] or worse

    def to_data(self) -> dict[str, Any]:
        """Return the group as JSON has it."""
        return {
            "item": self.kind.item,
            "start": self.kind.start,
            "accel": self.kind.accel,
            "profile": self.kind.profile,
            "bench": self.kind.bench,
            "runs": self.runs,
            "outcomes": self.outcomes,
            "series": [one.to_data() for one in self.shown],
        }


def tenths(values: Sequence[float]) -> tuple[float, float]:
    """Return what a tenth of ``values`` lies below, and above; of few the extremes."""
    if len(values) < 4:
        return min(values), max(values)
    tenths = quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def group_runs(records: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Return a group for each kind of run in ``records``, those with most runs first.

    Figures are taken of runs that ended as their scenario says: what went wrong took as long as it
    took to give up. Of each series the latest ``MOST_POINTS`` are kept.
    """
    groups: dict[Kind, Group] = {}
    for record in sorted(records, key=_when):
        if not isinstance(record.get("item"), str):
            continue
        kind = Kind(
            item=record["item"],
            start=str(record.get("start", "cold")),
            accel=str(record.get("accel", "")),
            profile=str(record.get("profile", "")),
        )
        group = groups.setdefault(kind, Group(kind=kind))
        outcome = str(record.get("outcome", "unknown"))
        group.runs += 1
        group.outcomes[outcome] = group.outcomes.get(outcome, 0) + 1
        phases = _seconds(record)
        if outcome != "passed" or not phases:
            continue
        for name, seconds in {**phases, TOGETHER: sum(phases.values())}.items():
            series = group.series.setdefault(name, Series(name=name, least_step=LEAST_STEP_S))
            series.points.append(
                Point(
                    value=seconds,
                    at=_when(record),
                    code=str(record.get("code") or record.get("version") or ""),
                    stalled_s=figure_of(record.get("stalled_s")) or 0.0,
                    run=str(record.get("run_dir") or "").rpartition("/")[2],
                )
            )
    found = map(_latest, groups.values())
    return sorted(found, key=lambda group: (-group.runs, group.kind.item))


def group_benchmarks(records: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Return a group for each part of ``hooklab bench`` in ``records``."""
    groups: dict[str, Group] = {}
    for record in sorted(records, key=_when):
        what = record.get("what")
        figure = figure_of(record.get("figure", record.get("median")))
        if not isinstance(what, str) or figure is None:
            continue
        part = str(record.get("part", "bench"))
        group = groups.setdefault(part, Group(kind=Kind(item=part, start="", bench=True)))
        group.runs += 1
        unit = str(record.get("unit", "s"))
        better = str(record.get("better", "less"))
        series = group.series.setdefault(
            what, Series(name=what, unit=unit, less_is_better=better != "more")
        )
        code = str(record.get("code") or "")
        series.points.append(Point(value=figure, at=_when(record), code=code))
    return [_latest(groups[part]) for part in sorted(groups)]


def _latest(group: Group) -> Group:
    """Drop the figures that are too many."""
    for series in group.series.values():
        del series.points[:-MOST_POINTS]
    return group


def _seconds(record: Mapping[str, Any]) -> dict[str, float]:
    phases = record.get("net") or record.get("phases")
    if not isinstance(phases, Mapping):
        return {}
    return {
        str(name): seconds
        for name, value in phases.items()
        if name in _PHASES and (seconds := figure_of(value)) is not None
    }


def _when(record: Mapping[str, Any]) -> datetime:
    return (
        moment(record.get("began")) or moment(record.get("at")) or datetime.min.replace(tzinfo=UTC)
    )


def moment(text: object) -> datetime | None:
    """Return the moment that ISO 8601 text tells, in UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
