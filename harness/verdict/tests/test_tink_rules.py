"""Whose fault it is when worker and Tinkerbell don't get on."""

from __future__ import annotations

import pytest

from harness.phases import Phase
from harness.scenario.tests.samples import MAC, Tape, good_boot, report
from harness.verdict.judge import Verdict, judge

X509 = "x509: certificate signed by unknown authority"


def worker_up() -> Tape:
    tape = good_boot().until("tink.rpc.received")
    tape.events = [event for event in tape.events if not event.name.startswith("tink.")]
    return tape


def found(tape: Tape) -> Verdict:
    tape.add(tape.events[-1].t + 30, "run", "run.finished", outcome="deadline")
    verdict = judge(tape.events)
    assert verdict.failed_in is Phase.WORKFLOW
    return verdict


def alerts(tape: Tape, alert: str) -> None:
    for number in range(2):
        reason = f"the client sent alert: {alert}"
        tape.add(
            45 + number, "tink", "tink.connection.failed", id=number, peer="x:1", reason=reason
        )


@pytest.mark.parametrize(
    ("why", "blame", "says"),
    [
        ("i/o timeout", "link", "and nothing of that arrives, twice: i/o timeout"),
        ("connect: connection refused", "tink", "and is refused, twice: connect: connection"),
    ],
)
def test_calls_that_never_come_to_the_server(why: str, blame: str, says: str) -> None:
    tape = Tape()
    tape.add(0, "tink", "service.started", service="tink", address="192.168.77.1", port=42113)
    tape.events += worker_up().events
    error = f"transport: Error while dialing: dial tcp 192.168.77.1:42113: {why}"
    for t in (70, 91):
        message = f'{{"msg":"failed to get workflow context","error":"rpc error: {error}"}}'
        tape.add(t, "syslog", "syslog.message.received", mac=MAC, message=message)
    verdict = found(tape)
    assert verdict.blame == blame
    assert verdict.because.startswith("the worker calls Tinkerbell at 192.168.77.1:42113, and")
    assert says in verdict.because


def test_a_certificate_that_the_worker_refuses() -> None:
    tape = worker_up()
    alerts(tape, "bad certificate")
    verdict = found(tape)
    assert verdict.blame == "tink"
    assert "the worker refuses the server's certificate, twice: the client sent" in verdict.because


def test_the_workers_own_words_say_why() -> None:
    tape = worker_up()
    alerts(tape, "bad certificate")
    message = f'{{"msg":"failed to get workflow context","error":"… \\"…: {X509}\\""}}'
    tape.add(47, "syslog", "syslog.message.received", mac=MAC, message=message)
    verdict = found(tape)
    assert f"certificate, twice: {X509}; then" in verdict.because
    assert tape.events[-2].seq in verdict.evidence


def test_a_certificate_of_the_past_is_to_be_renewed() -> None:
    tape = worker_up()
    tape.add(44, "lab", "lab.resumed", wall="2026-11-22T18:16:52+00:00", point="hook-up")
    alerts(tape, "bad certificate")
    past, now = "2026-11-21T18:17:31Z", "2026-11-22T18:17:39Z"
    why = f"x509: certificate has expired or is not yet valid: current time {now}"
    message = f'{{"msg":"failed to get workflow context","error":"{why} is after {past}"}}'
    tape.add(47, "syslog", "syslog.message.received", mac=MAC, message=message)
    verdict = found(tape)
    assert verdict.blame == "tink"
    assert verdict.hint is not None
    assert "renew it" in verdict.hint


