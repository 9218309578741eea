"""What each phase looks like when it fails: small rules over the events, the surest first.

A rule returns a ``Finding`` only when the events prove it; what no rule proves is "not enough
evidence", said with what was seen last.

* ``case`` — what a rule looks at and what it says.
* ``anywhere`` — panics, QEMU's end, and what a console said last.
* ``firmware``, ``ipxe``, ``hook``, ``registry``, ``workflow``, ``disk`` — one module a part of the
  boot.
* ``services`` — Hook's engine, or the service that pulls the worker, ended.
* ``layers``, ``mute`` — what a registry gives, and what does not come of it.
* ``clock``, ``dns``, ``words`` — what several of them ask: a wrong clock, a name that nobody
  resolves, and what the worker says of itself.
* ``medium`` — machines that boot from an ISO; asked before those.
* ``address`` — a Hook that nobody heard ask for an address.
* ``arguments``, ``program`` — kernel arguments and boot programs at the bottom of a failure.
* ``dhcp``, ``http``, ``tink`` — what several of them share, or what one of them is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.phases import Party, Phase
from harness.verdict.rules import anywhere, disk, firmware, hook, ipxe, medium, registry, workflow
from harness.verdict.rules.case import Case, Finding, Rule

__all__ = ["Case", "Finding", "Rule", "by_phase", "find"]

_OF_PARTS: Final[dict[Phase, tuple[Rule, ...]]] = {
    **firmware.RULES,
    **ipxe.RULES,
    **hook.RULES,
    **registry.RULES,
    **workflow.RULES,
    **disk.RULES,
}
_BY_PHASE: Final = {
    phase: (*medium.RULES.get(phase, ()), *rules) for phase, rules in _OF_PARTS.items()
}


def by_phase() -> Mapping[Phase, tuple[Rule, ...]]:
    """Return the rules of each phase, the surest first."""
    return _BY_PHASE


_OF_THE_END: Final = (
    "lab.", "run.", "host.", "disk.", "machine.exited", "service.stopped", "capture.", "qmp.",
)  # fmt: skip
"""What comes when a run is over, or comes of itself."""


def find(case: Case) -> Finding:
    """Return the first finding of the rules for the phase the boot ended in."""
    for rule in (*anywhere.FIRST, *_BY_PHASE.get(case.phase, ()), *anywhere.LAST):
        finding = rule(case)
        if finding:
            return finding
    last = [event for event in case.events if not event.name.startswith(_OF_THE_END)][-3:]
    seen = f"; last seen: {last[-1].name}" if last else ""
    return Finding(
        blame=Party.UNKNOWN,
        because=f"not enough evidence for what went wrong in {case.phase.words}{seen}",
        evidence=last,
    )
