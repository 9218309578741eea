"""Run folders made by hand, for the tests of reports."""

from __future__ import annotations

from pathlib import Path

from harness.scenario.item import LOCK_NAME, Item
from harness.scenario.lock import write_lock
from harness.scenario.tests.samples import Tape, change, good_boot, hello, report

CONSOLE = b"\x1b[2J\x1b[1;31mBdsDxe\x1b[0m: starting\r\niPXE 10%\riPXE 100%\r\n<b>&\x00\xff"


def make_run(folder: Path, tape: Tape, item: Item | None = None) -> Path:
    """Write a run folder with ``tape`` as its timeline; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(event.to_json() + "\n" for event in tape.events)
    (folder / "timeline.jsonl").write_text(lines)
    write_lock(item or hello(), folder / LOCK_NAME)
    (folder / "serial-ttyS0.log").write_bytes(CONSOLE)
    return folder


def failed_boot() -> Tape:
    """Return a boot whose second action fails."""
    tape = good_boot().until("tink.action.reported", action="write")
    report(tape, 60, "write", "STATE_FAILED", message="exit status 3 & <more>")
    change(tape, 60, "STATE_FAILED", "STATE_RUNNING")
    tape.add(61, "run", "run.finished", outcome="ended")
    return tape
