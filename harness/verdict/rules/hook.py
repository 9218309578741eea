"""From the kernel's first line to a docker engine."""

from __future__ import annotations

from typing import Final

from harness.phases import Party, Phase
from harness.verdict.rules.case import Case, Finding, Rule, quoted
from harness.verdict.rules.dhcp import dhcp_exchange


def _hook_boot(case: Case) -> Finding | None:
    if not case.seen("guest.kernel.started"):
        spoke = case.in_phase("console.line.seen")
        if case.seen("dhcp.discover.received", stage="guest"):
            return None
        said = f"; the console said last: {quoted(spoke[-1].get('text'))}" if spoke else ""
        return Finding(
            blame=Party.KERNEL,
            because=f"kernel and initramfs were fetched, but no kernel spoke on a console{said}",
            evidence=[*case.here[:1], *spoke[-3:]],
            hint="is the kernel for this architecture, and is there a console= for ttyS0 or ttyS1?",
        )
    dhcp = dhcp_exchange(case, ("guest",), "Hook", Party.HOOK)
    if dhcp:
        return dhcp
    last = case.in_phase("guest.service.started", "guest.init.started", "guest.error.seen")
    errors = case.in_phase("guest.error.seen")
    reason = f": {quoted(errors[-1].get('line'))}" if errors else ""
    return Finding(
        blame=Party.HOOK,
        because=f"Hook has an address, but its docker engine never came up{reason}",
        evidence=last[-5:],
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {Phase.HOOK_BOOT: (_hook_boot,)}
