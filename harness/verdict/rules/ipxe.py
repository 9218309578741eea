"""iPXE, its script, kernel and initramfs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from harness.facts import is_artifact, is_script
from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.phases import megabytes
from harness.verdict.rules import program
from harness.verdict.rules.case import Case, Finding, Rule, quoted, times
from harness.verdict.rules.dhcp import absent_neighbour, dhcp_exchange, lease_elsewhere
from harness.verdict.rules.http import (
    http_errors,
    mute_client,
    sent_in_circles,
    unheard,
    who_is_slow,
)

_STILL_S: Final = 25.0
"""A transfer that moved no octet for so long stands still; TCP asks again far sooner."""
_TIMED_OUT: Final = re.compile(r"timed out|unreachable|No route", re.IGNORECASE)
_REFUSED: Final = re.compile(r"Connection (?:refused|reset)", re.IGNORECASE)
_TLS: Final = re.compile(r"certificate|TLS|Operation not permitted|Permission denied|Invalid arg")


def _said(case: Case) -> list[Event]:
    """Return what iPXE complained of since the phase began."""
    return [
        event
        for event in case.in_phase("guest.error.seen")
        if event.get("pattern") in ("ipxe error", "boot script failed")
    ]


def _script_refused(case: Case) -> Finding | None:
    """F1, F25: the script is answered with an error."""
    failed = http_errors(case, _has_to_be_there)
    refused = case.seen("http.script.refused")
    if failed is None or not refused:
        return failed
    last = refused[-1]
    given = {event.get("address") for event in case.seen("dhcp.ack.sent")}
    elsewhere = not last.get("mac") and last.get("caller") not in given
    return Finding(
        blame=Party.LINK if elsewhere else Party.TINK,
        because=f"HTTP has no script at {last.get('path')}: {last.get('reason')}"
        + (", which DHCP gave to nobody" if elsewhere else ""),
        evidence=[*failed.evidence[-2:], *refused[-3:]],
        hint=(
            "a NAT or proxy stands between: put the MAC into the script's URL, or trust the proxy's"
            " X-Forwarded-For"
            if elsewhere
            else "is there Hardware for this machine, and does it say allowPXE: true?"
        ),
        conclusive=failed.conclusive,
    )


def _has_to_be_there(path: str) -> bool:
    """Whether it is a script's path, but not what a UEFI iPXE asks for in case it is there."""
    return is_script(path) and not path.endswith("/autoexec.ipxe")


def _no_script(case: Case) -> Finding | None:
    """F18: iPXE's own DHCP, which has to name a script."""
    dhcp = dhcp_exchange(case, ("tinkerbell",), "iPXE", Party.IPXE)
    if dhcp or case.seen("http.script.served"):
        return dhcp
    acks = case.seen("dhcp.ack.sent", stage="tinkerbell")
    named = [str(event.get("file") or "") for event in acks]
    if named and not any(is_script(file.partition("?")[0]) for file in named):
        file = next((file for file in named if file), "")
        return Finding(
            blame=Party.DHCP,
            because=(
                f"DHCP gave iPXE {file} again instead of its script"
                if file
                else "DHCP gave iPXE an address, but no script"
            ),
            evidence=acks[-2:],
            hint="a server that knows user class Tinkerbell has to answer it with the script's URL",
        )
    return None


def _script_unreached(case: Case) -> Finding | None:
    """F26: iPXE knows where its script is, and no request for it ever came."""
    if case.seen("http.script.served"):
        return None
    acks = case.seen("dhcp.ack.sent", stage="tinkerbell")
    url = next((str(event.get("file")) for event in reversed(acks) if event.get("file")), "")
    said = _said(case)
    line = str(said[-1].get("line")) if said else ""
    if url.startswith("https:") and (not said or _TLS.search(line)):
        return Finding(
            blame=Party.TLS,
            because=f"iPXE made no TLS connection for {url}"
            + (f": {quoted(line)}" if line else ""),
            evidence=[*acks[-1:], *said[-2:]],
            hint="iPXE knows RSA certificates only, and no CA but those it was built with",
        )
    if _REFUSED.search(line):
        return Finding(
            blame=Party.HTTP,
            because=f"iPXE could not fetch its script from {url}: {quoted(line)}",
            evidence=[*acks[-1:], *said[-2:]],
            hint="does the web server listen there?",
        )
    if _TIMED_OUT.search(line):
        elsewhere = lease_elsewhere(case, "tinkerbell", "iPXE")
        if elsewhere:
            return replace(elsewhere, evidence=[*elsewhere.evidence, *said[-2:]])
        if absent := absent_neighbour(case, urlsplit(url).hostname):
            return Finding(
                blame=Party.DHCP,
                because=f"DHCP names {url} as iPXE's script, and nobody has that address: the web"
                f" server is at {absent}",
                evidence=[*acks[-1:], *said[-2:]],
                hint="is that the URL of a server that moved?",
            )
        return Finding(
            blame=Party.LINK,
            because=f"iPXE could not reach its script at {url}: {quoted(line)}",
            evidence=[*acks[-1:], *said[-2:]],
        )
    return Finding(
        blame=Party.IPXE,
        because="iPXE has an address, but never asked for its script",
        evidence=[*acks[-2:], *said[-2:]],
    )


