"""iPXE, its script, kernel and initramfs."""

from __future__ import annotations

from typing import Final

from harness.facts import is_artifact, is_script
from harness.phases import Party, Phase
from harness.verdict.phases import megabytes
from harness.verdict.rules.case import Case, Finding, Rule, times
from harness.verdict.rules.dhcp import dhcp_exchange
from harness.verdict.rules.http import http_errors


def _ipxe(case: Case) -> Finding | None:
    script = http_errors(case, is_script)
    if script:
        return script
    scripts = case.seen("http.script.served")
    if scripts:
        return Finding(
            blame=Party.IPXE,
            because="iPXE got its script, but asked for nothing that it names",
            evidence=scripts[-2:],
        )
    dhcp = dhcp_exchange(case, ("tinkerbell",), "iPXE", Party.IPXE)
    if dhcp:
        return dhcp
    return Finding(
        blame=Party.IPXE,
        because="iPXE has an address, but never asked for its script",
        evidence=case.seen("dhcp.ack.sent", stage="tinkerbell")[-2:],
    )


def _artifacts(case: Case) -> Finding | None:
    bad = http_errors(case, is_artifact)
    if bad:
        return bad
    aborted = [e for e in case.seen("http.response.aborted") if is_artifact(str(e.get("path")))]
    if aborted:
        last = aborted[-1]
        length = f" of {megabytes(last['length'])}" if last.get("length") else ""
        return Finding(
            blame=Party.UNKNOWN,
            because=(
                f"iPXE left after {megabytes(last.get('bytes', 0))}{length} of {last.get('path')}:"
                " not enough evidence why"
            ),
            evidence=aborted[-5:],
        )
    under_way = case.tracker.transfer
    if under_way and under_way.length_bytes:
        return Finding(
            blame=Party.NETWORK,
            because=(
                f"{under_way.name} was not through in time:"
                f" {megabytes(under_way.done_bytes)} of {megabytes(under_way.length_bytes)}"
            ),
            evidence=case.in_phase("http.transfer.progressed")[-3:],
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
            evidence=done[-3:],
        )
    return None


def _https(case: Case) -> Finding | None:
    """Judge TLS that never came about between iPXE and the HTTP server."""
    failed = case.seen("http.tls.failed")
    asked = case.seen("http.request.received")
    if not failed or (asked and asked[-1].seq > failed[-1].seq):
        return None
    return Finding(
        blame=Party.HTTP,
        because=(
            f"iPXE and the HTTPS server don't come to terms, {times(len(failed))}:"
            f" {failed[-1].get('reason')}"
        ),
        evidence=failed[-5:],
        hint="Tinkerbell's iPXE trusts public CAs only, by ca.ipxe.org: another CA needs an iPXE"
        " built with TRUST=",
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.IPXE: (_https, _ipxe),
    Phase.KERNEL_INITRAMFS: (_https, _artifacts),
}
