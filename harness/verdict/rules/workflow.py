"""The worker, Tinkerbell's server and the actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from harness.facts import state_of
from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.phases import WORKER_ENDED
from harness.verdict.rules import action, arguments, clock, dns, services, tink
from harness.verdict.rules.case import Case, Finding, Rule, argument, quoted, times
from harness.verdict.rules.dhcp import lease_lost
from harness.verdict.rules.words import ReportsTold, errors

_GRPC_PORT: Final = 443
"""Where grpc-go calls a target without a port."""
_PROXY: Final = "is there a proxy before the server that does not pass HTTP/2 on?"


def _tink_connection(case: Case) -> Finding | None:
    """F60: connections that never become gRPC."""
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
    """F62: connections that are of no use: the server, or a proxy before it, is mute."""
    calls = case.seen("tink.rpc.received")
    last = calls[-1].seq if calls else 0
    ignored = [event for event in case.seen("tink.call.ignored") if event.seq > last]
    if ignored:
        before = "none of the worker's calls" if not calls else "no call any more"
        return Finding(
            blame=Party.TINK,
            because=(
                f"Tinkerbell's server speaks HTTP/2, but answered {before}, {times(len(ignored))}"
            ),
            evidence=[*case.seen("tink.connection.opened")[-1:], *ignored[-3:]],
            hint=_PROXY,
        )
    if calls:
        return None
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
    opened = case.seen("tink.connection.opened")
    told = [
        event
        for event in case.seen("syslog.message.received")
        if "error reading server preface" in str(event.get("message"))
    ]
    if len(opened) > 1 and told:
        return Finding(
            blame=Party.TINK,
            because=(
                f"Tinkerbell's server accepts connections, {times(len(opened))}, and does not begin"
                " to speak HTTP/2 on them"
            ),
            evidence=[*opened[-3:], *told[-2:]],
            hint=_PROXY,
        )
    closed = case.seen("tink.connection.closed")
    if len(closed) >= _LOST_CONNECTIONS:
        return Finding(
            blame=Party.TINK,
            because=(
                f"{len(closed)} connections to Tinkerbell's server ended before a call:"
                f" {closed[-1].get('reason')}"
            ),
            evidence=closed[-3:],
            hint=_PROXY,
        )
    return None


_LOST_CONNECTIONS: Final = 3


def _half_open(case: Case) -> Finding | None:
    """F62: the worker says that it reports, and nothing of it arrives; its connection is open.

    Neither worker sets a keepalive: it notices when TCP gives up, after a quarter of an hour.
    """
    calls = case.seen("tink.rpc.received")
    if not calls:
        return None
    told = ReportsTold()
    for each in case.events:
        told.feed(each)
    event = told.unheard
    if event is None or case.events[-1].t - event.t < _UNHEARD_S:
        return None
    which = f"action '{told.action}'" if told.action else "an action"
    peer = calls[-1].get("peer")
    closed = [one for one in case.seen("tink.connection.closed") if one.get("peer") == peer]
    if closed:
        return None
    return Finding(
        blame=Party.LINK,
        because=(
            f"the worker reports {which}, and nothing of that arrives: its connection to"
            " Tinkerbell's server is half open"
        ),
        evidence=[calls[-1], event],
        hint="does a firewall or NAT between them forget connections that say nothing for a while?",
    )


_UNHEARD_S: Final = 10.0


def _not_back(case: Case) -> Finding | None:
    """The machine was reset in mid-workflow, and its worker was not heard after that."""
    calls = case.seen("tink.rpc.received")
    resets = [e for e in case.seen("machine.reset") if calls and e.seq > calls[-1].seq]
    if not resets:
        return None
    parked = [
        event
        for event in case.seen("firmware.gave_up", "firmware.prompt.offered")
        if event.seq > resets[0].seq
    ]
    what = str(parked[-1].get("line") or parked[-1].get("prompt")) if parked else ""
    return Finding(
        blame=Party.UNKNOWN,
        because=(
            f"the machine was reset in mid-workflow, {times(len(resets))}, and its worker was not"
            f" heard again{f': {quoted(what)}' if what else ''}: not enough evidence why"
        ),
        evidence=[calls[-1], *resets[-2:], *parked[-1:]],
        hint="who pressed reset: an action, a panic, a BMC? does the machine netboot once more?",
    )


def _another_kernel(case: Case) -> Finding | None:
    """F65, F72: an action started another kernel, and nobody is left to report that."""
    reports = case.seen("tink.action.reported")
    if not reports or state_of(reports[-1]) != "RUNNING":
        return None
    began = [e for e in case.seen("guest.kernel.started") if e.seq > reports[-1].seq]
    if not began or any(e.seq > reports[-1].seq for e in case.seen("machine.reset")):
        return None
    return Finding(
        blame=Party.ACTION,
        because=(
            f"action '{reports[-1].get('action')}' was running when another kernel was started:"
            " its worker is gone, and can't report it"
        ),
        evidence=[reports[-1], *began[:1]],
        hint="kexec ends no action: end the workflow first, and let it happen a little later (F65)",
    )


def _tink_unanswered(case: Case) -> Finding | None:
    """F62: a call that was heard, and not answered for longer than the real server takes."""
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


def _no_work(case: Case) -> Finding | None:
    """F67: a worker that asks and asks, and is told that there is nothing for it."""
    if case.seen("tink.action.reported"):
        return None
    contexts = case.seen("tink.contexts.sent")
    if contexts and not any(event.get("workflows") for event in contexts):
        other = arguments.other_worker(case)
        if other:
            return replace(other, evidence=[*other.evidence, *contexts[-3:]])
        return Finding(
            blame=Party.TINK,
            because=f"there is no workflow for worker {contexts[-1].get('worker_id')}",
            evidence=contexts[-3:],
            hint="the template's worker must be the worker's id, byte by byte",
        )
    told = [
        event
        for event in case.seen("tink.rpc.finished")
        if event.get("rpc") == "GetAction" and event.get("code") != "OK"
    ]
    if told and not case.seen("tink.action.sent"):
        why = told[-1].get("details") or told[-1].get("code")
        asked = [one for one in case.seen("tink.rpc.received") if one.get("rpc") == "GetAction"]
        other = arguments.other_worker(case)
        if other:
            return replace(other, evidence=[*other.evidence, *asked[-2:], *told[-2:]])
        return Finding(
            blame=Party.TINK,
            because=(f"the agent asked {times(len(asked))} for an action and got none: {why}"),
            evidence=[*asked[-2:], *told[-2:]],
            hint="does a Workflow for this agent stand before it, PREPARING or ended?",
        )
    return None


def _never_called(case: Case) -> Finding | None:
    """F28, F60: the worker runs, and Tinkerbell never heard of it."""
    if case.seen("tink.rpc.received"):
        return None
    clock_is = clock.clock_wrong(case)
    if clock_is:
        return clock_is
    name = dns.name_unresolved(case)
    if name:
        return name
    wanted = argument(case, "grpc_authority")
    command = case.command_line
    started = case.seen("guest.worker.started")[-1:]
    if command and not wanted:
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because="the kernel command line has no grpc_authority: the worker knows no server",
            evidence=[*command, *started],
            hint="was a script, or an ISO, served as it is instead of being filled in?",
        )
    told = errors(case, after=started[0].seq if started else 0)
    words = f": {told[-1][1]}" if told else ""
    ended = [one for one in case.seen("guest.error.seen") if WORKER_ENDED in str(one.get("line"))]
    if command and not argument(case, "worker_id"):
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because=(
                "the kernel command line has no worker_id: the worker does not know who it is"
                + words
            ),
            evidence=[*command, *started, *ended[-2:], *(one for one, _ in told[-2:])],
            hint="the script writes it from the Hardware: does a word before it swallow the rest?",
        )
    if ended:
        return Finding(
            blame=Party.WORKER,
            because=f"the worker ends within three seconds of its start, each time{words}",
            evidence=[*ended[-3:], *(one for one, _ in told[-2:])],
            hint="its words go to syslog; what does it lack on the kernel command line?",
        )
    proxy = (argument(case, "HTTPS_PROXY") or "").partition("://")[2].rpartition("@")[2]
    if proxy and f"dial tcp {proxy.rstrip('/')}:" in words:
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because=f"the worker can't reach the HTTPS_PROXY it was told to call by{words}",
            evidence=[*command, *started, *(one for one, _ in told[-2:])],
            hint="gRPC goes by HTTPS_PROXY, with TLS or without: name its host in NO_PROXY (F43)",
        )
    there = [
        f"{event.get('address')}:{event.get('port')}"
        for event in case.seen("service.started")
        if event.get("service") == "tink"
    ]
    if wanted and there and ":" in wanted and wanted not in there and wanted[0].isdigit():
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because=f"the worker is told to call {wanted}, and Tinkerbell listens at {there[0]}",
            evidence=[*command, *(one for one, _ in told[-1:])],
        )
    if wanted and there and ":" not in wanted and not there[0].endswith(f":{_GRPC_PORT}"):
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because=(
                f"the worker is told to call {wanted}, which without a port is port {_GRPC_PORT},"
                f" and Tinkerbell listens at {there[0]}"
            ),
            evidence=[*command, *(one for one, _ in told[-1:])],
        )
    host = (wanted or "").rpartition(":")[0]
    if told and host and _NO_ADDRESS.search(words):
        unknown = dns.unknown_name(case, host, [told[-1][0]])
        if unknown:
            return replace(
                unknown, because=f"the worker is told to call {wanted}, and {unknown.because}"
            )
    not_reached = _not_reached(case, told, there)
    if not_reached:
        return replace(not_reached, evidence=[*started, *not_reached.evidence])
    return Finding(
        blame=Party.WORKER,
        because=f"the worker was started, but never called Tinkerbell{words}",
        evidence=[*started, *(one for one, _ in told[-2:])],
        hint="is grpc_authority on the kernel command line, and can it be reached?",
    )


_NO_ADDRESS: Final = re.compile(r"produced zero addresses|no such host")
"""gRPC for Go, resolver: it does not say of which name."""


def _not_reached(
    case: Case, told: Sequence[tuple[Event, str]], there: Sequence[str]
) -> Finding | None:
    """The worker calls the right address, and nothing of that comes to Tinkerbell's server."""
    tried = [(event, found) for event, text in told if (found := _DIALLED.search(text))]
    if not tried or tried[-1][1]["to"] not in there or case.seen("tink.connection.accepted"):
        return None
    last = tried[-1][1]
    refused = "refused" in last["why"]
    return Finding(
        blame=Party.TINK if refused else Party.LINK,
        because=(
            f"the worker calls Tinkerbell at {last['to']}, and"
            f" {'is refused' if refused else 'nothing of that arrives'}, {times(len(tried))}:"
            f" {last['why']}"
        ),
        evidence=[one for one, _ in tried[-3:]],
        hint=(
            "does Tinkerbell's server run, and does a firewall refuse for it?"
            if refused
            else f"does a firewall between them drop port {last['to'].rpartition(':')[2]}?"
            " look for the SYN in the capture"
        ),
    )