def _wrong_url(case: Case) -> Finding | None:
    """Judge a script's URL with a port where nobody listens, or of the other of HTTP and HTTPS."""
    acks = case.seen("dhcp.ack.sent", stage="tinkerbell")
    url = next((str(event.get("file")) for event in reversed(acks) if event.get("file")), "")
    if case.seen("http.script.served") or not url.startswith("http"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    there = {
        int(event.get("port", 0)): event
        for event in case.seen("service.started")
        if event.get("transport") != "udp"
    }
    here = {str(e.get("address")).partition("/")[0] for e in case.seen("segment.created")}
    web = sorted(number for number, e in there.items() if str(e.get("service")).startswith("http"))
    if not web or parts.hostname not in here:
        return None
    evidence = [*acks[-1:], *_said(case)[-2:]]
    mixed = [
        event
        for event in case.seen("http.tls.failed", "http.malformed")
        if event.get("reason") in _MIXED
    ]
    if mixed and port in web:
        speaks = _MIXED[str(mixed[-1].get("reason"))]
        return Finding(
            blame=Party.DHCP,
            because=f"DHCP names {url} as iPXE's script, and that port speaks {speaks}",
            evidence=[*evidence[:1], *mixed[-3:], *evidence[1:]],
            hint="is the script's URL of the scheme that the server has?",
            conclusive=True,
        )
    if port in there:
        return None
    return Finding(
        blame=Party.DHCP,
        because=(
            f"DHCP names {url} as iPXE's script, and nobody listens at port {port}: HTTP is at port"
            f" {' and '.join(map(str, web))}"
        ),
        evidence=[*(there[number] for number in web), *evidence],
        hint="do the script's URL and the port of the web server fit together?",
    )


_MIXED: Final = {
    "TLS on the plain HTTP port": "plain HTTP",
    "plain HTTP on the TLS port": "TLS",
}
"""What a server says that was asked in the other way → what it speaks itself."""


def _script_without_effect(case: Case) -> Finding | None:
    """The script was served, and nothing that it names was asked for here."""
    scripts = case.seen("http.script.served")
    if not scripts:
        return None
    said = [event for event in _said(case) if event.seq > scripts[0].seq]
    if said:
        return Finding(
            blame=Party.BOOT_SCRIPT,
            because=f"iPXE got its script and could not do what it says: {quoted(said[0]['line'])}",
            evidence=[*scripts[-1:], *said[:3]],
            hint="can the machine reach the download-url that the script names?",
        )
    return Finding(
        blame=Party.IPXE,
        because="iPXE got its script, but asked for nothing that it names",
        evidence=scripts[-2:],
    )


def _broken_off(case: Case) -> Finding | None:
    """F20: the server ended the connection in mid-file, and never sent the rest."""
    cuts = [e for e in case.seen("http.response.cut") if is_artifact(str(e.get("path")))]
    if not cuts:
        return None
    last = cuts[-1]
    later = [
        event
        for event in case.seen("http.response.finished")
        if event.seq > last.seq and event.get("path") == last.get("path")
    ]
    if later:
        return None
    how = {"reset": " (RST)", "close": " (FIN)"}.get(str(last.get("how")), "")
    begun = [e for e in case.seen("http.response.started") if e.get("id") == last.get("id")]
    sent, promised = last.get("bytes", 0), last.get("length") or 0
    if begun and begun[0].get("file_bytes") == sent < promised:
        return Finding(
            blame=Party.HTTP,
            because=(
                f"HTTP promised {megabytes(promised)} of {last.get('path')}, {times(len(cuts))},"
                f" and sent the {megabytes(sent)} that it has"
            ),
            evidence=[*begun, last],
            hint="who writes the Content-Length: the web server, or what stands before it?",
        )
    return Finding(
        blame=Party.HTTP,
        because=(f"HTTP broke off {last.get('path')} after {_part(last)}, {times(len(cuts))}{how}"),
        evidence=cuts[-5:],
        hint="is what stands before the web server, or its storage, in order?",
    )


def _stands_still(case: Case) -> Finding | None:
    """F20: the connection stays open, and no octet comes any more."""
    for started in reversed(case.seen("http.response.started")):
        if not is_artifact(str(started.get("path"))) or started.get("status", 200) >= 300:
            continue
        mine = [
            event
            for event in case.events
            if event.seq >= started.seq
            and event.source == started.source
            and event.get("id") == started.get("id")
        ]
        if any(event.name.endswith((".finished", ".aborted", ".cut")) for event in mine):
            continue
        silent_s = case.events[-1].t - mine[-1].t
        if silent_s < _STILL_S:
            return None
        return Finding(
            blame=Party.HTTP,
            because=(
                f"HTTP sent nothing more of {started.get('path')} for {silent_s:.0f} s, after"
                f" {_part(mine[-1])}, on a connection that stays open"
            ),
            evidence=mine[-3:],
            hint=(
                "if the capture ends in segments sent again and again, it is the link or the"
                " machine's NIC (try without TCP offload); if it ends in ACKs, the server"
            ),
        )
    return None


def _part(event: Event) -> str:
    length = event.get("length")
    return megabytes(event.get("bytes", 0)) + (f" of {megabytes(length)}" if length else "")


def _artifacts(case: Case) -> Finding | None:
    """F21, F22: kernel and initramfs."""
    bad = http_errors(case, is_artifact)
    if bad:
        return bad
    aborted = [e for e in case.seen("http.response.aborted") if is_artifact(str(e.get("path")))]
    if aborted:
        last = aborted[-1]
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"iPXE left after {_part(last)} of {last.get('path')}: not enough evidence why"
            ),
            evidence=aborted[-5:],
        )
    under_way = case.tracker.transfer
    if under_way and under_way.length_bytes:
        progress = case.in_phase("http.transfer.progressed")
        party, why = who_is_slow(progress, Party.HTTP)
        return Finding(
            blame=party,
            because=(
                f"{under_way.name} was not through in time:"
                f" {megabytes(under_way.done_bytes)} of {megabytes(under_way.length_bytes)}; {why}"
            ),
            evidence=progress[-3:],
        )
    done = [
        event
        for event in case.seen("http.response.finished")
        if is_artifact(str(event.get("path")))
    ]
    if done:
        return Finding(
            blame=Party.IPXE,
            because=f"iPXE got {done[-1].get('path')} and asked for nothing after it",
            evidence=[*done[-3:], *_said(case)[-2:]],
        )
    return None


