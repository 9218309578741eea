"""Events, phases, parties and rules as a page for people: ``VERDICTS.md``, made from the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from harness.events import EVENTS
from harness.phases import Party, Phase
from harness.verdict.rules import anywhere, by_phase
from harness.verdict.rules.case import Rule
from harness.verdict.watch import RULES
from harness.verdict.watch.silence import BUDGETS

PAGE: Final = Path(__file__).with_name("VERDICTS.md")

_INTRODUCTION: Final = """\
# Events and verdicts

Made from the code by `python -m harness.dev.verdicts`.

Everything a run sees is an event in `timeline.jsonl`. The verdict on a run is a function of these
events alone; of faults (`fault.*`) and of what came after `run.decided` or `dossier.begun` it takes
no notice. It names the phase the boot ended in, who is to blame, and why, with the events that
prove it. `hooklab report RUN` judges a folder again; a timeline that was cut off will do.
"""
_RULES: Final = """\
## Rules

Asked in this order; the first that the events prove is the verdict. F-numbers are those of failures
seen in the field. What no rule proves is "not enough evidence", said with what was seen last.
"""
_HASTE: Final = """\
## A deadline that is too short

A boot on its way looks, at any moment, like one that stopped there. So when the deadline passes
while a phase has lasted no longer than it usually does (`run.budgeted`), or an action has only just
begun, and nothing failed, the scenario is to blame, or nobody when an earlier phase took all the
time. Whoever stops a run by hand is told what it waited for if an answer proves it, or if the phase
lasted longer than it ever should; else only that it was stopped.
"""
_EARLY: Final = """\
## Early ends

A run need not wait for its deadline once no later event can save it. `run.decided` names the rule.
No rule holds while a fault that the scenario declares is still to begin or to end by itself, but
those marked *firm*, which only a hand at the machine could change. Rules without *always* hold only
for runs that wait for a workflow. Silences are three times as long at most where the deadline is
longer than ten minutes, in proportion; time in which the machine is held, or the host sleeps, does
not count.
"""
_HOST: Final = """\
## A slow or busy host

All waits are in seconds of the reference host: a quiet one, with two CPUs of which one takes 27 ms
for the loop in `harness/host/calibration.py`, emulating (TCG). A slower host multiplies them
(`factor` of `host.calibrated`); a faster one shortens none. While the lab's processes stand in the
kernel's run queues (`host.stalled`) they stand still. They take four times as long as the host's
own speed makes them, at most: then the run ends with `host.too_slow`, the outcome is *host too
slow*, and the host is to blame. No such outcome says anything about what was booted: it is no
failure, and no pass.

What waits by the machine's own clock (DHCP clients, docker, gRPC, an action's timeout) is not
stretched. A run that is not as its scenario says is the host's as well when in the phase it ended
in, or right before, the host withheld two thirds of 20 s. Not where an answer proves what went
wrong: an HTTP status that says no for good, a file or a DHCP request refused, a certificate or
credentials refused, an action that ended with an exit status and speaks of no wait. A busy host
changes none of these, and excuses none.
"""


def page() -> str:
    """Return ``VERDICTS.md``."""
    lines = [_INTRODUCTION, "## Phases", ""]
    lines += _table(("phase", "as a person reads it"), [(f"`{p}`", p.words) for p in Phase])
    lines += ["", "## Parties", ""]
    lines += _table(("blame", "what belongs to it"), [(f"`{p}`", p.meaning) for p in Party])
    lines += ["", _RULES]
    lines += _rules("In every phase, first", anywhere.FIRST)
    for phase, rules in by_phase().items():
        lines += _rules(f"In {phase.words}", rules)
    lines += _rules("In every phase, last", anywhere.LAST)
    lines += [_HASTE, _EARLY]
    lines += _table(
        ("rule", "", "meaning", "what it goes by"),
        [
            (
                f"`{rule.name}`",
                ", ".join(_marks(rule.firm, not rule.needs_workflow)),
                _sentence(rule.__doc__),
                "see below" if rule.name == "silence" else rule.source,
            )
            for rule in RULES
        ],
    )
    lines += ["", "Silence ends a run after:", ""]
    lines += _table(
        ("phase", "seconds", "because"),
        [(f"`{phase}`", f"{budget[0]:g}", budget[2]) for phase, budget in BUDGETS.items()],
    )
    lines += ["", _HOST, "## Events", ""]
    lines += _table(
        ("event", "meaning", "fields"),
        [
            (f"`{name}`", kind.meaning, " ".join(f"`{field}`" for field in kind.fields))
            for name, kind in EVENTS.items()
        ],
    )
    return "\n".join(lines).rstrip() + "\n"


def _marks(firm: bool, always: bool) -> Iterator[str]:
    if firm:
        yield "firm"
    if always:
        yield "always"


def _rules(title: str, rules: Sequence[Rule]) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    for rule in rules:
        yield f"- `{rule.__name__.lstrip('_')}`: {_sentence(inspect.getdoc(rule))}"
    yield ""


def _sentence(text: str | None) -> str:
    """Return a docstring's first paragraph on one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
