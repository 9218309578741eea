"""From power-on to the network boot program."""

from __future__ import annotations

import re
from typing import Final

from harness.facts import is_boot_program, named_file
from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.phases import megabytes
from harness.verdict.rules.case import Case, Finding, Rule, lines_with, quoted, times
from harness.verdict.rules.dhcp import dhcp_exchange, lease_elsewhere
from harness.verdict.rules.http import http_errors


def _firmware_dhcp(case: Case) -> Finding | None:
    """Judge the firmware's DHCP."""
    return dhcp_exchange(case, ("firmware", "ipxe"), "the firmware", Party.FIRMWARE)


def _nothing_to_boot(case: Case) -> Finding | None:
    """Judge an ACK after which nothing was asked for."""
    acks = [e for e in case.seen("dhcp.ack.sent") if e.get("stage") in ("firmware", "ipxe")]
    if not acks:
        return None
    file = str(acks[-1].get("file") or "")
    if not file or file.endswith("netboot-not-allowed"):
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP gave the firmware an address but nothing to boot (file '{file}')",
            evidence=acks[-2:],
            hint="does its Hardware say allowPXE: true?",
        )
    server, there = acks[-1].get("server"), acks[-1].get("next_server")
    if server and there and server != there:
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP sends the firmware to {there} for {file}, and nobody there was asked",
            evidence=acks[-2:],
            hint="is that the address of the TFTP server, as the machine sees it?",
        )
    elsewhere = lease_elsewhere(case, str(acks[-1].get("stage")), "the firmware")
    if elsewhere:
        return elsewhere
    said = [event for event in case.seen("guest.error.seen") if event.seq > acks[-1].seq]
    vain = lines_with(_NOTHING_CAME, said)
    if vain:
        return Finding(
            blame=Party.LINK,
            because=(
                f"the firmware says that it asked for {file}, and nothing of that arrived:"
                f" {quoted(vain[0].get('line'))}"
            ),
            evidence=[*acks[-1:], *vain[:1]],
            hint="look for the request in the capture: a firewall between them drops it",
        )
    return Finding(
        blame=Party.FIRMWARE,
        because=f"the firmware got {file} in its ACK, but never asked for it",
        evidence=acks[-2:],
    )


def _boot_program(case: Case) -> Finding | None:
    """Judge the download of the network boot program."""
    errors = [e for e in case.seen("tftp.error.sent") if _boots(case, e)]
    if errors:
        last = errors[-1]
        named = [
            event
            for event in case.seen("dhcp.ack.sent")
            if named_file(str(event.get("file"))) == last.get("file")
        ]
        part = _sent_before(case, last)
        return Finding(
            blame=Party.TFTP,
            because=(
                f"TFTP broke off {last.get('file')} after {megabytes(part)}: {last.get('text')}"
                if part
                else f"TFTP refused {last.get('file')}: {last.get('text')}"
            ),
            evidence=[*named[-1:], *errors[-5:]],
            hint=(
                "is it where DHCP says, by that very name?"
                if last.get("code") == _NOT_FOUND
                else None
            ),
            conclusive=True,
        )
    bad = http_errors(case, lambda path: path.startswith("/ipxe/binary/"))
    if bad:
        return bad
    sent_away = _sent_away(case)
    if sent_away:
        return sent_away
    slow = _tftp_too_slow(case)
    if slow:
        return slow
    silent = _tftp_stopped(case) or _no_tftp_answer(case)
    if silent:
        return silent
    lost = case.seen("tftp.transfer.timed_out")
    if lost:
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"the firmware went silent after {megabytes(lost[-1].get('bytes', 0))} of"
                f" {lost[-1].get('file')}: not enough evidence whether it or the network stopped"
            ),
            evidence=lost[-5:],
        )
    aborted = [e for e in case.seen("tftp.transfer.aborted") if e.get("bytes")]
    if aborted:
        return Finding(
            blame=Party.FIRMWARE,
            because=f"the firmware broke off {aborted[-1].get('file')}: {aborted[-1].get('text')}",
            evidence=aborted[-5:],
        )
    return None