_DIALLED: Final = re.compile(
    r"dial tcp (?P<to>[^\s\"]+:\d+): (?P<why>i/o timeout|connect: [a-z ]+)"
)


def _given_up(case: Case, running: Event) -> Finding | None:
    """F69: Tinkerbell compares timeouts itself, and takes 0 for one that has passed."""
    for event in reversed(case.seen("tink.workflow.changed")):
        if event.get("state") != "STATE_TIMEOUT" or event.seq < running.seq:
            continue
        sent = case.seen("tink.actions.sent")
        names, limits = (sent[-1].get(key) or () if sent else () for key in _LIMITS)
        limit = dict(zip(names, limits, strict=False)).get(running.get("action"))
        told = f"; its timeout is {limit} s" if limit is not None else ""
        return Finding(
            blame=Party.ACTION if limit else Party.TEMPLATE,
            because=(
                f"Tinkerbell gave the workflow up after {event.t - running.t:.0f} s of action"
                f" '{running.get('action')}'{told}"
            ),
            evidence=[*sent[-1:], running, event],
            hint="give the action a timeout that it can keep: 0 is none at all",
        )
    return None


_LIMITS: Final = ("actions", "timeouts_s")


def _workflow_stuck(case: Case) -> Finding | None:
    """What is left: an action that runs on, or a worker that says nothing more."""
    reports = case.seen("tink.action.reported")
    running = [event for event in reports if state_of(event) == "RUNNING"]
    calls = case.seen("tink.rpc.received")
    if reports and state_of(reports[-1]) == "RUNNING":
        last = reports[-1]
        waiting = action.still_pulled(case, str(last.get("action")))
        if waiting:
            return waiting
        given_up = _given_up(case, last)
        if given_up:
            return given_up
        return Finding(
            blame=Party.ACTION,
            because=f"action '{last.get('action')}' was still running when the run was given up",
            evidence=[last],
        )
    if not calls:
        return None
    after = f" after action '{running[-1].get('action')}'" if running else ""
    return Finding(
        blame=Party.WORKER,
        because=f"the worker did nothing more{after}".rstrip()
        + f"; its last call: {calls[-1].get('rpc')}",
        evidence=calls[-3:],
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.WORKFLOW: (
        lease_lost,
        services.engine_ended,
        tink.certificate_refused,
        _tink_connection,
        _tink_silent,
        _half_open,
        tink.report_refused,
        action.action_failed,
        tink.report_not_taken,
        tink.call_refused,
        tink.calls_broken_off,
        tink.no_actions,
        _not_back,
        _another_kernel,
        _tink_unanswered,
        _no_work,
        _never_called,
        _workflow_stuck,
    ),
}
