"""A deadline that came too soon is the scenario's fault; a wait that was long enough tells more."""

from __future__ import annotations

import pytest

from harness.host.budgets import budgets_of
from harness.phases import Party
from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict import judge

BUDGETS = budgets_of([], item="hello[uefi]", accel="tcg", profile="faithful", guess=True)


def boot_until(name: str, *, budgets: bool = True) -> Tape:
    """Return a boot that comes as far as the event ``name``, and knows what is usual."""
    tape = good_boot().until(name)
    if budgets:
        tape.add(tape.events[-1].t, "host", "run.budgeted", phases=BUDGETS)
    return tape


def late(tape: Tape, after_s: float) -> Tape:
    """Have the deadline pass so long after the tape's last event."""
    t = tape.events[-1].t + after_s
    tape.add(t, "host", "host.calibrated", accel="tcg", factor=1.0, deadline_s=30.0)
    tape.add(t, "run", "run.finished", outcome="deadline")
    return tape


def test_a_deadline_within_what_a_phase_usually_takes_is_too_short() -> None:
    verdict = judge(late(boot_until("guest.kernel.started"), 5).events)
    assert verdict.blame is Party.SCENARIO
    assert verdict.because.startswith(
        "the deadline of 30 s passed while nothing was wrong yet: hook boot had taken"
    )
    assert verdict.because.endswith("and usually takes 12–30 s")
    assert verdict.hint == "give the scenario a longer deadline"
    assert verdict.evidence


@pytest.mark.parametrize("budgets", [True, False])
def test_one_that_waited_for_longer_tells_what_did_not_come(budgets: bool) -> None:
    verdict = judge(late(boot_until("guest.kernel.started", budgets=budgets), 200).events)
    assert verdict.blame is not Party.SCENARIO
    assert verdict.because.endswith("; then the deadline passed")


def test_a_phase_with_a_failure_does_not_go_as_usual() -> None:
    tape = boot_until("guest.kernel.started")
    tape.add(tape.events[-1].t + 1, "machine", "guest.panicked", line="Kernel panic - not syncing")
    verdict = judge(late(tape, 1).events)
    assert "the guest's kernel panicked" in verdict.because


def test_what_took_long_before_is_told_and_the_scenario_not_blamed() -> None:
    slow = Tape()
    for event in boot_until("guest.kernel.started").events:
        later = 100.0 if event.t > 4 else 0.0  # the firmware's DHCP took so long
        slow.add(event.t + later, event.source, event.name, **event.fields)
    verdict = judge(late(slow, 5).events)
    assert verdict.blame is Party.UNKNOWN
    assert "; what took long was firmware dhcp: " in verdict.because


def test_who_gives_up_on_a_phase_that_hangs_is_told_for_what() -> None:
    tape = boot_until("guest.kernel.started")
    tape.add(tape.events[-1].t + 200, "run", "run.interrupted", reason="somebody asked for it")
    verdict = judge(tape.events)
    assert verdict.blame is not Party.UNKNOWN
    assert verdict.because.endswith("; then the run was stopped: somebody asked for it")


def test_who_stops_a_boot_that_goes_as_usual_is_told_no_more() -> None:
    tape = boot_until("guest.kernel.started")
    tape.add(tape.events[-1].t + 5, "run", "run.interrupted", reason="somebody asked for it")
    verdict = judge(tape.events)
    assert verdict.blame is Party.UNKNOWN
    assert verdict.because == "the run was stopped: somebody asked for it"


@pytest.mark.parametrize(("after_s", "hasty"), [(5, True), (60, False)])
def test_an_action_that_has_just_begun_is_not_to_blame(after_s: float, hasty: bool) -> None:
    tape = boot_until("tink.action.reported")
    verdict = judge(late(tape, after_s).events)
    assert (verdict.blame is Party.SCENARIO) is hasty
    assert verdict.because.endswith(" began 5 s before") is hasty


@pytest.mark.parametrize(("since_s", "hasty"), [(5, True), (300, False)])
def test_a_worker_that_asks_for_ever_is_not_at_work(since_s: int, hasty: bool) -> None:
    tape = boot_until("tink.rpc.received")
    first = tape.events[-1]
    for later in range(5, since_s + 1, 5):
        tape.add(first.t + later, first.source, first.name, **first.fields)
    verdict = judge(late(tape, 1).events)
    assert (verdict.blame is Party.SCENARIO) is hasty
