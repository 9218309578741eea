"""A boot that ends well another way than it was meant to: people are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.facts import detours
from harness.report.html import render
from harness.report.record import read_run
from harness.report.tests.folders import make_run
from harness.report.text import pace_notes
from harness.scenario.tests.samples import Tape, good_boot

WORDS = "UEFI PXEv4: Not Found, after 60 s"


def boot(*ways: str, after: str = "lab.started") -> Tape:
    """Return a good boot, in which these ways to boot failed right after an event."""
    good = good_boot()
    tape = Tape()
    for event in good.events:
        tape.add(event.t, event.source, event.name, **event.fields)
        if event.name == after:
            for way in ways:
                tape.add(event.t + 1, "machine", "firmware.boot.tried", way=way, console="ttyS0")
                tape.add(event.t + 61, "machine", "firmware.boot.failed", way=f"{way} (MAC:5254)",
                         reason="Not Found", console="ttyS0")  # fmt: skip
    return tape


@pytest.mark.parametrize(
    ("tape", "told"),
    [
        (boot("UEFI PXEv4", after="machine.powered_on"), [WORDS]),
        (boot("UEFI PXEv4", "UEFI HTTPv4", after="machine.powered_on"),
         [WORDS, WORDS.replace("PXE", "HTTP")]),
        (boot(), []),
        (boot("UEFI Misc Device", after="machine.powered_on"), []),  # a disk that is empty still
        (boot("UEFI PXEv4", after="run.finished"), []),  # nothing came after it
    ],
    ids=["one", "two", "none", "a disk", "the last way"],
)  # fmt: skip
def test_the_ways_that_failed_before_one_did_not(tape: Tape, told: list[str]) -> None:
    assert detours(tape.events) == told
    notes = [text for word, text in pace_notes(tape.events) if word == "detour"]
    assert notes == [f"the firmware went on after {text}" for text in told]


def test_the_report_tells_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, boot("UEFI PXEv4", after="machine.powered_on"))
    assert f"went on after {WORDS}" in render(read_run(run))
