"""One sentence on every way to fail, from the wire's evidence; "not enough" where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.phases import Party, Phase
from harness.scenario.tests.samples import good_boot
from harness.timeline import read_timeline
from harness.verdict import judge, told_to_the_end
from harness.verdict.tests.ways_to_fail import CASES


def test_a_good_boot_passes() -> None:
    verdict = judge(good_boot().events)
    assert verdict.passed
    assert (verdict.reached, verdict.failed_in, verdict.blame) == (Phase.DONE, None, None)
    assert verdict.because == "workflow default/hello ended SUCCESS"


def test_no_events_at_all_is_judged() -> None:
    verdict = judge([])
    assert (verdict.reached, verdict.blame) == (Phase.POWER_ON, Party.UNKNOWN)
    assert verdict.because == "not enough evidence for what went wrong in power on"


def test_a_deadline_that_passed_is_told() -> None:
    tape = good_boot().until("dhcp.offer.sent")
    before = judge(tape.events)
    tape.add(600, "run", "run.finished", outcome="deadline")
    after = judge(tape.events)
    assert after.because == f"{before.because}; then the deadline passed"
    assert (after.failed_in, after.blame) == (before.failed_in, before.blame)


def test_the_file_is_as_the_contract_says(tmp_path: Path) -> None:
    judge(good_boot().until("dhcp.offer.sent").events).write(tmp_path / "verdict.json")
    data = json.loads((tmp_path / "verdict.json").read_text())
    assert list(data) == ["reached", "failed_in", "blame", "because", "evidence"]
    assert (data["reached"], data["failed_in"]) == ("firmware-dhcp", "firmware-dhcp")
    assert all(isinstance(number, int) for number in data["evidence"])


@pytest.mark.parametrize("name", CASES)
def test_every_way_to_fail(name: str) -> None:
    make, phase, blame, because = CASES[name]
    tape = make()
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == (phase, blame)
    assert verdict.because == because
    assert verdict.reached == verdict.failed_in
    assert verdict.evidence
    assert set(verdict.evidence) <= {event.seq for event in tape.events}


def test_a_boot_cut_off_anywhere_is_judged() -> None:
    events = good_boot().events
    for length in range(len(events)):
        verdict = judge(events[:length])
        assert verdict.because
        assert verdict.passed == (verdict.reached is Phase.DONE)


def test_a_timeline_torn_anywhere_is_judged(tmp_path: Path) -> None:
    """SIGKILL leaves half a line behind."""
    octets = "".join(event.to_json() + "\n" for event in good_boot().events).encode()
    file = tmp_path / "timeline.jsonl"
    for cut in range(1, len(octets), 211):
        file.write_bytes(octets[:cut])
        events = told_to_the_end(read_timeline(file))
        verdict = judge(events)
        assert verdict.because
        assert verdict.passed == (verdict.reached is Phase.DONE)


def test_an_error_answer_that_was_got_over_is_no_reason() -> None:
    tape = good_boot().until("http.script.served")
    answer = {"id": 90, "path": "/hook/vmlinuz-x86_64", "bytes": 9}
    tape.add(20, "http", "http.request.received", method="GET", id=90, path=answer["path"])
    tape.add(20, "http", "http.response.finished", status=503, **answer)
    assert "503" in judge(tape.events).because
    tape.add(21, "http", "http.response.finished", status=200, **answer)
    assert "503" not in judge(tape.events).because
