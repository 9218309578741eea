"""The worker, Tinkerbell's server and the actions."""

from __future__ import annotations

from typing import Final

from harness.facts import state_of
from harness.phases import Party, Phase
from harness.verdict.rules import tink
from harness.verdict.rules.case import Case, Finding, Rule, times

_PROXY: Final = "is there a proxy before the server that does not pass HTTP/2 on?"


def _tink_connection(case: Case) -> Finding | None:
    failed = case.seen("tink.connection.failed")
    if failed and not case.seen("tink.rpc.received"):
        return Finding(
            blame=Party.TINK,
            because=f"the worker's connection never became gRPC: {failed[-1].get('reason')}",
            evidence=failed[-5:],
            hint="does tinkerbell_tls on the kernel command line fit the server?",
        )
    return None


def _tink_silent(case: Case) -> Finding | None:
    """Connections that came about and were of no use: the server, or a proxy before it, is mute."""
    if case.seen("tink.rpc.received"):
        return None
    ignored = case.seen("tink.call.ignored")
    if ignored:
        return Finding(
            blame=Party.TINK,
            because=(
                "Tinkerbell's server speaks HTTP/2, but answered none of the worker's calls,"
                f" {times(len(ignored))}"
            ),
            evidence=[*case.seen("tink.connection.opened")[-1:], *ignored[-3:]],
            hint=_PROXY,
        )
    accepted = case.seen("tink.connection.accepted")
    others = ("tink.connection.opened", "tink.connection.failed", "tink.connection.closed")
    if accepted and not case.seen(*others):
        return Finding(
            blame=Party.TINK,
            because=(
                "Tinkerbell's server accepts connections and never says a word,"
                f" {times(len(accepted))}"
            ),
            evidence=accepted[-3:],
            hint=_PROXY,
        )
    return None


def _tink_unanswered(case: Case) -> Finding | None:
    calls = case.seen("tink.rpc.received")
    if not calls:
        return None
    last = calls[-1]
    # v2's server may think for a minute about what to give an agent
    patience_s = 90.0 if last.get("rpc") == "GetAction" else 20.0
    answered = {event.get("id") for event in case.seen("tink.rpc.finished")}
    if last.get("id") in answered or case.events[-1].t - last.t < patience_s:
        return None
    return Finding(
        blame=Party.TINK,
        because=f"Tinkerbell's server never answered the worker's {last.get('rpc')}",
        evidence=[last],
        hint=_PROXY,
    )


def _action_failed(case: Case) -> Finding | None:
    for event in case.seen("tink.action.reported"):
        state = state_of(event)
        if state not in ("FAILED", "TIMEOUT"):
            continue
        missing = case.in_phase("registry.request.failed")
        if missing and state == "FAILED":
            return Finding(
                blame=Party.REGISTRY,
                because=(
                    f"action '{event.get('action')}' failed, its image could not be pulled:"
                    f" {missing[-1].get('status')} for {missing[-1].get('path')}"
                ),
                evidence=[*missing[-3:], event],
            )
        what = "timed out" if state == "TIMEOUT" else "failed"
        message = f": {event.get('message')}" if event.get("message") else ""
        return Finding(
            blame=Party.ACTION,
            because=f"action '{event.get('action')}' {what}{message}",
            evidence=[event],
        )
    return None


def _no_work(case: Case) -> Finding | None:
    contexts = case.seen("tink.contexts.sent")
    if contexts and not any(event.get("workflows") for event in contexts):
        return Finding(
            blame=Party.TINK,
            because=f"there is no workflow for worker {contexts[-1].get('worker_id')}",
            evidence=contexts[-3:],
            hint="the template's worker must be the worker's id, byte by byte",
        )
    return None


def _workflow_stuck(case: Case) -> Finding | None:
    if not case.seen("tink.rpc.received"):
        return Finding(
            blame=Party.WORKER,
            because="the worker was started, but never called Tinkerbell",
            evidence=case.seen("guest.worker.started")[-1:],
            hint="is grpc_authority on the kernel command line, and can it be reached?",
        )
    reports = case.seen("tink.action.reported")
    running = [event for event in reports if state_of(event) == "RUNNING"]
    if reports and state_of(reports[-1]) == "RUNNING":
        last = reports[-1]
        return Finding(
            blame=Party.ACTION,
            because=f"action '{last.get('action')}' was still running when the run was given up",
            evidence=[last],
        )
    calls = case.seen("tink.rpc.received")
    after = f" after action '{running[-1].get('action')}'" if running else ""
    return Finding(
        blame=Party.WORKER,
        because=f"the worker did nothing more{after}".rstrip()
        + f"; its last call: {calls[-1].get('rpc')}",
        evidence=calls[-3:],
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.WORKFLOW: (
        tink.certificate_refused,
        _tink_connection,
        _tink_silent,
        tink.report_refused,
        _action_failed,
        _tink_unanswered,
        _no_work,
        _workflow_stuck,
    ),
}
