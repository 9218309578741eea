"""The table: its picture, and a real terminal's."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from fake_tink_server.board import Board
from fake_tink_server.lines import lines_of, printable
from fake_tink_server.table import picture_of, terminal
from fake_tink_server.workflow import Action, State, Task, Workflow
from harness.timeline import Event

ROOT = Path(__file__).parents[2]


def make(number: int, state: State = State.RUNNING) -> Workflow:
    first = State.SUCCESS if state is State.SUCCESS else State.RUNNING
    actions = [
        Action(
            name="print", image="i", state=first, started_at_s=100, seconds=7, message="a\x1b[2Jb"
        ),
        Action(name="write", image="i", state=state if state is State.SUCCESS else State.PENDING),
    ]
    task = Task(name="task", worker=f"w{number}", actions=actions)
    return Workflow(name=f"flow{number}", tasks=[task], state=state)


def event(name: str, t: float = 1.0, **fields: object) -> Event:
    return Event(seq=1, t=t, source="tink", name=name, fields=fields)


def drawn(board: Board, height: int = 40, width: int = 110) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, markup=False, highlight=False)
    console.print(picture_of(board, 12.0, 105.0, height=height))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_picture() -> None:
    flows = {each.id: each for each in (make(1), make(2, State.SUCCESS))}
    board = Board(lambda: flows)
    board.hear(event("service.started", address="127.0.0.1", port=42, transport="grpc"))
    for t in (2.0, 9.5):
        called = {"worker_id": "w1", "rpc": "GetWorkflowContexts", "protocol": "v1"}
        board.hear(event("tink.rpc.received", t, **called))
    board.hear(event("tink.rpc.received", 11.0, worker_id="stranger", protocol="v2"))
    assert drawn(board) == [
        "Tinkerbell at 127.0.0.1:42 (grpc)   up 12 s   Ctrl-C stops",
        "",
        "WORKER    SPEAKS  CALLS  LAST CALL  DOES",
        "w1        v1          2  2.5 s ago  default/flow1 print",
        "w2        -           0  never      all done",
        "stranger  v2          1  1.0 s ago  has no workflow",
        "",
        "WORKFLOW       STATE    TASK  ACTION  STATE    SECONDS  MESSAGE",
        "default/flow1  RUNNING  task  print   RUNNING        5  a\\x1b[2Jb",
        "                              write   PENDING",
        "default/flow2  SUCCESS  task  print   SUCCESS        7  a\\x1b[2Jb",
        "                              write   SUCCESS",
        "",
        "    1.000  listening on 127.0.0.1:42 (grpc)",
    ]


@pytest.mark.parametrize("count", [1, 5, 30, 1000])
@pytest.mark.parametrize("height", [24, 50])
def test_it_fits_the_terminal(count: int, height: int) -> None:
    flows = {each.id: each for each in (make(n, State.SUCCESS if n % 3 else State.RUNNING)
                                        for n in range(count))}  # fmt: skip
    board = Board(lambda: flows)
    for number in range(50):
        board.say(f"line {number}")
    lines = drawn(board, height)
    assert len(lines) <= height
    assert lines[-1].endswith("line 49")
    assert any("flow0" in line for line in lines)
    if count == 1000:
        assert sum("more" in line for line in lines) == 2


def test_no_event_can_move_the_cursor() -> None:
    said = lines_of(
        event(
            "tink.action.reported",
            workflow_id="d/w",
            task="t",
            action="a",
            state="STATE_FAILED",
            message="one\ntwo\x1b]0;title\x07",
            accepted=True,
        )
    )
    assert said == ["    1.000  d/w t/a FAILED  one", "           two\\x1b]0;title\\x07"]
    assert printable("Größe→\t") == "Größe→\\t"


def test_no_terminal_no_table() -> None:
    assert terminal(io.StringIO()) is None


@pytest.mark.parametrize("colour", [True, False])
def test_no_color(colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    console = terminal(Screen())
    assert console is not None
    flows = {"default/flow1": make(1)}
    with console.capture() as captured:
        console.print(picture_of(Board(lambda: flows), 1.0, 105.0, height=30))
    assert (re.search(r"\x1b\[[0-9;]*3[0-7]m", captured.get()) is not None) is colour


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "fake_tink_server", "fixtures/templates/hello.yaml"),
            *("--worker", "52:54:00:12:34:56", "--port", "0"),
        ],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert process.stderr is not None
    with os.fdopen(ours, "rb", buffering=0) as screen, process.stderr:
        seen = read_until(screen, b"PENDING")
        process.send_signal(signal.SIGINT)
        seen += read_until(screen, b"stopped")
        assert process.stderr.read() == b""
        assert process.wait(10) == 0
    assert b"52:54:00:12:34:56  -           0  never      awaited" in seen


def read_until(screen: IO[bytes], words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += screen.read(65536)
    return seen
