"""What passes between the worker and Tinkerbell: a certificate refused, a report refused."""

from __future__ import annotations

import re
from typing import Final

from harness.facts import state_of
from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules import clock
from harness.verdict.rules.case import Case, Finding, times
from harness.verdict.rules.words import errors

_OF_A_CERTIFICATE: Final = re.compile(r"alert: .*(certificate|unknown ca)")
_TOLD: Final = re.compile(r"x509: [^\"\\]+")
_AGAIN_AND_AGAIN: Final = 3
"""So many refusals of one report in a row are no accident."""
_ASKS: Final = frozenset({"GetWorkflowContexts", "GetAction"})
_QUIET_S: Final = 20.0
"""A worker that says nothing for so long after a refusal has ended: the slowest asks each 6 s."""


def certificate_refused(case: Case) -> Finding | None:
    """Judge handshakes that the worker broke off because of Tinkerbell's certificate."""
    if case.seen("tink.rpc.received"):
        return None
    failed = case.seen("tink.connection.failed")
    if not failed or not _OF_A_CERTIFICATE.search(str(failed[-1].get("reason"))):
        return None
    wrong = clock.clock_wrong(case)
    if wrong:
        return wrong
    # An alert says no more than "bad certificate"; the worker's own words come by syslog.
    told = [
        (event, found[0].strip())
        for event in case.seen("syslog.message.received")
        if event.seq > failed[0].seq and (found := _TOLD.search(str(event.get("message"))))
    ]
    why = told[-1][1] if told else str(failed[-1].get("reason"))
    hint = "a worker knows the CAs of its image only: build one with the CA in /etc/ssl/certs"
    if told and clock.dates_are_wrong(case, *told[-1]):
        hint = "no clock is to blame, by the true time its dates are wrong as well: renew it"
    return Finding(
        blame=Party.TINK,
        because=f"the worker refuses the server's certificate, {times(len(failed))}: {why}",
        evidence=[*failed[-3:], *(event for event, _ in told[-2:])],
        hint=f"{hint}, or say tinkerbell_insecure_tls=true on the kernel command line",
        conclusive=True,
    )


def call_refused(case: Case) -> Finding | None:
    """Judge a worker that is refused each time, until nobody waited any longer.

    A report that Tinkerbell itself refuses is ``report_refused``'s: this one it never heard.
    """
    for rpc in ("GetWorkflowContexts", "GetWorkflowActions", "GetAction", "ReportActionStatus"):
        ended = [one for one in case.seen("tink.rpc.finished") if one.get("rpc") == rpc]
        row: list[Event] = []
        for event in reversed(ended):
            if event.get("code") in ("OK", "CANCELLED") or event.get("code") != ended[-1].get(
                "code"
            ):
                break
            row.insert(0, event)
        if len(row) < _AGAIN_AND_AGAIN or (rpc, row[-1].get("code")) in _NO_WORK:
            continue
        code = row[-1].get("code")
        details = f": {row[-1].get('details')}" if row[-1].get("details") else ""
        return Finding(
            blame=Party.TINK,
            because=(
                f"Tinkerbell answered the worker's {rpc} with {code}, {times(len(row))}{details}"
            ),
            evidence=row[-5:],
            hint=_HINTS.get(str(code), "what does Tinkerbell's server log of this worker?"),
            conclusive=is_final_code(code),
        )
    return None


def is_final_code(code: object) -> bool:
    """Whether a gRPC status says no for good: not that of a server that has no time, or is away."""
    return code not in _MAY_CHANGE