def _boots(case: Case, event: Event) -> bool:
    """Whether a transfer is of a boot program: by its name, or because DHCP named it."""
    file = str(event.get("file"))
    return is_boot_program(file) or any(
        named_file(str(ack.get("file"))) == file
        for ack in case.seen("dhcp.ack.sent")
        if ack.get("stage") in ("firmware", "ipxe")
    )


def _sent_before(case: Case, error: Event) -> int:
    """Return how many octets of a transfer were sent before it was broken off."""
    return max(
        (
            int(event.get("bytes", 0))
            for event in case.seen("tftp.transfer.progressed")
            if event.get("id") == error.get("id") and event.seq < error.seq
        ),
        default=0,
    )


_NOT_FOUND: Final = 1  # RFC 1350, appendix


def _sent_away(case: Case) -> Finding | None:
    """F6: UEFI was told that its boot program is elsewhere, and asked nowhere else."""
    told = [
        event
        for event in case.seen("http.response.finished")
        if str(event.get("path", "")).startswith("/ipxe/binary/")
    ]
    if not told or not 300 <= told[-1].get("status", 200) < 400:
        return None
    path, status = str(told[-1].get("path")), told[-1].get("status")
    return Finding(
        blame=Party.HTTP,
        because=f"HTTP sent the firmware elsewhere ({status}) for {path}, where it did not go",
        evidence=told[-3:],
        hint=(
            "UEFI follows no redirects: is there '//' in the URL that DHCP gives?"
            if "//" in path
            else "UEFI follows no redirects: let DHCP give the URL where the file is"
        ),
        conclusive=True,
    )


def _tftp_too_slow(case: Case) -> Finding | None:
    """A transfer that went on and on: TFTP has a block under way at a time, and then waits."""
    under_way = case.tracker.transfer
    progress = case.in_phase("tftp.transfer.progressed")
    if not under_way or not under_way.length_bytes or len(progress) < 2:
        return None
    last = progress[-1]
    first = next(event for event in progress if event.get("id") == last.get("id"))
    octets, took_s = last.get("bytes", 0) - first.get("bytes", 0), last.t - first.t
    if octets <= 0 or took_s < _SLOW_S or case.events[-1].t - last.t > _SLOW_S:
        return None
    blame, reason, hint = _who_is_slow(first, last, took_s)
    return Finding(
        blame=blame,
        because=(
            f"{last.get('file')} was not through in time: {megabytes(last.get('bytes', 0))} of"
            f" {megabytes(under_way.length_bytes)}, {octets / took_s:.0f} octets a second; {reason}"
        ),
        evidence=[first, *progress[-3:]],
        hint=hint,
    )


def _tftp_stopped(case: Case) -> Finding | None:
    """A transfer that went well until a block that the firmware waited for in vain."""
    progress = case.seen("tftp.transfer.progressed")
    if not progress or not progress[-1].get("resends"):
        return None
    last = progress[-1]
    asked = case.seen("tftp.request.received")
    begun = [event for event in asked if event.get("id") == last.get("id")]
    ended = case.seen("tftp.transfer.finished", "tftp.transfer.aborted")
    if not begun or asked[-1].seq > last.seq or any(e.get("id") == last.get("id") for e in ended):
        return None
    said = [e for e in case.seen("guest.error.seen") if e.seq > begun[0].seq]
    silent = lines_with(_NOTHING_CAME, said)
    if not silent:
        return None
    return Finding(
        blame=Party.LINK,
        because=(
            f"{last.get('file')} stood still after {megabytes(last.get('bytes', 0))} of"
            f" {megabytes(last.get('length', 0))}: TFTP sent the next block again, and nobody"
            " acknowledged it"
        ),
        evidence=[*begun[-1:], *progress[-2:], *silent[:1]],
        hint="is that block in the capture? then it is lost on the way: its size, its octets?",
    )


