"""The terminal: plain lines where it is none, one redrawn line where it is."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.facts import MachineTime, machine_time
from harness.report.failure import failure_text
from harness.report.record import read_run
from harness.report.tests.folders import failed_boot, make_run
from harness.report.text import (
    LiveProgress,
    Style,
    final_block,
    heading,
    ranges,
    tally,
    wants_colour,
)
from harness.scenario.expectations import check_expectations
from harness.scenario.item import VerdictItem
from harness.scenario.tests.samples import Tape, good_boot, hello
from harness.timeline import Event
from harness.verdict import judge

PLAIN = Style(colour=False)

SHOWN = """\
hello [uefi]   52:54:00:12:34:56   tcg, 1 vCPU
  firmware dhcp      0.0 →  5.1 s   192.168.77.10, ipxe.efi from 192.168.77.1
  nbp download       5.1 →  6.0 s   ipxe.efi 1.0 MB by TFTP
  ipxe               6.0 → 13.8 s   auto.ipxe for this MAC
  kernel, initramfs 13.8 → 15.2 s   61 MB by HTTP
  hook boot         15.2 → 34.9 s   Linux 6.1.0, docker up at 34.9
  worker pull       34.9 → 41.0 s   tink-worker@sha256:8348… once
  workflow          41.0 → 66.4 s   print ✓  write ✓  read ✓  disk ✓
