"""Calls between worker and Tinkerbell that end a run, and those that do not."""

from __future__ import annotations

from harness.scenario.tests.samples import MAC, Tape, good_boot, report
from harness.verdict.tests.playing import ended, play, working


def test_a_worker_without_work() -> None:
    tape = working()
    for t in (45, 51, 57, 63):
        tape.add(t, "tink", "tink.rpc.received", id=t, rpc="GetWorkflowContexts")
        tape.add(t, "tink", "tink.contexts.sent", id=t, worker_id=MAC, workflows=[])
        tape.add(t, "tink", "tink.rpc.finished", id=t, rpc="GetWorkflowContexts", code="OK")
    assert ended(tape, "no-work", by=57)
    assert play(tape, workflow=False, until=90) is None


def test_an_agent_without_work() -> None:
    tape = working()
    for t in (45, 105, 166):
        tape.add(t, "tink", "tink.rpc.received", id=t, rpc="GetAction")
        tape.add(t + 60, "tink", "tink.rpc.finished", id=t, rpc="GetAction", code="NOT_FOUND",
                 details="no Workflows found")  # fmt: skip
    assert "no Workflows found" in ended(tape, "no-work", by=226).because


def answered(tape: Tape, *times: float, rpc: str, code: str) -> Tape:
    for t in times:
        tape.add(t, "tink", "tink.rpc.received", id=t, rpc=rpc, worker_id=MAC, peer="x:1")
        tape.add(t, "tink", "tink.rpc.finished", id=t, rpc=rpc, code=code)
    return tape


def cannot_call(tape: Tape, *times: float, why: str = "connection refused") -> Tape:
    for t in times:
        message = f'{{"level":"error","msg":"failed to get workflow context","error":"{why}"}}'
        tape.add(t, "syslog", "syslog.message.received", mac=MAC, message=message)
    return tape


def test_a_worker_that_says_it_cannot_call() -> None:
    tape = cannot_call(working(), *(45.0 + 3 * number for number in range(20)))
    assert "connection refused" in ended(tape, "calls-unheard", by=70).because


def test_a_worker_that_gets_through_after_all() -> None:
    tape = cannot_call(working(), 45, 48, 51, 54, 57)
    tape.add(60, "tink", "tink.connection.accepted", id=1, peer="x:1")
    tape.add(60, "tink", "tink.connection.opened", id=1, peer="x:1")
    answered(tape, 61, rpc="GetWorkflowContexts", code="OK")
    cannot_call(tape, 64, 67, 70)
    assert play(tape, until=85) is None


def test_questions_that_are_refused_for_good() -> None:
    asked = [45.0 + 3 * number for number in range(20)]
    tape = answered(working(), *asked, rpc="GetWorkflowContexts", code="PERMISSION_DENIED")
    assert "PERMISSION_DENIED, 4 times" in ended(tape, "call-refused", by=54).because


def test_a_server_that_is_overloaded_may_recover() -> None:
    asked = [45.0 + 3 * number for number in range(30)]
    tape = answered(working(), *asked, rpc="GetWorkflowContexts", code="UNAVAILABLE")
    assert ended(tape, "call-refused", by=90)
    tape = answered(working(), *asked[:12], rpc="GetWorkflowContexts", code="UNAVAILABLE")
    answered(tape, 80, rpc="GetWorkflowContexts", code="OK")
    answered(tape, 83, 86, rpc="GetWorkflowContexts", code="UNAVAILABLE")
    assert play(tape, until=110) is None


def test_work_that_is_there_and_not_given_yet_is_no_lack_of_work() -> None:
    """The times are those of a real boot, whose server was overloaded."""
    tape = working()
    for t in (140.4, 146.5, 152.5, 158.6):
        tape.add(t, "tink", "tink.rpc.received", id=t, rpc="GetWorkflowContexts")
        tape.add(t, "tink", "tink.contexts.sent", id=t, worker_id=MAC, workflows=["default/x"])
        tape.add(t, "tink", "tink.rpc.finished", id=t, rpc="GetWorkflowContexts", code="OK")
        answered(tape, t, rpc="GetWorkflowActions", code="UNAVAILABLE")
    assert play(tape, until=165) is None


