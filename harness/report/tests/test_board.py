"""Several boots on a terminal: a line each, below what has ended; elsewhere plain lines."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from harness.report.board import Board
from harness.scenario.tests.samples import good_boot, hello


class Screen:
    """What a terminal shows of the text that it was sent: line feeds, CUU and ED only."""

    def __init__(self, text: str) -> None:
        self.lines = [""]
        for part in re.split(r"(\x1b\[\d*[AJ]|\r|\n)", text):
            if part == "\n":
                self.lines.append("")
            elif part.endswith("A"):
                self._up(int(part[2:-1]))
            elif part.endswith("J"):
                self.lines[-1] = ""
            elif part != "\r":
                self.lines[-1] += part

    def _up(self, count: int) -> None:
        del self.lines[-count:]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _a_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "24")


def test_rows_are_redrawn_below_what_has_ended() -> None:
    ticks = iter(range(10_000))
    out = Terminal()
    board = Board(out, now=lambda: float(next(ticks)))
    one = board.add(hello("uefi"))
    two = board.add(hello("bios"))
    two.wait("waiting for hello[uefi] (process 7): 2 of 2 CPUs taken")
    for event in good_boot().until("registry.manifest.served").events:
        one.feed(event)
    lines = Screen(out.getvalue()).lines
    assert len(lines) == 3
    assert re.match(r"hello \[uefi\] +\d+\.\d s  worker pull", lines[0]), lines
    assert lines[1].startswith("hello [bios]            waiting for hello[uefi]")
    assert max(map(len, lines)) <= 69
    board.remove(two)
    board.say("hello [bios]   PASSED in 60.0 s   report runs/hello-bios-0001/report.html")
    lines = Screen(out.getvalue()).lines
    assert lines[0].startswith("hello [bios]   PASSED in 60.0 s")
    assert lines[1].startswith("hello [uefi] ")
    assert lines[2:] == [""]
    board.finish()
    assert Screen(out.getvalue()).lines[1:] == [""]


def test_no_more_rows_than_the_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "5")
    ticks = iter(range(10_000))
    out = Terminal()
    board = Board(out, now=lambda: float(next(ticks)))
    for number in range(9):
        board.add(replace(hello(), name=f"one-{number}"))
    assert len(Screen(out.getvalue()).lines) == 5


def test_elsewhere_there_are_whole_lines_only() -> None:
    out = io.StringIO()
    board = Board(out)
    row = board.add(hello())
    row.wait("waiting for a quieter host: 2.0 CPUs are busy")
    for event in good_boot().events:
        row.feed(event)
    board.remove(row)
    board.say("hello [uefi]   PASSED in 66.4 s   report x")
    assert out.getvalue().splitlines() == [
        "hello [uefi]   waiting for a quieter host: 2.0 CPUs are busy",
        "hello [uefi]   52:54:00:12:34:56   tcg, 1 vCPU",
        "hello [uefi]   PASSED in 66.4 s   report x",
    ]