"""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(tape: Tape, out: io.StringIO, *, live: bool) -> str:
    """Return what is shown of ``tape``."""
    ticks = iter(range(10_000))
    progress = LiveProgress(
        item=hello(), out=out, live=live, style=PLAIN, now=lambda: float(next(ticks))
    )
    for event in tape.events:
        progress.feed(event)
    progress.finish()
    return out.getvalue()


def test_where_there_is_no_terminal_only_final_lines_are_printed() -> None:
    assert shown(good_boot(), io.StringIO(), live=False) == SHOWN


def test_a_run_that_stops_shows_its_last_phase() -> None:
    text = shown(failed_boot(), io.StringIO(), live=False)
    assert text.splitlines()[-1] == "  workflow          41.0 → 60.0 s   print ✓  write ✗"


def test_on_a_terminal_the_running_phase_is_one_redrawn_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = shown(good_boot(), Terminal(), live=True)
    lines = [line.rpartition("\r\x1b[2K")[2] for line in text.split("\n")]
    assert "\n".join(lines) == SHOWN
    drawn = text.replace("\n", "\r\x1b[2K").split("\r\x1b[2K")
    assert "  nbp download       5.1 →  5.6 s   ipxe.efi 500 kB" in drawn
    assert any("initramfs-x86_64 26 MB of 53 MB (50%)" in line for line in drawn)
    assert "  workflow          41.0 → 45.0 s   print …" in drawn


def test_a_redrawn_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = shown(good_boot(), Terminal(), live=True)
    drawn = [line for part in text.split("\n") for line in part.split("\r\x1b[2K")[:-1]]
    assert drawn
    assert max(map(len, drawn)) <= 39


def test_colour_is_for_terminals_that_want_it() -> None:
    assert wants_colour(Terminal(), {})
    assert not wants_colour(io.StringIO(), {})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert Style(colour=True).good("x") == "\x1b[1;32mx\x1b[0m"
    assert PLAIN.good("x") == "x"


def block(
    tape: Tape,
    *,
    passed: bool,
    expected: VerdictItem | None = None,
    style: Style = PLAIN,
    width: int | None = None,
    nearest: bool = False,
) -> list[str]:
    """Return the lines of the final block."""
    item = replace(hello(), expected_verdict=expected)
    text = final_block(
        item=item,
        passed=passed,
        verdict=judge(tape.events),
        total_s=66.42,
        run_dir=Path("runs/hello-uefi-0007"),
        style=style,
        width=width,
        events=tape.events if nearest else (),
        outcomes=check_expectations(item, tape.events),
        differences=["expected to fail in ipxe"],
    )
    return text.splitlines()


def test_passed_is_one_line() -> None:
    assert block(good_boot(), passed=True) == [
        "PASSED in 66.4 s   report runs/hello-uefi-0007/report.html"
    ]


def test_failed_tells_the_story() -> None:
    lines = block(failed_boot(), passed=False)
    assert lines[:3] == [
        "FAILED in workflow after 66.4 s",
        "  what    action 'write' failed: exit status 3 & <more>",
        "  blame   action",
    ]
    assert "          found     print RUNNING SUCCESS, write RUNNING FAILED" in lines
    assert lines[-2:] == [
        "  proof   events 53 of timeline.jsonl",
        "  report  runs/hello-uefi-0007/report.html",
    ]


def test_failed_shows_the_nearest_events() -> None:
    lines = block(failed_boot(), passed=False, nearest=True)
    at = lines.index("  nearest events")
    assert len(lines) == at + 11
    [proof] = [line for line in lines[at:] if line.startswith("  ▸ ")]
    assert "#53 " in proof
    assert "action=write  state=STATE_FAILED" in proof


def test_failed_as_expected_shows_no_events() -> None:
    expected = VerdictItem(failed_in="workflow", at="m.yaml:1:1")
    lines = block(failed_boot(), passed=True, expected=expected, nearest=True)
    assert "  nearest events" not in lines


@pytest.mark.parametrize("colour", [False, True])
def test_narrow_terminals_get_whole_sentences_and_cut_events(colour: bool) -> None:
    style = Style(colour=colour)
    narrow = block(failed_boot(), passed=False, style=style, width=60, nearest=True)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in narrow]
    assert ("\x1b[" in "".join(narrow)) is colour
    # a word that is wider than the terminal is left whole
    assert max(len(line) for line in plain if " " in line[10:].strip()) <= 60
    wide = block(failed_boot(), passed=False)
    at = plain.index("  nearest events")
    assert " ".join(" ".join(plain[:at]).split()) == " ".join(" ".join(wide).split())


def test_failed_as_expected() -> None:
    expected = VerdictItem(failed_in="workflow", at="m.yaml:1:1")
    lines = block(failed_boot(), passed=True, expected=expected)
    assert lines[0] == "FAILED in workflow after 66.4 s, as expected"
    assert not any("expect " in line or "differs" in line for line in lines)


def test_failed_otherwise_than_expected() -> None:
    expected = VerdictItem(failed_in="ipxe", at="m.yaml:1:1")
    lines = block(failed_boot(), passed=False, expected=expected)
    assert "  differs expected to fail in ipxe" in lines


def test_ranges() -> None:
    assert ranges([]) == ""
    assert ranges([5, 3, 4, 9, 4]) == "3–5, 9"


def test_a_failure_in_full(tmp_path: Path) -> None:
    text = failure_text(read_run(make_run(tmp_path, failed_boot())))
    for words in (
        "hello[uefi]: A machine netboots Hook and runs a four-action workflow",
        "failed in workflow: action 'write' failed: exit status 3 & <more>",
        "    blame: action, proof: events 53",
        "hello.yaml:12:5: actions: [print, write, read, disk]",
        "    found     print RUNNING SUCCESS, write RUNNING FAILED",
        "    nearest events:",
        "tink.action.reported",
        "phases: firmware-dhcp 5.1 s, ",
        "    timeline.jsonl",
        "    serial-ttyS0.log",
    ):
        assert words in text
    assert "Traceback" not in text


def test_the_elapsed_time_moves_on_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    now = [0.0]
    out = Terminal()
    progress = LiveProgress(item=hello(), out=out, live=True, style=PLAIN, now=lambda: now[0])
    for event in good_boot().events[:4]:
        progress.feed(event)
    before = progress.tracker.last_s
    now[0] += 2.5
    progress.tick()
    drawn = out.getvalue().rpartition("\r\x1b[2K")[2]
    assert f"→ {before + 2.5:4.1f} s" in drawn, drawn


def test_the_heading_says_why_a_machine_is_emulated() -> None:
    powered_on = Event(
        seq=1,
        t=0.0,
        source="machine",
        name="machine.powered_on",
        fields={"accel": "tcg", "cpus": 1},
    )
    denied = "/dev/kvm: Permission denied (sudo usermod -aG kvm $USER, then log in again)"
    long = "KVM opens but does not run: QEMU ended before Linux began: " + "x" * 50
    for because, said in (
        (denied, f"tcg, 1 vCPU ({denied})"),
        (long, "tcg, 1 vCPU (KVM opens but does not run)"),
        ("asked for", "tcg, 1 vCPU"),
        ("", "tcg, 1 vCPU"),
    ):
        item = replace(hello(), accel_because=because)
        assert heading(item, powered_on, PLAIN).endswith(f"   {said}")


def test_the_share_of_time_that_machines_waited() -> None:
    tape = good_boot().until("run.finished")
    tape.add(
        71.0, "machine", "machine.exited", machine="machine", status=0, busy_s=30.0, delayed_s=5.0
    )
    time = machine_time(tape.events)
    assert time == MachineTime(on_s=70.0, idle_s=35.0)
    tape.events.insert(-1, Event(seq=0, t=50.0, source="lab", name="lab.resumed"))
    worked, resumed = 35.0, machine_time(tape.events)
    assert resumed is not None
    assert resumed.on_s == tape.events[-1].t - 50.0
    assert resumed.idle_s == max(0.0, resumed.on_s - worked)
    assert tally(["passed", "failed"], [time, time, None]) == (
        "2 runs: 1 passed, 1 failed; machines on for 140 s, 50 % of it waiting"
    )
    assert tally(["passed"], [None]) == "1 run: 1 passed"
