"""What ends a boot whatever its phase."""

from __future__ import annotations

from typing import Final

from harness.phases import Party
from harness.verdict.rules.case import Case, Finding, Rule, quoted


def _panicked(case: Case) -> Finding | None:
    for event in case.seen("guest.panicked"):
        return Finding(
            blame=Party.KERNEL,
            because=f"the guest's kernel panicked: {event.get('line')}",
            evidence=[event],
        )
    return None


def _qemu_exited(case: Case) -> Finding | None:
    for event in case.seen("machine.exited"):
        if event.get("status"):
            lines = event.get("last_lines") or []
            tail = f": {lines[-1]}" if lines else ""
            return Finding(
                blame=Party.LAB,
                because=f"QEMU ended with status {event.get('status')}{tail}",
                evidence=[event],
            )
    return None


def _shut_down(case: Case) -> Finding | None:
    for event in case.seen("machine.shutdown"):
        if event.get("guest"):
            return Finding(
                blame=Party.HOOK if case.seen("guest.kernel.started") else Party.FIRMWARE,
                because=f"the machine switched itself off in {case.phase.words}",
                evidence=[event],
            )
    return None


def _power_lost(case: Case) -> Finding | None:
    for event in case.seen("machine.power.lost"):
        return Finding(
            blame=Party.MACHINE,
            because=f"the machine lost its power in {case.phase.words}",
            evidence=[event],
        )
    return None


def _console_error(case: Case) -> Finding | None:
    errors = case.in_phase("guest.error.seen")
    if not errors:
        return None
    return Finding(
        blame=Party.UNKNOWN,
        because=f"not enough evidence, but the console said: {quoted(errors[-1].get('line'))}",
        evidence=errors[-5:],
    )


FIRST: Final[tuple[Rule, ...]] = (_panicked, _power_lost, _qemu_exited, _shut_down)
"""Asked before the phase's own rules."""
LAST: Final[tuple[Rule, ...]] = (_console_error,)
"""Asked when no other rule proves anything."""
