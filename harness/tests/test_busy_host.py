"""A busy host changes no good verdict, and what it breaks is never the product's fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.phases import Party, Phase
from harness.report.junit import write_junit
from harness.report.record import read_run
from harness.report.tests.folders import failed_boot, make_run
from harness.report.text import Style, final_block, pace_notes
from harness.scenario.command import exit_status
from harness.scenario.item import Item, VerdictItem
from harness.scenario.runner import Outcome, RunResult, conclude
from harness.scenario.tests.samples import Tape, change, good_boot, hello, report
from harness.timeline import Event
from harness.verdict import blame_host, how_busy, judge, overruns, track
from harness.verdict.durations import net_durations


def busy(tape: Tape, start: float, end: float, *, lost: float) -> Tape:
    """Return ``tape`` on a host that took ``lost`` of each second between two moments."""
    events = list(tape.events)
    for n in range(round((end - start) / 5)):
        had = 5 * (1 - lost)
        fields = {
            "duration_s": 5.0,
            "stalled_s": 5.0 - had,
            "ran_s": had,
            "waited_s": 5.0 - had,
            "machine_ran_s": had,
            "machine_waited_s": 5.0 - had,
            "by": "run_delay",
        }
        at = start + 5 * (n + 1)
        events.append(Event(seq=0, t=at, source="host", name="host.stalled", fields=fields))
    ordered = sorted(events, key=lambda event: event.t)
    return Tape(
        [
            Event(seq=n, t=e.t, source=e.source, name=e.name, fields=e.fields)
            for n, e in enumerate(ordered, 1)
        ]
    )


def conclusion(tape: Tape, folder: Path, item: Item | None = None) -> RunResult:
    """Return what the runner makes of a run."""
    item = item or hello()
    make_run(folder, tape, item)
    return conclude(item, list(tape.events), folder, 60.0)


def test_a_boot_that_passes_on_a_busy_host_passed(tmp_path: Path) -> None:
    result = conclusion(busy(good_boot(), 20, 60, lost=0.9), tmp_path)
    assert result.outcome is Outcome.PASSED
    assert result.verdict.passed
    told = dict(pace_notes(result.events))
    assert told["host"] == (
        "busy: the lab stood still for 36 of 67 s, when QEMU wanted 40 s of CPU time and got 4 s;"
        " deadlines were stretched 2.2 times"
    )
    assert "the host was busy: the lab stood still" in (tmp_path / "report.html").read_text()


def starved_boot() -> Tape:
    """Return a boot whose second action waited in vain."""
    tape = good_boot().until("tink.action.reported", action="write")
    report(tape, 60, "write", "STATE_FAILED", message="dial tcp 192.168.77.1:80: i/o timeout")
    change(tape, 60, "STATE_FAILED", "STATE_RUNNING")
    tape.add(61, "run", "run.finished", outcome="ended")
    return tape


def test_a_failure_where_the_host_took_the_cpu_is_the_hosts(tmp_path: Path) -> None:
    result = conclusion(busy(starved_boot(), 40, 60, lost=0.8), tmp_path)
    assert result.outcome is Outcome.HOST_TOO_SLOW
    assert not result.passed
    assert (result.verdict.blame, result.verdict.failed_in) == (Party.HOST, Phase.WORKFLOW)
    assert result.verdict.because.startswith("the host withheld the CPU in workflow: the lab stood")
    assert "i/o timeout" in result.verdict.because  # what was seen is still told
    shown = final_block(
        item=result.item,
        passed=False,
        verdict=result.verdict,
        total_s=60,
        run_dir=tmp_path,
        style=Style(colour=False),
        host_too_slow=True,
    )
    assert shown.startswith("HOST TOO SLOW in workflow after 60.0 s\n")
    # The page, made anew from the folder alone, says the same.
    assert read_run(tmp_path).outcome == "host too slow"
    assert read_run(tmp_path).verdict == result.verdict
    assert "<h1>The host was too slow in workflow" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("start", "end", "lost"),
    [
        (40, 60, 0.5),  # twice as long, nothing more
        (10, 30, 0.9),  # over long before
        (50, 55, 1.0),  # too short for anybody to give up
    ],
)
def test_a_failure_that_the_host_has_no_part_in_stays_one(
    tmp_path: Path, start: float, end: float, lost: float
) -> None:
    result = conclusion(busy(starved_boot(), start, end, lost=lost), tmp_path)
    assert result.outcome is Outcome.FAILED
    assert result.verdict.blame is judge(starved_boot().events).blame


def script_missing() -> Tape:
    """Return a boot whose script is answered with 404."""
    tape = good_boot().until("http.script.served")
    tape = Tape(list(tape.events)[:-1])
    t = tape.events[-1].t
    path = "/auto.ipxe"
    tape.add(t + 0.1, "http", "http.response.finished", id="h9", path=path, status=404, bytes=19)
    tape.add(61, "run", "run.finished", outcome="ended")
    return tape


def unauthorized() -> Tape:
    """Return a boot whose registry refuses the credentials."""
    tape = good_boot().until("guest.docker.started")
    path = "/v2/tink-worker/manifests/v1"
    tape.add(45, "registry", "registry.auth.refused", id=1, path=path, user="x")
    tape.add(61, "run", "run.finished", outcome="ended")
    return tape


@pytest.mark.parametrize("boot", [failed_boot, script_missing, unauthorized])
def test_what_an_answer_proves_no_busy_host_excuses(
    boot: Callable[[], Tape], tmp_path: Path
) -> None:
    seen = judge(boot().events)
    result = conclusion(busy(boot(), 0, 60, lost=0.95), tmp_path)
    assert result.outcome is Outcome.FAILED
    assert (result.verdict.blame, result.verdict.because) == (seen.blame, seen.because)
    assert seen.blame is not Party.HOST
    assert read_run(tmp_path).outcome == "failed"


def test_what_was_let_in_later_was_not_refused_for_good() -> None:
    tape = Tape([event for event in unauthorized().events if event.name != "run.finished"])
    assert judge(tape.events).conclusive
    tape.add(46, "registry", "registry.manifest.served", repository="tink-worker", reference="v1")
    verdict = judge(tape.events)
    assert "refused" not in verdict.because
    assert not verdict.conclusive


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_a_server_that_may_have_been_too_slow_itself_proves_nothing(status: int) -> None:
    tape = Tape(
        [
            replace(event, fields={**event.fields, "status": status})
            if event.get("status") == 404
            else event
            for event in script_missing().events
        ]
    )
    events = busy(tape, 0, 60, lost=0.95).events
    verdict = judge(events)
    assert str(status) in verdict.because
    assert blame_host(events, track(events), verdict) is not None


def test_a_wait_for_what_was_refused_is_not_the_hosts(tmp_path: Path) -> None:
    tape = Tape([event for event in script_missing().events if event.name != "run.finished"])
    tape = busy(tape, 20, 240, lost=0.9)
    tape.add(
        241, "host", "host.too_slow",
        waited_for="the workflow's end", given_s=60.0, granted_s=24.0, duration_s=241.0,
    )  # fmt: skip
    tape.add(242, "run", "run.finished", outcome="host too slow")
    result = conclusion(tape, tmp_path)
    assert result.outcome is Outcome.FAILED
    assert result.verdict.because.startswith("HTTP answered 404 for /auto.ipxe")


def test_a_boot_that_should_have_failed_is_no_hosts_doing(tmp_path: Path) -> None:
    """A fault that never fired, say: slowness makes nothing succeed."""
    expected = VerdictItem(failed_in="ipxe", blame=None, because=None, at="mine.yaml:3:1")
    item = replace(hello(), expected_verdict=expected)
    result = conclusion(busy(good_boot(), 5, 65, lost=0.9), tmp_path, item)
    assert result.outcome is Outcome.FAILED
    assert result.differences == ("expected to fail in ipxe, but it passed",)
    assert read_run(tmp_path).outcome == "failed"


def test_a_boot_that_failed_as_it_was_to_fail_had_its_time(tmp_path: Path) -> None:
    """What else the scenario expects is then not met, and not for want of time."""
    seen = judge(starved_boot().events)
    assert seen.failed_in
    assert seen.blame
    expected = VerdictItem(
        failed_in=seen.failed_in.value, blame=seen.blame.value, because=None, at="mine.yaml:3:1"
    )
    item = replace(hello(), expected_verdict=expected)
    result = conclusion(busy(starved_boot(), 40, 60, lost=0.8), tmp_path, item)
    assert result.outcome is Outcome.FAILED
    assert (result.verdict.because, result.verdict.blame) == (seen.because, seen.blame)
    assert not all(finding.met for finding in result.findings)
    assert read_run(tmp_path).outcome == "failed"


def test_a_wait_that_was_stretched_as_far_as_it_goes(tmp_path: Path) -> None:
    tape = busy(good_boot().until("guest.kernel.started"), 20, 240, lost=0.9)
    tape.add(
        241, "host", "host.too_slow",
        waited_for="the workflow's end", given_s=60.0, granted_s=24.0, duration_s=241.0,
    )  # fmt: skip
    tape.add(242, "run", "run.finished", outcome="host too slow")
    result = conclusion(tape, tmp_path)
    assert result.outcome is Outcome.HOST_TOO_SLOW
    assert result.verdict.blame is Party.HOST
    assert result.verdict.because == (
        "the host is too slow: in 241 s it granted 24 of the 60 s that a quiet host has for the"
        " workflow's end"
    )
    assert "host.too_slow" in {
        event.name for event in tape.events if event.seq in result.verdict.evidence
    }


def test_exit_status_and_junit_keep_it_apart_from_failures(tmp_path: Path) -> None:
    good = conclusion(good_boot(), tmp_path / "good")
    bad = conclusion(failed_boot(), tmp_path / "bad")
    slow = conclusion(busy(starved_boot(), 40, 60, lost=0.8), tmp_path / "slow")
    assert exit_status([good, good]) == 0
    assert exit_status([good, slow]) == 3
    assert exit_status([good, slow, bad]) == 1
    write_junit([good, slow], tmp_path / "out.xml")
    text = (tmp_path / "out.xml").read_text()
    assert 'failures="0" errors="0" skipped="1"' in text
    assert 'message="host too slow: the host withheld the CPU in workflow' in text
    assert slow.to_data()["outcome"] == "host too slow"


def test_blame_needs_something_that_went_wrong_and_stalls() -> None:
    events = failed_boot().events
    assert blame_host(events, track(events), judge(events)) is None
    assert how_busy(events) is None


def budgeted(tape: Tape, **phases: tuple[float, float, float, int]) -> Tape:
    """Return ``tape`` with what phases usually take: low, high, most, runs."""
    known = {
        name.replace("_", "-"): {
            "usual_s": (low + high) / 2, "low_s": low, "high_s": high, "most_s": most, "runs": runs,
        }
        for name, (low, high, most, runs) in phases.items()
    }  # fmt: skip
    event = Event(
        seq=0, t=0.02, source="host", name="run.budgeted", fields={"phases": {"cold": known}}
    )
    return Tape([tape.events[0], event, *tape.events[1:]])


def test_a_phase_over_its_budget_is_told(tmp_path: Path) -> None:
    tape = budgeted(good_boot(), hook_boot=(12, 14, 16, 9), ipxe=(6, 8, 12, 9))
    [over] = overruns(tape.events, track(tape.events))
    assert over.words == "hook boot: 19.7 s, usually 12–14 s"
    result = conclusion(tape, tmp_path)
    assert result.outcome is Outcome.PASSED  # told, not failed
    assert pace_notes(result.events) == [("slow", over.words)]
    assert "usually 12–14 s" in (tmp_path / "report.html").read_text()


def test_what_the_host_held_up_is_not_over_budget() -> None:
    tape = busy(budgeted(good_boot(), hook_boot=(12, 14, 16, 9)), 20, 30, lost=0.5)
    assert overruns(tape.events, track(tape.events)) == []
    durations = net_durations(tape.events, track(tape.events))
    assert durations["hook-boot"] == pytest.approx(19.7 - 5, abs=0.3)
