"""Clients that say they asked, where nothing of that arrived: the way there is to blame."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict.judge import judge

E18 = "PXE-E18: Server response timeout."
IN_VAIN = "No configuration methods succeeded (https://ipxe.org/040ee119)"
NO_CARD = "dhcpcd-once: no valid interfaces found"
TIMED_OUT = "dhcpcd-once: timed out"


def complains(tape: Tape, pattern: str, *lines: str) -> Tape:
    for line in lines:
        tape.add(tape.events[-1].t + 30, "machine", "guest.error.seen", pattern=pattern, line=line,
                 console="ttyS0")  # fmt: skip
    return tape


@pytest.mark.parametrize(
    ("pattern", "line", "blame"),
    [
        ("firmware found no network", E18, "link"),
        ("ipxe error", IN_VAIN, "link"),
        ("firmware found no network", "PXE-E16: No valid offer received.", "firmware"),
    ],
)
def test_a_firmware_that_asked_for_an_address(pattern: str, line: str, blame: str) -> None:
    found = judge(complains(good_boot().until("machine.powered_on"), pattern, line).events)
    assert (found.failed_in, found.blame) == ("firmware-dhcp", blame)
    assert (line in found.because) == (blame == "link")


@pytest.mark.parametrize(
    ("lines", "blame"),
    [
        ([TIMED_OUT], "link"),
        (["dhcpcd-once: no interfaces have a carrier"], "link"),
        ([NO_CARD, TIMED_OUT], "kernel"),  # it says so without any card, too
    ],
    ids=["timed out", "no carrier", "no card"],
)
def test_a_hook_that_asked_for_an_address(lines: list[str], blame: str) -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "guest.init.started", console="ttyS0")
    found = judge(complains(tape, "no address", *lines).events)
    assert (found.failed_in, found.blame) == ("hook-boot", blame)
    assert lines[0] in found.because
