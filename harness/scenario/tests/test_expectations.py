"""Expectations hold or fail by the timeline alone, and a failure shows what it was about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.scenario.expectations import Outcome, check_expectations, check_verdict
from harness.scenario.item import ExpectationItem, VerdictItem
from harness.scenario.tests.samples import DIGEST, MAC, Tape, good_boot, hello, report
from harness.tests.test_busy_host import busy


def check(key: str, value: Any, tape: Tape) -> Outcome:
    """Return the outcome of one expectation on ``tape``."""
    expectation = ExpectationItem(key=key, value=value, at="mine.yaml:7:5")
    [outcome] = check_expectations(replace(hello(), expectations=(expectation,)), tape.events)
    assert outcome.at == "mine.yaml:7:5"
    assert bool(outcome.nearest) == (not outcome.met and bool(tape.events))
    assert len(outcome.nearest) <= 10
    return outcome


def test_a_good_boot_meets_all_of_hello() -> None:
    outcomes = check_expectations(hello(), good_boot().events)
    assert [outcome.expectation for outcome in outcomes] == [
        "worker pulled: 1",
        "actions: [print, write, read, disk]",
        "workflow: SUCCESS",
        "disk vda: {at: 0, text: LABDISK}",
    ]
    assert [outcome for outcome in outcomes if not outcome.met] == []


def test_an_empty_timeline_meets_none_of_hello() -> None:
    outcomes = check_expectations(hello(), [])
    assert [(outcome.met, outcome.found) for outcome in outcomes] == [
        (False, "never"),
        (False, "no action was reported"),
        (False, "it never began"),
        (False, "the disk was not looked at"),
    ]


def test_phases_within_a_time() -> None:
    tape = good_boot()
    outcome = check("phases within", {"hook-boot": "20 s", "ipxe": "9 s"}, tape)
    assert (outcome.met, outcome.found) == (True, "hook-boot took 19.7 s, ipxe took 7.8 s")
    outcome = check("phases within", {"hook-boot": "15 s"}, tape)
    assert (outcome.met, outcome.expected) == (False, "hook-boot at most 15 s")
    # What a busy host held it up does not count, and a slower host has so much more.
    assert check("phases within", {"hook-boot": "15 s"}, busy(tape, 20, 30, lost=0.5)).met
    slow = Tape([tape.add(0.02, "host", "host.calibrated", factor=2.0), *tape.events])
    assert check("phases within", {"hook-boot": "10 s"}, slow).met
    cut = good_boot().until("guest.kernel.started")
    outcome = check("phases within", {"hook-boot": "30 s"}, cut)
    assert (outcome.met, outcome.found) == (False, "hook-boot did not end")


def pull(tape: Tape, method: str, *, mac: str = MAC, reference: str = "v0.12.2") -> None:
    """Add one more answer about the worker's manifest."""
    tape.add(70, "registry", "registry.manifest.served", mac=mac, method=method, digest=DIGEST,
             repository="tink-worker", reference=reference)  # fmt: skip


def test_worker_pulled_counts_resolved_tags_not_requests() -> None:
    tape = good_boot()
    pull(tape, "GET")  # HEAD and then GET by tag is one pull
    assert check("worker pulled", 1, tape).met
    pull(tape, "GET", reference=DIGEST)
    assert check("worker pulled", 1, tape).met
    pull(tape, "GET")
    outcome = check("worker pulled", 1, tape)
    assert (outcome.met, outcome.found) == (False, "twice")
    assert outcome.expected == f"{MAC} pulls tink-worker:v0.12.2 once"
    assert all(event.name.startswith("registry.") for event in outcome.nearest)


def test_worker_pulled_counts_this_mac_only() -> None:
    tape = good_boot()
    pull(tape, "HEAD", mac="52:54:00:99:99:99")
    assert check("worker pulled", 1, tape).met
    assert check("worker pulled", 2, tape).found == "once (and once by others)"
    assert not check("worker pulled", 0, tape).met


def test_actions_must_come_in_order() -> None:
    tape = good_boot()
    outcome = check("actions", ["write", "print", "read", "disk"], tape)
    assert not outcome.met
    assert outcome.found == (
        "print RUNNING SUCCESS, write RUNNING SUCCESS, read RUNNING SUCCESS, disk RUNNING SUCCESS"
    )
    assert any(event.get("action") == "print" for event in outcome.nearest)


def test_actions_must_be_complete_and_none_more() -> None:
    assert not check("actions", ["print", "write", "read"], good_boot()).met
    assert not check("actions", ["print", "write", "read", "disk", "kexec"], good_boot()).met


def test_a_repeated_report_is_no_second_run_but_a_second_run_is() -> None:
    tape = Tape()
    report(tape, 1, "print", "STATE_RUNNING")
    report(tape, 2, "print", "STATE_RUNNING")
    report(tape, 3, "print", "STATE_SUCCESS")
    assert check("actions", ["print"], tape).met
    report(tape, 4, "print", "STATE_RUNNING")
    report(tape, 5, "print", "STATE_SUCCESS")
    assert not check("actions", ["print"], tape).met


