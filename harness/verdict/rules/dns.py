"""Names that nobody resolves (F41, F48)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules import arguments
from harness.verdict.rules.case import Case, Finding, argument, quoted, times
from harness.verdict.rules.dhcp import hooks_leases

_LOOKUP: Final = re.compile(
    r"lookup (?P<name>[^\s\"\\]+?)(?: on (?P<server>[\d.\[\]a-f:]+))?: "
    r"(?P<why>no such host|server misbehaving|Temporary failure in name resolution"
    r"|(?:read|dial) udp (?:[^\"\\]|\\u003e)*?: (?:i/o timeout|connect: [a-z ]+|read: [a-z ]+)"
    r"|i/o timeout)"
)
"""How Go's resolver complains (net/dnsclient_unix.go); its arrow is escaped where it is JSON."""


def name_unresolved(case: Case) -> Finding | None:
    """Judge what docker or the worker said of a name, by what the name server heard and did."""
    said: list[tuple[Event, re.Match[str]]] = []
    for event in case.seen("guest.error.seen", "syslog.message.received"):
        if event.get("pattern") == "clock not set":
            continue  # a machine without the right time goes on
        if found := _LOOKUP.search(str(event.get("line") or event.get("message"))):
            said.append((event, found))
    if not said:
        return None
    event, found = said[-1]
    name, why = found["name"], found["why"]
    asked, answers = _about(case, name)
    good = next((e.seq for e in reversed(answers) if e.get("answers")), 0)
    if good > event.seq:
        return None  # it works by now
    if "timeout" in why and (timing := _in_time(found, asked, answers, event)):
        return timing
    asked, answers = ([e for e in those if e.seq > good] for those in (asked, answers))
    evidence = [*asked[-3:], *answers[-2:], event]
    answered = _answered(case, name, asked, answers, evidence)
    if answered:
        return answered
    if why == "no such host":
        return Finding(
            blame=Party.DNS,
            because=f"{name} is not a name that the machine's name server knows",
            evidence=evidence,
            hint="which name server did DHCP, or ipam=, give the machine?",
        )
    mute = _nobody_there(case, name, (found["server"] or "").rpartition(":")[0], evidence)
    if mute and "i/o timeout" in why:
        return mute
    leases = hooks_leases(case)
    if leases and leases[-1].get("netmask") and not leases[-1].get("name_servers"):
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP gave Hook no name server, and it can't ask anybody for {name}",
            evidence=[*leases[-2:], event],
            hint="DHCP option 6: does the machine's Hardware list name servers?",
        )
    return Finding(
        blame=Party.GUEST_NETWORK,
        because=f"Hook can't ask anybody for {name}: {quoted(found[0])}",
        evidence=evidence,
        hint="did the machine get a name server: DHCP option 6, or the seventh field of ipam=?",
    )


def _in_time(
    found: re.Match[str], asked: Sequence[Event], answers: Sequence[Event], said: Event
) -> Finding | None:
    """Judge a lookup that ended for want of answers: were there any, and how soon?"""
    name, why = found["name"], found["why"].replace("\\u003e", ">")
    recent = [e for e in asked if e.seq < said.seq and said.t - e.t < _LOOKUP_S]
    answer = {event.get("id"): event for event in answers}
    waits_s = [answer[e.get("id")].t - e.t for e in recent if e.get("id") in answer]
    if not recent or len(waits_s) < len(recent):
        return None
    if max(waits_s) < _GIVEN_UP_S:
        return Finding(
            blame=Party.LINK,
            because=(
                f"the name server answered for {name}, {times(len(answers))}, and Hook says that"
                f" nothing came: {why}"
            ),
            evidence=[*answers[-3:], said],
            hint="is the answer in the capture? then: a firewall, or a route on the way back",
        )
    return Finding(
        blame=Party.DNS,
        because=(
            f"the name server takes up to {max(waits_s):.1f} s to answer for {name}, and Hook waits"
            f" {_GIVEN_UP_S:.0f} s"
        ),
        evidence=[*recent[-2:], *answers[-2:], said],
        hint="does it wait for a name server of its own?",
    )


_LOOKUP_S: Final = 25.0
"""How long ago the questions of a lookup are at most when its end is told."""
_GIVEN_UP_S: Final = 5.0
"""resolv.conf(5), and Go's net/dnsconfig.go: how long an answer is waited for."""


def unknown_name(case: Case, name: str, told: Sequence[Event]) -> Finding | None:
    """Judge a name of which a program only says that it has no address, by what was answered."""
    asked, answers = _about(case, name)
    if any(event.get("answers") for event in answers):
        return None
    return _answered(case, name, asked, answers, [*asked[-3:], *answers[-2:], *told])


def name_in(case: Case, words: str, told: Sequence[Event]) -> Finding | None:
    """Judge the name that ``words`` of a program say it can't look up, by what was answered."""
    found = _LOOKUP.search(words)
    return unknown_name(case, found["name"], told) if found else None


