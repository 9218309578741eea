"""A service of Hook that ends takes the rest of the boot with it."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict.judge import judge
from harness.verdict.tests.playing import ended, play, working

FAILED = "failed with status 1"


def ends(tape: Tape, t: float, service: str, reason: str = FAILED) -> Tape:
    tape.add(t, "machine", "guest.service.ended", service=service, reason=reason)
    return tape


def report(tape: Tape, t: float, state: str) -> None:
    tape.add(t, "tink", "tink.action.reported", id=1, workflow_id="w", worker_id=MAC,
             action="print", state=f"STATE_{state}", message="", accepted=True)  # fmt: skip


@pytest.mark.parametrize("first", ["engine", "report"])
def test_an_action_fails_for_want_of_the_engine(first: str) -> None:
    tape = working()
    tape.add(60, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    report(tape, 61, "RUNNING")
    if first == "report":  # a console is slower than the wire
        report(tape, 62, "FAILED")
    ends(tape, 62, "hook-docker")
    if first == "engine":
        report(tape, 62, "FAILED")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("workflow", "docker")
    assert found.because == (
        "Hook's service hook-docker failed with status 1 in workflow: no container runs without"
        " it, and Hook does not start it again"
    )


def test_the_action_that_ran_is_named() -> None:
    tape = working()
    tape.add(60, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    report(tape, 61, "RUNNING")
    tape.add(62, "machine", "machine.power.lost", machine="machine")
    found = judge(tape.events)
    assert found.because == "the machine lost its power in workflow, while action 'print' ran"


def test_what_the_kernel_said_of_memory_belongs_to_it() -> None:
    tape = good_boot().until("guest.docker.started")
    killed = tape.add(41, "machine", "guest.error.seen", pattern="out of memory", console="ttyS1",
                      line="Out of memory: Killed process 300 (dockerd)")  # fmt: skip
    last = ends(tape, 41, "hook-docker", "was killed by signal 9 (killed)").events[-1]
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "machine")
    assert "ran out of memory" in found.because
    assert found.evidence == (killed.seq, last.seq)


def test_nobody_pulls_when_bootkit_ended() -> None:
    tape = ends(good_boot().until("guest.docker.started"), 41, "hook-bootkit")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "hook")
    assert found.because.endswith("Hook's service hook-bootkit failed with status 1")
    assert ended(tape, "service-ended", by=49)


def test_another_kernel_has_services_of_its_own() -> None:
    tape = ends(good_boot().until("guest.docker.started"), 41, "hook-docker")
    tape.add(45, "machine", "guest.kernel.started", version="6.1", console="ttyS1")
    tape.add(60, "machine", "guest.docker.started", console="ttyS1")
    assert "hook-docker" not in judge(tape.events).because
    assert play(tape, until=62) is None


def test_bootkit_is_done_once_the_worker_runs() -> None:
    tape = ends(working(), 60, "hook-bootkit", "ended")
    assert play(tape, until=70) is None
    assert "bootkit" not in judge(tape.events).because


def test_a_machine_that_shuts_down_ends_its_services_first() -> None:
    tape = ends(working(), 60, "hook-docker", "was killed by signal 15 (terminated)")
    assert ended(tape, "service-ended", by=68)
    tape.add(66, "machine", "machine.reset", machine="machine", guest=True)
    assert play(tape, until=72) is None