def test_reports_that_were_not_accepted_do_not_count() -> None:
    tape = Tape()
    report(tape, 1, "print", "STATE_SUCCESS", accepted=False)
    report(tape, 1, "print", "STATE_RUNNING")
    report(tape, 2, "print", "STATE_FAILED")
    assert check("actions", {"print": "FAILED"}, tape).met
    assert not check("actions", {"print": "SUCCESS"}, tape).met
    assert check("actions", {"print": "SUCCESS"}, tape).found == "print RUNNING FAILED"


def test_workflow_state() -> None:
    assert check("workflow", "SUCCESS", good_boot()).met
    outcome = check("workflow", "FAILED", good_boot())
    assert (outcome.met, outcome.found) == (False, "it is SUCCESS")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"at": 512, "hex": "4C 41"}, "hex:4c41"),
        ({"at": 512, "sha256": "ab" * 32, "length": 4}, f"sha256:{'ab' * 32}/4"),
    ],
)
def test_disk_by_what_was_checked(value: dict[str, Any], expected: str) -> None:
    tape = Tape()
    fields: dict[str, Any] = {"disk": "vda", "at_bytes": 512, "expected": expected}
    assert check("disk vda", value, tape).found == "the disk was not looked at"
    tape.add(1, "lab", "disk.checked", **fields, found="hex:0000", matched=False)
    outcome = check("disk vda", value, tape)
    assert (outcome.met, outcome.found) == (False, "hex:0000")
    assert outcome.expected == f"{expected} at 512 of vda"
    tape.add(2, "lab", "disk.checked", **fields, found=expected, matched=True)
    assert check("disk vda", value, tape).met
    assert not check("disk vdb", value, tape).met


def test_events_by_field_glob_and_count() -> None:
    tape = good_boot()
    assert check("event", {"name": "dhcp.ack.sent"}, tape).met
    assert check("event", {"name": "dhcp.ack.sent", "where": {"stage": "guest"}}, tape).met
    assert check("event", {"name": "dhcp.ack.sent", "where": {"file": "http://*"}}, tape).met
    assert check("event", {"name": "dhcp.ack.sent", "count": 3}, tape).met
    outcome = check("event", {"name": "dhcp.ack.sent", "where": {"stage": "ipxe"}}, tape)
    assert (outcome.found, outcome.expected) == (
        "never",
        "dhcp.ack.sent with stage ipxe at least once",
    )
    assert not check("event", {"name": "dhcp.ack.sent", "count": 2}, tape).met
    assert check("event", {"name": "tftp.error.sent", "where": {"code": 1}}, tape).met
    assert not check("event", {"name": "tftp.error.sent", "where": {"code": 2}}, tape).met


def test_no_event() -> None:
    tape = good_boot()
    assert check("no event", {"name": "guest.panicked"}, tape).met
    outcome = check("no event", {"name": "tftp.transfer.aborted"}, tape)
    assert (outcome.met, outcome.found) == (False, "once, first at 6.1 s")
    assert tape.events[10] in outcome.nearest


def test_console() -> None:
    assert check("console", "*bdsdxe: starting*", good_boot()).met
    assert check("console", "*login:*", good_boot()).found == "none in 1 lines"


def test_an_assertion_of_a_python_scenario_is_an_unmet_expectation() -> None:
    tape = good_boot()
    tape.add(70, "test", "expectation.failed", expectation="test_x (t.py:3:1)", expected="a == 1",
             found="a is 2")  # fmt: skip
    outcome = check_expectations(hello(), tape.events)[-1]
    assert (outcome.met, outcome.expectation, outcome.at) == (False, "test_x", "t.py:3:1")
    assert (outcome.expected, outcome.found) == ("a == 1", "a is 2")
    assert tape.events[-1] in outcome.nearest


EXPECTED = VerdictItem(
    failed_in="worker-pull", blame="registry", because="*HTTP response*", at="m.yaml:9:1"
)


@pytest.mark.parametrize(
    ("expected", "failed_in", "blame", "because", "differences"),
    [
        (None, None, None, "ended", []),
        (None, "ipxe", "http", "404", ["expected to pass, failed in ipxe: 404"]),
        (EXPECTED, "worker-pull", "registry", "gave http response to", []),
        (EXPECTED, None, None, "ended", ["expected to fail in worker-pull, but it passed"]),
        (
            EXPECTED,
            "ipxe",
            "http",
            "404",
            [
                "expected to fail in worker-pull, failed in ipxe: 404",
                "expected the blame on registry, found http: 404",
                "expected the reason to match '*HTTP response*', found: 404",
            ],
        ),
    ],
)
def test_verdicts_are_compared(
    expected: VerdictItem | None,
    failed_in: str | None,
    blame: str | None,
    because: str,
    differences: list[str],
) -> None:
    item = replace(hello(), expected_verdict=expected)
    assert check_verdict(item, failed_in=failed_in, blame=blame, because=because) == differences
