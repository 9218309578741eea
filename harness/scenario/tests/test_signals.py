"""What signals end: the lab that is kept, or all that was to come as well."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.scenario import command
from harness.scenario.command import run_command
from harness.scenario.item import Item
from harness.scenario.runner import Outcome

SCENARIO = """\
scenario: A firmware that is never offered an address
machine: {mac: "52:54:00:12:34:59", firmware: [bios, uefi]}
expect: [{event: {name: dhcp.ack.sent}}]
"""
USUAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the handlers of this process as they were."""
    before = {number: signal.getsignal(number) for number in USUAL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def runs_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> tuple[int, list[str], list[str]]:
    """Run two items whose labs are kept; each gets a signal then.

    Return the exit status, which items ran and what was said of how to end them.
    """
    (folder / "mute.yaml").write_text(SCENARIO)
    ran: list[str] = []
    told: list[str] = []

    async def ready(items: Sequence[Item], **_: Any) -> list[Item]:
        return list(items)

    async def kept(item: Item, *_: Any) -> Any:
        ran.append(item.variant)
        told.append(command._how_to_end())
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # to be cancelled is the normal end of a lab that is kept
            this = asyncio.current_task()
            assert this is not None
            this.uncancel()
        result = {"scenario": item.id, "outcome": "failed"}
        return SimpleNamespace(outcome=Outcome.FAILED, events=(), to_data=lambda: result)

    monkeypatch.setattr(command, "prepare", ready)
    monkeypatch.setattr(command, "_run_shown", kept)
    status = run_command([folder / "mute.yaml"], json_file=None, only=None, pause_on_failure=True)
    return status, ran, told


def test_ctrl_c_ends_the_lab_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status, ran, told = runs_of(tmp_path, monkeypatch, signal.SIGINT)
    assert (status, ran) == (1, ["bios", "uefi"])
    assert told == ["Ctrl-C"] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_ends_the_program_wants_no_further_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A shell's background job, too: that one hears no Ctrl-C, and is told otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(number, signal.SIG_DFL)  # with nohup, SIGHUP is nobody's
    status, ran, told = runs_of(tmp_path, monkeypatch, number)
    assert (status, ran) == (130, ["bios"])
    assert told == [f"kill {os.getpid()}"]
