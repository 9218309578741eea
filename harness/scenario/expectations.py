"""What must be true at the end, held against the timeline and nothing else."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.facts import action_reports, nearest, pulls, state_of, workflow_state
from harness.faults.fault import Fault
from harness.scenario.item import ExpectationItem, Item, VerdictItem
from harness.timeline import Event
from harness.values import parse_duration
from harness.verdict.durations import net_durations
from harness.verdict.host import blame_host
from harness.verdict.judge import Verdict
from harness.verdict.phases import PhaseTracker, track


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Whether one expectation holds."""

    expectation: str
    """As a person wrote it."""
    met: bool
    expected: str
    found: str
    nearest: tuple[Event, ...] = ()
    """Up to ten events that say most about it; empty when it holds."""
    at: str
    """Where it is written: ``file:line:column``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a check found. ``about`` are the prefixes of the events that matter to it."""

    met: bool
    expected: str
    found: str
    about: tuple[str, ...]
    anchor: int | None = None


_Check = Callable[[Any, Sequence[Event], Item], _Answer]


def check_expectations(item: Item, events: Sequence[Event]) -> list[Outcome]:
    """Return an outcome for each of the item's expectations, in the scenario's order.

    A declared fault is expected to fire: one that never did has shown nothing. What a Python
    scenario's own assertions recorded comes last.
    """
    outcomes = [_check(expectation, events, item) for expectation in item.expectations]
    outcomes += [_fired(number, fault, events) for number, fault in enumerate(item.faults, 1)]
    return outcomes + [
        _asserted(event, events)
        for event in events
        if event.name == "expectation.failed" and event.source == "test"
    ]


def _fired(number: int, fault: Fault, events: Sequence[Event]) -> Outcome:
    mine = [
        event
        for event in events
        if event.name in ("fault.fired", "fault.unfired") and event.get("fault") == number
    ]
    times = sum(event.name == "fault.fired" for event in mine)
    nearest_miss = next((str(event.get("nearest")) for event in mine if not times), None)
    return Outcome(
        expectation=f"fault: {fault.text}",
        met=times > 0,
        expected="it fires at least once",
        found=f"it fired {times} ×" if times else nearest_miss or "the run was cut off before",
        at=fault.at,
    )


def _asserted(event: Event, events: Sequence[Event]) -> Outcome:
    what, _, place = str(event.get("expectation")).partition(" (")
    return Outcome(
        expectation=what,
        met=False,
        expected=str(event.get("expected")),
        found=str(event.get("found")),
        nearest=tuple(nearest(events, (), anchor=event.seq)),
        at=place.removesuffix(")"),
    )


def check_verdict(
    item: Item, *, failed_in: str | None, blame: str | None, because: str
) -> list[str]:
    """Return how a verdict differs from the one the item expects; empty when it does not.

    ``because`` of the expected verdict is a glob, compared without regard to case.
    """
    expected: VerdictItem | None = item.expected_verdict
    if expected is None:
        return [] if failed_in is None else [f"expected to pass, failed in {failed_in}: {because}"]
    if failed_in is None:
        return [f"expected to fail in {expected.failed_in}, but it passed"]
    wrong = []
    if failed_in != expected.failed_in:
        wrong.append(f"expected to fail in {expected.failed_in}, failed in {failed_in}: {because}")
    if expected.blame is not None and blame != expected.blame:
        wrong.append(f"expected the blame on {expected.blame}, found {blame}: {because}")
    if expected.because is not None and not _glob(because, expected.because):
        wrong.append(f"expected the reason to match '{expected.because}', found: {because}")
    return wrong


def hosts_failure(
    item: Item,
    differences: Sequence[str],
    events: Sequence[Event],
    tracker: PhaseTracker,
    verdict: Verdict,
) -> Verdict | None:
    """Return the verdict on a run that did not end as ``item`` says, if that is the host's doing.

    A boot that failed just as it was to fail had the time it needed for that.
    """
    if item.expected_verdict is not None and not differences:
        return None
    return blame_host(events, tracker, verdict)


def _check(expectation: ExpectationItem, events: Sequence[Event], item: Item) -> Outcome:
    if expectation.key.startswith("disk "):
        answer = _disk(expectation.key.removeprefix("disk "), expectation.value, events)
    else:
        answer = _CHECKS[expectation.key](expectation.value, events, item)
    near = () if answer.met else tuple(nearest(events, answer.about, anchor=answer.anchor))
    return Outcome(
        expectation=expectation.text,
        met=answer.met,
        expected=answer.expected,
        found=answer.found,
        nearest=near,
        at=expectation.at,
    )


def _worker_pulled(value: int, events: Sequence[Event], item: Item) -> _Answer:
    found = pulls(events, item.pulled_worker, macs=item.macs)
    others = len(pulls(events, item.pulled_worker)) - len(found)
    beside = f" (and {_times(others)} by others)" if others else ""
    return _Answer(
        met=len(found) == value,
        expected=f"{item.mac} pulls {item.pulled_worker} {_times(value)}",
        found=f"{_times(len(found))}{beside}",
        about=("registry.",),
        anchor=found[value].seq if len(found) > value else None,
    )


