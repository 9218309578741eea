"""What ends a boot whatever its phase."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from harness.phases import Party, Phase
from harness.timeline import Event
from harness.verdict.rules import program
from harness.verdict.rules.arguments import other_init
from harness.verdict.rules.case import Case, Finding, Rule, argument, quoted, times
from harness.verdict.rules.hook import damaged_initramfs, no_room_for_initramfs
from harness.verdict.rules.http import file_not_whole
from harness.verdict.rules.link import link_came_too_late, link_is_down


def _panicked(case: Case) -> Finding | None:
    """The kernel gave up, whatever it was doing."""
    for event in case.seen("guest.panicked"):
        full = no_room_for_initramfs(case)
        if full:
            return replace(full, evidence=[*full.evidence, event])
        damaged = damaged_initramfs(case)
        if damaged:
            return replace(damaged, evidence=[*damaged.evidence, event])
        line = str(event.get("line"))
        memory = "memory" in line.lower()
        told = argument(case, "mem") if memory else None
        if told:
            return Finding(
                blame=Party.BOOT_SCRIPT,
                because=f"the kernel is told to use {told} of memory (mem=), and panicked: {line}",
                evidence=[*case.command_line, event],
                hint="take mem= out of the kernel arguments",
            )
        misled = other_init(case, line)
        if misled:
            return replace(misled, evidence=[*misled.evidence, event])
        return Finding(
            blame=Party.MACHINE if memory else Party.KERNEL,
            because=f"the guest's kernel panicked: {line}",
            evidence=[event],
            hint=(
                "give the machine more memory"
                if memory
                else "is the initramfs whole, and for this kernel?"
                if "root fs" in line
                else None
            ),
        )
    return None


def _qemu_exited(case: Case) -> Finding | None:
    """QEMU itself ended."""
    for event in case.seen("machine.exited"):
        if event.get("status"):
            lines = event.get("last_lines") or []
            tail = f": {lines[-1]}" if lines else ""
            return Finding(
                blame=of_the_host(tail) or Party.LAB,
                because=f"QEMU ended with status {event.get('status')}{tail}",
                evidence=[event],
            )
    return None


def _shut_down(case: Case) -> Finding | None:
    """The guest switched its machine off before it was done."""
    for event in case.seen("machine.shutdown"):
        if event.get("guest"):
            return Finding(
                blame=Party.HOOK if case.seen("guest.kernel.started") else Party.FIRMWARE,
                because=f"the machine switched itself off in {case.where}",
                evidence=[event],
            )
    return None


def _power_lost(case: Case) -> Finding | None:
    """Somebody pulled the plug."""
    for event in case.seen("machine.power.lost"):
        return Finding(
            blame=Party.MACHINE,
            because=f"the machine lost its power in {case.where}",
            evidence=[event],
        )
    return None


def _stands_still(case: Case) -> Finding | None:
    """Somebody stopped the virtual CPUs, and nobody let them run again (qapi/run-state.json)."""
    stopped: Event | None = None
    for event in case.seen("qmp.event.seen"):
        kind, by_guest = event.get("event"), (event.get("data") or {}).get("guest")
        if kind == "STOP":
            stopped = event
        elif kind == "RESUME" or (kind in ("SHUTDOWN", "RESET") and by_guest):
            stopped = None
    still_s = case.events[-1].t - stopped.t if stopped else 0.0
    if stopped is None or still_s < _STILL_S:
        return None
    return Finding(
        blame=Party.MACHINE,
        because=f"the machine was stopped in {case.where}, and stood still for {still_s:.0f} s",
        evidence=[stopped],
        hint="who sent stop to QEMU's monitor? a disk that fails may do so too (werror=stop)",
    )


_STILL_S: Final = 20.0


def _reset_again(case: Case) -> Finding | None:
    """A watchdog, a BMC or somebody resets the machine again and again: it did not do so itself."""
    resets = [event for event in case.seen("machine.reset") if not event.get("guest")]
    if len(resets) < _RESETS:
        return None
    if any(event.seq > resets[-1].seq for event in case.seen("tink.action.reported")):
        return None
    return Finding(
        blame=Party.MACHINE,
        because=(
            f"the machine was reset from outside, {times(len(resets))}, and did not get beyond"
            f" {case.phase.words}"
        ),
        evidence=resets[-5:],
        hint="does a watchdog, or a BMC that waits for something else, press its reset button?",
    )


_RESETS: Final = 3


def _never_netbooted(case: Case) -> Finding | None:
    """The firmware never tried the network, and booted the disk."""
    return None if case.seen("dhcp.discover.received") else _from_disk(case)


def _from_disk(case: Case) -> Finding | None:
    for event in reversed(case.seen("guest.disk.booted")):
        return Finding(
            blame=Party.FIRMWARE,
            because=f"the machine booted from {event.get('disk')} instead of the network",
            evidence=[event],
            hint="is the network before the disk in its boot order?",
        )
    return None


def _booted_otherwise(case: Case) -> Finding | None:
    """F1: the firmware went on to the disk, or parked in a menu, and no rule tells why."""
    disk = _from_disk(case)
    if disk:
        return disk
    for event in reversed(case.in_phase("firmware.prompt.offered", "firmware.gave_up")):
        what = event.get("line") or f"it waits at “{event.get('prompt')}”"
        return Finding(
            blame=Party.UNKNOWN,
            because=f"the firmware found nothing to boot ({what}): not enough evidence why",
            evidence=[event],
        )
    return None


def _soft_lockup(case: Case) -> Finding | None:
    """A virtual CPU that hangs; two of them under TCG can, in a kernel text patch."""
    stuck = case.said("soft lockup")
    if not stuck:
        return None
    return Finding(
        blame=Party.KERNEL,
        because=f"a CPU of the guest hangs in the kernel: {quoted(stuck[-1].get('line'))}",
        evidence=stuck[-3:],
        hint="with two CPUs and no KVM, try one: cpus: 1",
    )


def of_the_host(text: str) -> Party | None:
    """Return HOST when ``text`` tells that the computer has no room left."""
    return Party.HOST if _NO_ROOM.search(text) else None


_NO_ROOM: Final = re.compile(
    r"No space left|disk full|disk quota|cannot allocate memory|too many open files|out of memory",
    re.IGNORECASE,
)


def _halted(case: Case) -> Finding | None:
    """The processors stopped for good, and nothing tells why."""
    for event in reversed(case.in_phase("machine.cpu.halted")):
        spoke = [one for one in case.seen("console.line.seen") if one.seq < event.seq]
        words = f"; a console said last: {quoted(spoke[-1].get('text'))}" if spoke else ""
        return Finding(
            blame=Party.HOOK if case.seen("guest.kernel.started") else Party.FIRMWARE,
            because=f"the machine halted for good in {case.where}{words}",
            evidence=[*spoke[-1:], event],
        )
    return None


def _halted_early(case: Case) -> Finding | None:
    """The same before Linux: what did not happen then is no cause of it."""
    phases = list(Phase)
    spoilt = program.spoilt(case) if case.phase is Phase.IPXE else None
    if spoilt:
        return spoilt
    return _halted(case) if phases.index(case.phase) < phases.index(Phase.HOOK_BOOT) else None


def _console_error(case: Case) -> Finding | None:
    """The last resort: what a console said."""
    errors = case.in_phase("guest.error.seen")
    if not errors:
        return None
    return Finding(
        blame=Party.UNKNOWN,
        because=f"not enough evidence, but the console said: {quoted(errors[-1].get('line'))}",
        evidence=errors[-5:],
    )


FIRST: Final[tuple[Rule, ...]] = (
    file_not_whole,
    _panicked,
    _power_lost,
    _qemu_exited,
    _shut_down,
    _halted_early,
    _stands_still,
    link_is_down,
    link_came_too_late,
    _reset_again,
    _never_netbooted,
)
"""Asked before the phase's own rules."""
LAST: Final[tuple[Rule, ...]] = (_soft_lockup, _booted_otherwise, _halted, _console_error)
"""Asked when no other rule proves anything."""