_MAY_CHANGE: Final = frozenset(
    {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL", "UNKNOWN"}
)
_NO_WORK: Final = frozenset({("GetAction", "NOT_FOUND"), ("GetAction", "FAILED_PRECONDITION")})
"""How tink-server v2 says that there is nothing to do."""
_HINTS: Final = {
    **dict.fromkeys(
        ("PERMISSION_DENIED", "UNAUTHENTICATED"),
        "tink-server itself asks nobody who he is: what stands before it, and does it let this"
        " worker through?",
    ),
    "UNIMPLEMENTED": "is it a Tinkerbell of the worker's generation?",
    **dict.fromkeys(
        ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"),
        "is the server up behind its proxy, and has it time to answer?",
    ),
}


def report_refused(case: Case) -> Finding | None:
    """Judge a worker whose last report is refused, and that repeats it or ends."""
    reports = case.seen("tink.action.reported")
    if not reports or reports[-1].get("accepted", True):
        return None
    last = reports[-1]
    row = _same_at_the_end(reports)
    state, action = state_of(last), last.get("action")
    details = next(
        (
            f": {event.get('details')}"
            for event in reversed(case.seen("tink.rpc.finished"))
            if event.get("rpc") == "ReportActionStatus" and event.get("details")
        ),
        "",
    )
    if len(row) >= _AGAIN_AND_AGAIN:
        heard = [one for one in reports if one.get("accepted", True) and _same(one, last)]
        return Finding(
            blame=Party.WORKER,
            because=(
                f"the worker reports {state} of action '{action}' again and again, and"
                f" Tinkerbell refuses it, {times(len(row))}{details}"
            ),
            evidence=[*heard[-1:], *row[-3:]],
            hint=(
                "Tinkerbell had heard it before, so its answer was lost on the way: tink-worker"
                " never gets over that, tink-agent does"
                if heard
                else "what the worker runs is not what Tinkerbell has: was its state changed?"
            ),
        )
    if case.events[-1].t - last.t < _QUIET_S or _calls_after(case, last):
        return None
    return Finding(
        blame=Party.TINK,
        because=(
            f"Tinkerbell refused the worker's {state} of action '{action}', and the worker has"
            f" said nothing since{details}"
        ),
        evidence=row[-3:],
        hint="does Tinkerbell still have the workflow that it gave the worker?",
    )


def _same(one: Event, other: Event) -> bool:
    alike = all(one.get(key) == other.get(key) for key in ("workflow_id", "action"))
    return alike and state_of(one) == state_of(other)


def _same_at_the_end(reports: list[Event]) -> list[Event]:
    row: list[Event] = []
    for event in reversed(reports):
        if event.get("accepted", True) or not _same(event, reports[-1]):
            break
        row.insert(0, event)
    return row


def _calls_after(case: Case, last: Event) -> bool:
    return any(
        event.t > last.t and event.seq > last.seq for event in case.seen("tink.rpc.received")
    )


def report_not_taken(case: Case) -> Finding | None:
    """Judge reports that were answered OK, and of which Tinkerbell knows nothing."""
    heard = {event.get("id") for event in case.seen("tink.action.reported")}
    lost = [
        event
        for event in case.seen("tink.rpc.finished")
        if event.get("rpc") == "ReportActionStatus"
        and event.get("code") == "OK"
        and event.get("id") not in heard
    ]
    if not lost:
        return None
    running = [e for e in case.seen("tink.action.reported") if state_of(e) == "RUNNING"]
    of = f" of action '{running[-1].get('action')}'" if running else ""
    again = [e for e in case.seen("tink.rpc.received") if e.get("rpc") in _ASKS]
    rerun = [event for event in again if event.seq > lost[0].seq]
    then = ", and the worker runs it again" if of and rerun else ""
    return Finding(
        blame=Party.TINK,
        because=(
            f"the worker's report{of} was answered OK and not taken in, {times(len(lost))}{then}"
        ),
        evidence=[*running[-1:], *lost[-3:], *rerun[-1:]],
        hint="does something between the two answer in Tinkerbell's name, or lose what it stores?",
    )


def calls_broken_off(case: Case) -> Finding | None:
    """Judge calls that came and were not answered, when the worker did not wait for that."""
    calls = case.seen("tink.rpc.received")
    if not calls:
        return None
    done = {event.get("id") for event in case.seen("tink.rpc.finished")}
    rpc = next((one.get("rpc") for one in reversed(calls) if one.get("id") not in done), None)
    mine = [one for one in calls if one.get("rpc") == rpc]
    cut = [one for one in mine if one.get("id") not in done]
    told = [one for one in errors(case, after=cut[0].seq) if _CUT in one[1]] if cut else []
    if not told or mine[-1] is not cut[-1]:
        return None
    return Finding(
        blame=Party.TINK,
        because=(
            f"Tinkerbell's server breaks off the worker's {rpc}, {times(len(cut))}: {told[-1][1]}"
        ),
        evidence=[*cut[-3:], *(event for event, _ in told[-2:])],
        hint="what stands before the server, and does it pass HTTP/2 on?",
    )


_CUT: Final = "stream terminated by RST_STREAM"


def no_actions(case: Case) -> Finding | None:
    """Judge a workflow that Tinkerbell names, and of which it gives the worker no action."""
    named = [event for event in case.seen("tink.contexts.sent") if event.get("workflows")]
    done = {
        event.get("id"): event
        for event in case.seen("tink.rpc.finished")
        if event.get("rpc") == "GetWorkflowActions" and event.get("code") == "OK"
    }
    given = {event.get("id") for event in case.seen("tink.actions.sent") if event.get("actions")}
    if not named or not done or given & done.keys() or case.seen("tink.action.reported"):
        return None
    panics = [
        event
        for event in case.seen("syslog.message.received")
        if event.seq > named[0].seq and str(event.get("message")).startswith("panic: ")
    ]
    then = f", and the worker ends: {panics[-1].get('message')}" if panics else ""
    return Finding(
        blame=Party.TINK,
        because=(
            f"Tinkerbell says that there is workflow {named[-1]['workflows'][0]}, and gives the"
            f" worker no action of it, {times(len(done))}{then}"
        ),
        evidence=[*named[-1:], *list(done.values())[-2:], *panics[-1:]],
        hint="does the template have actions, and does the server see its own data?",
    )