_SAID: Final = re.compile(r"https://\S+\.\.\. (.+ \(https://ipxe\.org/[0-9a-f]+\))")


def _https(case: Case) -> Finding | None:
    """Judge TLS that never came about between iPXE and the HTTP server."""
    failed = case.seen("http.tls.failed")
    asked = case.seen("http.request.received")
    if not failed or (asked and asked[-1].seq > failed[-1].seq):
        return None
    # iPXE closes without an alert; it says why on its consoles
    said = [
        (event, found[1])
        for event in case.in_phase("guest.error.seen")
        if (found := _SAID.search(str(event.get("line"))))
    ]
    words = f"; iPXE said: {said[-1][1]}" if said else ""
    return Finding(
        blame=Party.HTTP,
        because=(
            f"iPXE and the HTTPS server don't come to terms, {times(len(failed))}:"
            f" {failed[-1].get('reason')}{words}"
        ),
        evidence=[*failed[-5:], *(event for event, _ in said[-1:])],
        hint=(
            "Tinkerbell's iPXE takes RSA certificates only"
            if "no shared cipher" in str(failed[-1].get("reason"))
            else "Tinkerbell's iPXE trusts public CAs only, by ca.ipxe.org: another CA needs an"
            " iPXE built with TRUST="
        ),
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.IPXE: (
        _wrong_url,
        _https,
        program.unfit,
        program.spoilt,
        sent_in_circles,
        _script_refused,
        _no_script,
        mute_client,
        _script_unreached,
        unheard,
        _script_without_effect,
    ),
    Phase.KERNEL_INITRAMFS: (
        _https,
        sent_in_circles,
        _broken_off,
        unheard,
        mute_client,
        _stands_still,
        _artifacts,
    ),
}
