"""A machine that boots from an ISO: what its BMC got for the CD drive."""

from __future__ import annotations

from typing import Final

from harness.phases import Party, Phase
from harness.verdict.rules.case import Case, Finding, Rule, quoted


def _no_medium(case: Case) -> Finding | None:
    """Judge an ISO that the BMC was refused, when nothing else was booted from."""
    refused = case.seen("machine.medium.refused")
    if not refused or case.seen("dhcp.discover.received", "guest.kernel.started"):
        return None
    reason = str(refused[-1].get("reason"))
    return Finding(
        blame=Party.HTTP,
        because=f"the machine's CD drive is empty, its BMC got no ISO: {quoted(reason)}",
        evidence=refused[-1:],
        hint="is the MAC in the URL one of a Hardware, and does the ISO's own server have it?",
    )


def _unpatched(case: Case) -> Finding | None:
    """F28: the placeholder stands where the kernel's arguments belong."""
    got = [each for each in case.seen("machine.medium.inserted") if each.get("placeholder")]
    if not got or case.seen("http.script.served"):
        return None
    return Finding(
        blame=Party.HTTP,
        because=(
            "the ISO came to the machine unpatched: its placeholder stands where Hook's kernel"
            " arguments belong, so Hook knows neither worker_id nor grpc_authority"
        ),
        evidence=got[-1:],
        hint="is the ISO asked of smee, and is the placeholder the one that smee looks for?",
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.FIRMWARE_DHCP: (_no_medium, _unpatched),
    Phase.HOOK_BOOT: (_unpatched,),
    Phase.WORKER_PULL: (_unpatched,),
}