def _about(case: Case, name: str) -> tuple[list[Event], list[Event]]:
    """Return the questions for a name, and the answers."""
    asked, answers = case.seen("dns.query.received"), case.seen("dns.answer.sent")
    return [e for e in asked if _same(e, name)], [e for e in answers if _same(e, name)]


def _answered(
    case: Case,
    name: str,
    asked: Sequence[Event],
    answers: Sequence[Event],
    evidence: list[Event],
) -> Finding | None:
    """Return what the name server made of questions for a name, if it was asked."""
    hub = _of_the_hub(case, name, answers, evidence)
    if hub:
        return hub
    source = arguments.said_by(case, name)
    told = f"the kernel command line says {source}: " if source else ""
    if answers and all(e.get("rcode") == "NOERROR" for e in answers):
        return Finding(
            blame=Party.DNS,
            because=f"the name server knows {name} and no address of it, {times(len(answers))}",
            evidence=evidence,
            hint=f"{told}is there an A record beside the others, and no CNAME that leads nowhere?",
        )
    if answers:
        codes = sorted({str(e.get("rcode")) for e in answers})
        return Finding(
            blame=Party.DNS,
            because=f"the name server answers {', '.join(codes)} for {name}, {times(len(answers))}",
            evidence=evidence,
            hint=f"{told}is the name in the zone that the machine's name server serves?",
        )
    if asked:
        return Finding(
            blame=Party.DNS,
            because=f"the name server was asked {times(len(asked))} for {name} and never answered",
            evidence=evidence,
        )
    return None


def _of_the_hub(
    case: Case, name: str, answers: Sequence[Event], evidence: list[Event]
) -> Finding | None:
    """Judge Docker Hub, which is asked for images without a registry in their name."""
    if name not in _HUB or not case.command_line or argument(case, "docker_registry"):
        return None
    refused = f"; the name server does not know {name}" if answers else ""
    return Finding(
        blame=Party.BOOT_SCRIPT,
        because=(
            "Docker Hub is asked for an image, as the kernel is told no docker_registry to ask"
            f" instead{refused}"
        ),
        evidence=[*case.command_line, *evidence],
        hint="docker_registry= on the kernel command line, or the registry in each image's name",
    )


_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io"})
"""distribution/reference: where names without a registry lead."""


def led_astray(case: Case, said: Event) -> Finding | None:
    """Judge an address that nothing here has, and that came from the name server.

    ``said`` is what docker or the worker said of a connection that did not come about.
    """
    dialled = _DIALLED.search(str(said.get("line") or said.get("message")))
    if not dialled:
        return None
    address = dialled[1]
    told = [
        event
        for event in case.seen("dns.answer.sent")
        if address in (event.get("answers") or ()) and event.seq < said.seq
    ]
    there = {str(event.get("address")) for event in case.seen("service.started")}
    here = {str(e.get("address")).partition("/")[0] for e in case.seen("segment.created")}
    if not told or not here or address in there | here:
        return None
    name = str(told[-1].get("name")).rstrip(".")
    return Finding(
        blame=Party.DNS,
        because=(
            f"the name server says that {name} is {address}, {times(len(told))}, and nobody"
            f" answers there: the lab's servers are at {', '.join(sorted(here))}"
        ),
        evidence=[*told[-3:], said],
        hint="is that record of a server that moved?",
    )


_DIALLED: Final = re.compile(r"dial tcp ([\d.]+):\d+: ")


def _nobody_there(case: Case, name: str, server: str, evidence: list[Event]) -> Finding | None:
    """Judge a name server that Hook was given, and that answers nothing."""
    if not server or server.startswith("127."):
        return None
    there = [
        str(event.get("address"))
        for event in case.seen("service.started")
        if event.get("service") == "dns"
    ]
    if "0.0.0.0" in there:
        there = [str(e.get("address")).partition("/")[0] for e in case.seen("segment.created")]
    leases = case.seen("dhcp.ack.sent", stage="guest")
    if server in there:
        return Finding(
            blame=Party.LINK,
            because=f"nothing that Hook asks the name server {server} for {name} arrives there",
            evidence=evidence,
            hint="look for the question in the capture: a firewall between them drops it",
        )
    if not there:
        return Finding(
            blame=Party.DNS,
            because=f"nobody answers at {server}, which Hook asks for {name}",
            evidence=evidence,
            hint="is the name server up, and is there a way to it?",
        )
    return Finding(
        blame=Party.DHCP if leases else Party.GUEST_NETWORK,
        because=(
            f"Hook was given {server} as its name server, and nobody answers there for {name}: the"
            f" name server is at {there[0]}"
        ),
        evidence=[*leases[-1:], *evidence],
        hint="DHCP option 6, or the seventh field of ipam=",
    )


def _same(event: Event, name: str) -> bool:
    return str(event.get("name")).rstrip(".").lower() == name.rstrip(".").lower()
