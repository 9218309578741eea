"""After the workflow: the first boot from disk, for runs that wait for it."""

from __future__ import annotations

from typing import Final

from harness.phases import Party, Phase
from harness.verdict.rules.case import Case, Finding, Rule, quoted, times


def _never_rebooted(case: Case) -> Finding | None:
    """F65, F75: the workflow ended well, and nobody restarted the machine."""
    if case.in_phase("machine.reset", "machine.shutdown", "machine.powered_on"):
        return None
    return Finding(
        blame=Party.ACTION,
        because="the workflow ended well, and the machine was not restarted after it",
        evidence=case.here[:1],
        hint="the last action has to: kexec, or a file /worker/reboot; does it end too soon?",
    )


def _netbooted_again(case: Case) -> Finding | None:
    """F5, F65: the machine is given its boot program, or Hook, once more."""
    resets = case.in_phase("machine.reset", "machine.powered_on")
    again = [
        event
        for event in case.in_phase(
            "tftp.transfer.finished", "http.script.served", "guest.kernel.started"
        )
        if resets and event.seq > resets[0].seq
    ]
    if not again:
        return None
    scripts = [event for event in again if event.name == "http.script.served"]
    return Finding(
        blame=Party.TINK,
        because=(
            "after its workflow the machine was booted from the network again,"
            f" {times(max(1, len(scripts)))}"
        ),
        evidence=[*resets[:1], *again[:3]],
        hint="is netboot still allowed in its Hardware (allowPXE) once the workflow has ended?",
    )


def _nothing_on_disk(case: Case) -> Finding | None:
    """F1, F75: the firmware restarted and found nothing to boot."""
    parked = case.in_phase("firmware.gave_up", "firmware.prompt.offered")
    if not parked:
        return None
    tried = [e for e in case.in_phase("firmware.boot.tried") if e.get("way") == "Hard Disk"]
    said = str(parked[0].get("line") or parked[0].get("prompt"))
    return Finding(
        blame=Party.DISK,
        because=f"after its workflow the machine found nothing to boot: {quoted(said)}",
        evidence=[*case.in_phase("machine.reset")[:1], *tried[:1], *parked[:1]],
        hint=(
            "did the workflow write a boot loader for this firmware, and does the boot order come"
            " to the disk after a netboot that was refused?"
        ),
    )


def _disk_silent(case: Case) -> Finding | None:
    """What is left: the machine restarted, and its disk was never heard of."""
    return Finding(
        blame=Party.UNKNOWN,
        because="the machine restarted, and nothing from its disk was heard: not enough evidence",
        evidence=case.in_phase("machine.reset", "machine.shutdown")[-2:] or case.here[:1],
    )


RULES: Final[dict[Phase, tuple[Rule, ...]]] = {
    Phase.DISK_BOOT: (_never_rebooted, _nothing_on_disk, _netbooted_again, _disk_silent),
}