def test_a_certificate_that_was_refused_once_and_then_taken_is_no_failure() -> None:
    tape = worker_up()
    alerts(tape, "bad certificate")
    tape.add(48, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowContexts", peer="x:2")
    assert "certificate" not in found(tape).because


def refused(tape: Tape, t: float, action: str, state: str, details: str) -> None:
    report(tape, t, action, state, accepted=False)
    tape.add(
        *(t, "tink", "tink.rpc.finished"),
        id=99,
        rpc="ReportActionStatus",
        code="INVALID_ARGUMENT",
        details=details,
    )


WRONG = "reported action name does not match the current action details"


def test_an_answer_that_was_lost_and_a_report_that_is_repeated_for_ever() -> None:
    tape = good_boot().until("tink.action.reported", action="print", state="STATE_SUCCESS")
    t = tape.events[-1].t
    for number in range(5):
        refused(tape, t + 3 * number, "print", "SUCCESS", WRONG)
    verdict = found(tape)
    assert verdict.blame == "worker"
    assert "reports SUCCESS of action 'print' again and again" in verdict.because
    assert f"refuses it, 5 times: {WRONG}" in verdict.because
    assert "its answer was lost" in (verdict.hint or "")


def test_a_report_of_what_tinkerbell_never_started() -> None:
    tape = good_boot().until("tink.action.reported", action="print", state="STATE_SUCCESS")
    for _ in range(3):
        refused(tape, tape.events[-1].t + 3, "write", "RUNNING", WRONG)
    assert "was its state changed?" in (found(tape).hint or "")


def test_a_worker_that_ends_when_its_report_is_refused() -> None:
    tape = good_boot().until("tink.action.reported", action="print", state="STATE_RUNNING")
    refused(tape, tape.events[-1].t + 1, "print", "SUCCESS", "action not found")
    verdict = found(tape)
    assert verdict.blame == "tink"
    assert "the worker has said nothing since: action not found" in verdict.because


def test_a_report_refused_twice_and_then_heard_is_no_failure() -> None:
    tape = good_boot().until("tink.action.reported", action="print", state="STATE_RUNNING")
    refused(tape, tape.events[-1].t + 1, "print", "SUCCESS", "")
    report(tape, tape.events[-1].t + 1, "print", "SUCCESS")
    assert "refuse" not in found(tape).because


def unheard(tape: Tape, t: float, number: int) -> None:
    """Add a report that is answered and not taken in, and the worker's next question."""
    report_of = {"id": number, "rpc": "ReportActionStatus"}
    tape.add(t, "tink", "tink.rpc.received", **report_of, worker_id=MAC)
    tape.add(t, "tink", "tink.rpc.finished", **report_of, code="OK")
    tape.add(t + 6, "tink", "tink.rpc.received", id=number + 1, rpc="GetWorkflowContexts")


def test_a_report_that_is_answered_and_not_taken_in() -> None:
    tape = good_boot().until("tink.action.reported", action="disk", state="STATE_RUNNING")
    t = tape.events[-1].t
    unheard(tape, t + 5, 70)
    unheard(tape, t + 15, 80)
    verdict = found(tape)
    assert verdict.blame == "tink"
    assert "report of action 'disk' was answered OK and not taken in, twice" in verdict.because
    assert "runs it again" in verdict.because


def test_a_report_that_is_taken_in_the_second_time() -> None:
    tape = good_boot().until("tink.action.reported", action="disk", state="STATE_RUNNING")
    report(tape, tape.events[-1].t + 1, "disk", "SUCCESS", id=70)
    tape.add(tape.events[-1].t, "tink", "tink.rpc.finished", id=70, rpc="ReportActionStatus",
             code="OK")  # fmt: skip
    assert "taken in" not in found(tape).because


def asked(tape: Tape, *codes: str, rpc: str = "GetWorkflowContexts", details: str = "") -> Tape:
    for number, code in enumerate(codes):
        t = 50 + 3 * number
        tape.add(t, "tink", "tink.rpc.received", id=f"c{t}", rpc=rpc, worker_id=MAC, peer="x:1")
        tape.add(t, "tink", "tink.rpc.finished", id=f"c{t}", rpc=rpc, code=code, details=details)
    return tape


def test_questions_that_tinkerbell_refuses() -> None:
    verdict = found(asked(worker_up(), *["PERMISSION_DENIED"] * 4, details="not for you"))
    assert verdict.blame == "tink"
    assert verdict.conclusive
    assert verdict.because.startswith(
        "Tinkerbell answered the worker's GetWorkflowContexts with PERMISSION_DENIED, 4 times: not"
    )


def test_an_overload_is_told_and_not_for_ever() -> None:
    verdict = found(asked(worker_up(), *["UNAVAILABLE"] * 9))
    assert (verdict.blame, verdict.conclusive) == ("tink", False)
    assert "UNAVAILABLE, 9 times" in verdict.because


def test_an_agent_that_is_told_there_is_nothing_is_not_refused() -> None:
    tape = asked(worker_up(), *["NOT_FOUND"] * 4, rpc="GetAction", details="no Workflows found")
    assert "got none: no Workflows found" in found(tape).because


def test_refusals_that_were_over_are_no_reason() -> None:
    tape = asked(worker_up(), *["UNAVAILABLE"] * 5, "OK")
    assert "UNAVAILABLE" not in found(tape).because


def asks(tape: Tape, t: float, number: int, rpc: str) -> None:
    tape.add(t, "tink", "tink.rpc.received", id=number, rpc=rpc, peer="x:1")


def has_work(tape: Tape, t: float, number: int) -> None:
    asks(tape, t, number, "GetWorkflowContexts")
    tape.add(t, "tink", "tink.contexts.sent", id=number, worker_id=MAC, workflows=["default/w"])
    tape.add(t, "tink", "tink.rpc.finished", id=number, rpc="GetWorkflowContexts", code="OK")


def test_calls_that_are_broken_off() -> None:
    tape = worker_up()
    why = "rpc error: code = Unavailable desc = stream terminated by RST_STREAM"
    for number, t in ((1, 50), (3, 56)):
        has_work(tape, t, number)
        asks(tape, t, number + 1, "GetWorkflowActions")
        tape.add(t + 0.1, "syslog", "syslog.message.received", mac=MAC,
                 message=f'{{"level":"error","msg":"x","error":"{why}"}}')  # fmt: skip
    verdict = found(tape)
    assert verdict.blame == "tink"
    assert verdict.because.startswith(
        f"Tinkerbell's server breaks off the worker's GetWorkflowActions, twice: {why}"
    )


@pytest.mark.parametrize("panics", [False, True])
def test_a_workflow_without_actions(panics: bool) -> None:
    tape = worker_up()
    words = "panic: runtime error: index out of range [0] with length 0"
    for number, t in ((1, 50), (3, 56)):
        has_work(tape, t, number)
        asks(tape, t, number + 1, "GetWorkflowActions")
        tape.add(t, "tink", "tink.rpc.finished", id=number + 1, rpc="GetWorkflowActions", code="OK")
        if panics:
            tape.add(t + 0.1, "syslog", "syslog.message.received", mac=MAC, message=words)
    verdict = found(tape)
    assert verdict.blame == "tink"
    says = "workflow default/w, and gives the worker no action of it, twice"
    assert says + (f", and the worker ends: {words}" if panics else "") in verdict.because


@pytest.mark.parametrize(
    ("rcode", "says"),
    [
        ("NXDOMAIN", "the name server answers NXDOMAIN for tink.lab, once"),
        ("NOERROR", "the name server knows tink.lab and no address of it, once"),
        (None, "the name server was asked once for tink.lab and never answered"),
    ],
)
def test_a_server_whose_name_has_no_address(rcode: str | None, says: str) -> None:
    tape = worker_up()
    line = f"worker_id={MAC} grpc_authority=tink.lab:42113"
    tape.add(59, "machine", "guest.cmdline.seen", cmdline=line)
    tape.add(60, "dns", "dns.query.received", id="d1", name="tink.lab.", type="A")
    if rcode:
        tape.add(60, "dns", "dns.answer.sent", id="d1", name="tink.lab.", rcode=rcode, answers=[])
    error = "rpc error: desc = name resolver error: produced zero addresses"
    message = f'{{"msg":"failed to get workflow context","error":"{error}"}}'
    tape.add(61, "syslog", "syslog.message.received", mac=MAC, message=message)
    verdict = found(tape)
    assert verdict.blame == "dns"
    assert verdict.because.startswith(f"the worker is told to call tink.lab:42113, and {says}")