def _actions(value: list[str] | dict[str, str], events: Sequence[Event], item: Item) -> _Answer:
    states = value if isinstance(value, dict) else dict.fromkeys(value, "SUCCESS")
    order = list(value)
    wanted = [(name, state) for name in order for state in ("RUNNING", states.get(name, "SUCCESS"))]
    reports = action_reports(events)
    found: list[tuple[str, str]] = []
    anchor = None
    for event in reports:
        step = (str(event.get("action")), state_of(event))
        if found and found[-1] == step:
            continue  # a worker repeats a report whose answer it did not get
        found.append(step)
        if found != wanted[: len(found)] and anchor is None:
            anchor = event.seq
    return _Answer(
        met=found == wanted,
        expected=_steps(wanted),
        found=_steps(found) or "no action was reported",
        about=("tink.",),
        anchor=anchor,
    )


def _steps(steps: Iterable[tuple[str, str]]) -> str:
    """Write (print, RUNNING), (print, SUCCESS) as ``print RUNNING SUCCESS``."""
    parts: list[str] = []
    last = None
    for name, state in steps:
        if name == last:
            parts[-1] += f" {state}"
        else:
            parts.append(f"{name} {state}")
        last = name
    return ", ".join(parts)


def _workflow(value: str, events: Sequence[Event], _item: Item) -> _Answer:
    state = workflow_state(events)
    return _Answer(
        met=state == value,
        expected=f"the workflow ends {value}",
        found=f"it is {state}" if state else "it never began",
        about=("tink.",),
    )


def _disk(name: str, value: dict[str, Any], events: Sequence[Event]) -> _Answer:
    at = value.get("at", 0)
    wanted = expected_bytes(value)
    checks = [
        event
        for event in events
        if event.name == "disk.checked"
        and event.get("disk") == name
        and event.get("at_bytes") == at
        and event.get("expected") == wanted
    ]
    return _Answer(
        met=bool(checks) and bool(checks[-1].get("matched")),
        expected=f"{wanted} at {at} of {name}",
        found=str(checks[-1].get("found")) if checks else "the disk was not looked at",
        about=("disk.", "tink.action"),
    )


def expected_bytes(value: dict[str, Any]) -> str:
    """Return what ``disk.checked`` carries as ``expected`` for a disk expectation's value.

    ``text:LABDISK``, ``hex:4c4142``, or ``sha256:…/LENGTH``.
    """
    if "text" in value:
        return f"text:{value['text']}"
    if "hex" in value:
        return f"hex:{''.join(str(value['hex']).split()).lower()}"
    return f"sha256:{value['sha256']}/{value['length']}"


def matching_events(value: dict[str, Any], events: Sequence[Event]) -> list[Event]:
    """Return the events that an ``event`` expectation's ``name`` and ``where`` describe."""
    where = value.get("where", {})
    return [
        event
        for event in events
        if event.name == value["name"]
        and all(_equal(event.get(key), wanted) for key, wanted in where.items())
    ]


def _event(value: dict[str, Any], events: Sequence[Event], _item: Item) -> _Answer:
    found = matching_events(value, events)
    count = value.get("count")
    met = bool(found) if count is None else len(found) == count
    return _Answer(
        met=met,
        expected=f"{_described(value)} " + ("at least once" if count is None else _times(count)),
        found=_times(len(found)),
        about=_about(value),
        anchor=found[count].seq if count is not None and len(found) > count else None,
    )


def _no_event(value: dict[str, Any], events: Sequence[Event], _item: Item) -> _Answer:
    found = matching_events(value, events)
    return _Answer(
        met=not found,
        expected=f"never {_described(value)}",
        found=f"{_times(len(found))}, first at {found[0].t:.1f} s" if found else "never",
        about=_about(value),
        anchor=found[0].seq if found else None,
    )


def _console(value: str, events: Sequence[Event], _item: Item) -> _Answer:
    lines = [event for event in events if event.name == "console.line.seen"]
    met = any(_glob(str(event.get("text", "")), value) for event in lines)
    return _Answer(
        met=met,
        expected=f"a console line like '{value}'",
        found="such a line" if met else f"none in {len(lines)} lines",
        about=("console.", "guest."),
    )


def _phases_within(value: dict[str, str], events: Sequence[Event], _item: Item) -> _Answer:
    tracker = track(events)
    calibrated = next((e for e in events if e.name == "host.calibrated"), None)
    factor = float(calibrated.get("factor", 1.0)) if calibrated else 1.0
    took = {name: s / factor for name, s in net_durations(events, tracker).items()}
    ended = {one.phase.value for one in tracker.spans if one.end_s is not None}
    found: list[str] = []
    met = True
    for name, limit in value.items():
        if name in took:
            met = met and took[name] <= parse_duration(limit).total_seconds()
            found.append(f"{name} took {took[name]:.1f} s")
        elif name not in ended:
            met = False
            found.append(f"{name} did not end")
        else:
            found.append(f"{name} was before the checkpoint")
    limits = ", ".join(f"{name} at most {limit}" for name, limit in value.items())
    return _Answer(met=met, expected=limits, found=", ".join(found), about=("guest.", "http."))


_CHECKS: Final[dict[str, _Check]] = {
    "worker pulled": _worker_pulled,
    "actions": _actions,
    "workflow": _workflow,
    "event": _event,
    "no event": _no_event,
    "console": _console,
    "phases within": _phases_within,
}


def _about(value: dict[str, Any]) -> tuple[str, ...]:
    return (str(value["name"]).partition(".")[0] + ".",)


def _described(value: dict[str, Any]) -> str:
    where = ", ".join(f"{key} {wanted}" for key, wanted in value.get("where", {}).items())
    return f"{value['name']} with {where}" if where else str(value["name"])


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return _glob(found, wanted)
    if isinstance(wanted, str):
        return _glob("" if found is None else str(found), wanted)
    return bool(found == wanted)


def _glob(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text.lower(), pattern.lower())


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