def _who_is_slow(first: Event, last: Event, took_s: float) -> tuple[Party, str, str]:
    """Return who held up a transfer between two of its events, how one knows, and a hint."""
    again = int(last.get("resends") or 0) - int(first.get("resends") or 0)
    if again >= _LOST and took_s / again < _PATIENCE_S:
        return (
            Party.LINK,
            f"{again} times no ACK came in time, and a block was sent again: packets are lost",
            "a bad cable or port, a duplex mismatch, a switch under load?",
        )
    if last.get("server_s") is None:
        return (
            Party.UNKNOWN,
            "not enough evidence whether TFTP is slow or the way to it",
            "the capture tells: does a block leave long after the last one was acknowledged?",
        )
    own_s = last["server_s"] - (first.get("server_s") or 0)
    if own_s * 2 > took_s:
        return (
            Party.TFTP,
            f"for {own_s:.0f} of {took_s:.0f} s an acknowledged block waited for the next one",
            "is the server, or the disk that it reads from, under load?",
        )
    return (
        Party.LINK,
        f"for {took_s - own_s:.0f} of {took_s:.0f} s the server waited for acknowledgements",
        "each block waits for the one before it: a long way, a slow firmware? larger blocks help",
    )


_SLOW_S: Final = 20.0
_LOST: Final = 3
_PATIENCE_S: Final = 30.0
"""What is lost so seldom does not hold up a transfer."""


def _no_tftp_answer(case: Case) -> Finding | None:
    """F2, F16: requests that were heard, and not an octet of a file that was acknowledged."""
    asked = [event for event in case.seen("tftp.request.received") if _boots(case, event)]
    begun = {
        event.get("id")
        for event in case.seen(
            "tftp.transfer.progressed", "tftp.transfer.finished", "tftp.transfer.aborted"
        )
    }
    vain = [event for event in asked if event.get("id") not in begun]
    if not vain or vain[-1] is not asked[-1]:
        return None
    said = [event for event in case.seen("guest.error.seen") if event.seq > vain[0].seq]
    silent = lines_with(_NOTHING_CAME, said)
    lost = case.seen("tftp.transfer.timed_out")
    if not silent and not lost and len(vain) < _ASKED_IN_VAIN:
        return None
    file = vain[-1].get("file")
    pxe = bool(silent) and "PXE-E18" in str(silent[0].get("line"))
    told = " (PXE-E18)" if pxe else " (Connection timed out)" if silent else ""
    evidence = [*vain[-3:], *silent[:1], *lost[-1:]]
    # A server that answers from port 69 takes a repeated request for what it is; one that answers
    # from a new port each time begins anew.
    peers = [event.get("peer") for event in vain]
    if len(vain) > 1 and peers.count(peers[-1]) == len(vain):
        return Finding(
            blame=Party.LINK,
            because=(
                f"the firmware asked {times(len(vain))} for {file} and got no answer{told}: what"
                " TFTP sends from ports of its own is lost on the way"
            ),
            evidence=evidence,
            hint="a firewall, NAT or service that passes port 69 only? try single-port TFTP",
        )
    numbers = {event.get("id") for event in vain}
    answers = [e for e in case.seen("tftp.oack.sent") if e.get("id") in numbers]
    if answers:
        return Finding(
            blame=Party.LINK,
            because=(
                f"the firmware asked {times(len(vain))} for {file}; TFTP answered, and nothing of"
                f" that arrived{told}"
            ),
            evidence=[*evidence, *answers[-1:]],
            hint="is the answer in the capture? then: a firewall, ARP or a route on the way back",
        )
    return Finding(
        blame=Party.TFTP,
        because=f"the firmware asked {times(len(vain))} for {file}, and TFTP sent it nothing{told}",
        evidence=evidence,
        hint="does the server answer from the address that the firmware asked?",
    )


_ASKED_IN_VAIN: Final = 3
_NOTHING_CAME: Final = re.compile(r"PXE-E18|ipxe\.org/4c12")
"""What a PXE ROM, and iPXE in its place, say when no answer came in time: iPXE with other words
before it, and perhaps in two lines, as a console has 80 columns."""

RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.FIRMWARE_DHCP: (_firmware_dhcp, _boot_program, _nothing_to_boot),
    Phase.NBP_DOWNLOAD: (_boot_program,),
}