def test_a_call_that_is_never_answered() -> None:
    tape = working()
    tape.add(45, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowContexts", peer="x:1")
    assert ended(tape, "call-unanswered", by=75).hang


def test_an_agent_is_kept_waiting_for_a_minute() -> None:
    tape = working()
    tape.add(45, "tink", "tink.rpc.received", id=1, rpc="GetAction", peer="x:1")
    assert play(tape, until=130) is None
    assert ended(tape, "call-unanswered", by=135)


def test_connections_that_never_become_grpc() -> None:
    tape = working()
    for t in (45, 46, 47.6, 50.2, 54.3):
        tape.add(t, "tink", "tink.connection.accepted", id=t, peer="x:1")
        tape.add(t, "tink", "tink.connection.failed", id=t, peer="x:1", reason="no TLS")
    assert ended(tape, "no-connection", by=54)


def test_a_server_that_accepts_only() -> None:
    tape = working()
    for t in (45, 66, 87):
        tape.add(t, "tink", "tink.connection.accepted", id=t, peer="x:1")
    assert ended(tape, "no-connection", by=85).hang


def test_a_server_that_never_speaks_http2() -> None:
    """The times are those of a real tink-worker."""
    tape = working()
    for t in (45.1, 66.2, 87.8, 110.7):
        tape.add(t, "tink", "tink.connection.accepted", id=t, peer="x:1")
        tape.add(t, "tink", "tink.connection.opened", id=t, peer="x:1")
    assert ended(tape, "no-connection", by=87.5).hang


def test_a_connection_that_breaks_under_a_long_action_is_no_end() -> None:
    tape = good_boot().until("tink.action.reported", action="print")
    for t in range(50, 170, 10):
        tape.add(t, "tink", "tink.connection.closed", id=t, peer="x:1", reason="reset")
        tape.add(t + 1, "tink", "tink.connection.opened", id=t, peer="x:1")
    assert play(tape, until=175) is None


def test_reports_that_are_refused_for_ever() -> None:
    tape = good_boot().until("tink.action.reported", action="print")
    for t in range(50, 90, 3):
        tape.add(t, "tink", "tink.rpc.received", id=t, rpc="ReportActionStatus")
        tape.add(t, "tink", "tink.rpc.finished", id=t, rpc="ReportActionStatus", code="INTERNAL")
    assert ended(tape, "report-refused", by=71)


def test_an_action_that_is_run_again_and_again() -> None:
    tape = good_boot().until("tink.action.reported", action="disk", state="STATE_RUNNING")
    t = tape.events[-1].t
    for round_ in range(3):
        at, number = t + 5 + 12 * round_, 100 + 10 * round_
        report_of = {"id": number, "rpc": "ReportActionStatus"}
        tape.add(at, "tink", "tink.rpc.received", **report_of)
        tape.add(at, "tink", "tink.rpc.finished", **report_of, code="OK")
        tape.add(at + 6, "tink", "tink.rpc.received", id=number + 1, rpc="GetWorkflowContexts")
        tape.add(at + 6, "tink", "tink.contexts.sent", id=number + 1, workflows=["default/hello"])
    assert ended(tape, "report-not-taken", by=t + 5 + 24)


def test_reports_that_are_taken_in_are_no_end() -> None:
    tape = good_boot().until("tink.action.reported", action="disk", state="STATE_RUNNING")
    t = tape.events[-1].t
    for number in range(5):
        report(tape, t + number, "disk", "STATE_RUNNING", id=number)
        tape.add(t + number, "tink", "tink.rpc.finished", id=number, rpc="ReportActionStatus",
                 code="OK")  # fmt: skip
    assert play(tape, until=t + 10) is None


def test_an_agent_that_ends_over_its_report() -> None:
    tape = working()
    tape.add(45, "tink", "tink.rpc.received", id=1, rpc="GetAction")
    tape.add(45, "tink", "tink.rpc.finished", id=1, rpc="GetAction", code="OK")
    tape.add(50, "tink", "tink.rpc.received", id=2, rpc="ReportActionStatus")
    tape.add(50, "tink", "tink.rpc.finished", id=2, rpc="ReportActionStatus", code="NOT_FOUND")
    assert "agent ended" in ended(tape, "report-refused", by=72).because


def test_an_action_beyond_its_timeout() -> None:
    tape = working()
    tape.add(45, "tink", "tink.actions.sent", id=2, workflow_id="w", actions=["a"], timeouts_s=[90])
    report(tape, 46, "a", "STATE_RUNNING")
    assert play(tape, until=255) is None
    assert ended(tape, "action-overdue", by=256).hang


def test_an_action_without_a_known_timeout_may_run() -> None:
    tape = working()
    report(tape, 46, "a", "STATE_RUNNING")
    assert play(tape) is None


def test_a_worker_that_is_dead() -> None:
    assert ended(working(), "silence", by=192).hang
