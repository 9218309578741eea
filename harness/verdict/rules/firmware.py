"""From power-on to the network boot program."""

from __future__ import annotations

from typing import Final

from harness.facts import is_boot_program
from harness.phases import Party, Phase
from harness.verdict.phases import megabytes
from harness.verdict.rules.case import Case, Finding, Rule
from harness.verdict.rules.dhcp import dhcp_exchange
from harness.verdict.rules.http import http_errors


def _firmware_dhcp(case: Case) -> Finding | None:
    return dhcp_exchange(case, ("firmware", "ipxe"), "the firmware", Party.FIRMWARE)


def _nothing_to_boot(case: Case) -> Finding | None:
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
    return Finding(
        blame=Party.FIRMWARE,
        because=f"the firmware got {file} in its ACK, but never asked for it",
        evidence=acks[-2:],
    )


def _boot_program(case: Case) -> Finding | None:
    """Judge the download of the network boot program."""
    errors = [e for e in case.seen("tftp.error.sent") if is_boot_program(str(e.get("file")))]
    if errors:
        last = errors[-1]
        return Finding(
            blame=Party.TFTP,
            because=f"TFTP refused {last.get('file')}: {last.get('text')}",
            evidence=errors[-5:],
        )
    bad = http_errors(case, lambda path: path.startswith("/ipxe/binary/"))
    if bad:
        return bad
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


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.FIRMWARE_DHCP: (_firmware_dhcp, _boot_program, _nothing_to_boot),
    Phase.NBP_DOWNLOAD: (_boot_program,),
}
