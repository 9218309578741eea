"""The boot program: one that this machine can't start, or that came damaged."""

from __future__ import annotations

import re
from typing import Final

from harness.facts import is_boot_program, unfit_program
from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules.case import Case, Finding, quoted


def spoilt(case: Case) -> Finding | None:
    """Judge a boot program that came, and that the firmware, or its own start, could not unpack."""
    had = [event for event in _had(case) if event.get("bytes")]
    if not had or case.seen("dhcp.discover.received", stage="tinkerbell"):
        return None
    last = had[-1]
    failed = [
        (event, str(event.get("reason") or event.get("text")))
        for event in case.seen("firmware.boot.failed", "console.line.seen")
        if event.seq > last.seq
        and (event.get("reason") in _UNFIT or _NOT_INSTALLED.search(str(event.get("text"))))
    ]
    if not failed:
        return None
    file = str(last.get("file") or last.get("path")).rpartition("/")[2]
    return Finding(
        blame=Party.TFTP if last.name.startswith("tftp.") else Party.HTTP,
        because=f"the firmware was sent {file}, and it does not start: {quoted(failed[0][1])}",
        evidence=[last, *(event for event, _ in failed[:2])],
        hint="is it on the server what it should be, and whole? compare its checksum",
    )


_UNFIT: Final = ("Unsupported", "Load Error", "Volume Corrupted", "CRC Error", "Compromised Data")
"""How edk2 says that something is no program (EFI_STATUS, UEFI specification, appendix D)."""
_NOT_INSTALLED: Final = re.compile(r"Installation failed - cannot")
"""iPXE's own start (src/arch/x86/prefix/libprefix.S), when what it unpacks is damaged."""


def unfit(case: Case) -> Finding | None:
    """F4: the firmware was given what it can't start, and nothing of it was heard."""
    if case.seen("dhcp.discover.received", stage="tinkerbell"):
        return None
    asked = [
        event
        for event in case.seen("dhcp.discover.received", "dhcp.request.received")
        if event.get("stage") in ("firmware", "ipxe") and event.get("arch") is not None
    ]
    had = _had(case)
    if not asked or not had:
        return None
    file, arch = str(had[-1].get("file") or had[-1].get("path")), int(asked[-1].get("arch", 0))
    why = unfit_program(file, arch)
    if why is None:
        return None
    return Finding(
        blame=Party.DHCP,
        because=f"DHCP gave the firmware (architecture {arch}) {file}, and {why}",
        evidence=[asked[-1], *case.seen("dhcp.ack.sent")[-1:], had[-1]],
        hint=(
            "smee goes by option 93, and by the maker's part of the MAC address where that is a"
            " Raspberry Pi's; a Hardware may name another program"
        ),
        conclusive=True,
    )


def _had(case: Case) -> list[Event]:
    """Return the boot programs that were sent to their end."""
    return [
        event
        for event in case.seen("tftp.transfer.finished", "http.response.finished")
        if is_boot_program(str(event.get("file") or event.get("path")))
    ]
