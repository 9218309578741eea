"""Progress: the table of where a first build's time went."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from datetime import timedelta

import pytest

from harness.progress import Ledger, PlainProgress, SilentProgress, Step, steps_of_bootstrap


def ledger_of(*steps: Step) -> tuple[Ledger, list[str]]:
    said: list[str] = []

    class Listener(SilentProgress):
        def say(self, line: str) -> None:
            said.append(line)

    ledger = Ledger(Listener())
    ledger.steps.extend(steps)
    return ledger, said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "done in"),
        (RuntimeError, "FAILED after"),
        (asyncio.CancelledError, "given up after"),  # as another step failed
        (KeyboardInterrupt, "given up after"),
    ],
)
def test_how_a_step_ended(error: type[BaseException] | None, words: str) -> None:
    stream = io.StringIO()
    with contextlib.suppress(BaseException), PlainProgress(stream).step("compiling"):
        if error is not None:
            raise error
    began, ended = stream.getvalue().splitlines()
    assert began == "compiling …"
    assert re.fullmatch(rf"compiling {words} \d+\.\d s", ended)


def test_steps_are_remembered_when_they_went_well() -> None:
    ledger, _ = ledger_of()
    with ledger.step("one"), ledger.step("two"):
        pass
    with pytest.raises(RuntimeError), ledger.step("three"):
        raise RuntimeError
    assert [step.what for step in ledger.steps] == ["two", "one"]


def test_a_long_build_is_told_with_what_came_before_it_and_without_trifles() -> None:
    ledger, said = ledger_of(
        Step("compile", 0, 60), Step("blink", 1, 1.5), Step("compress", 60, 90)
    )
    ledger.tell(before=steps_of_bootstrap("system packages=8;Python packages=2"))
    assert said[0].startswith("made ready in 100 s")
    assert [line.split("█")[0].strip() for line in said[1:]] == [
        "system packages", "Python packages", "compile", "compress",
    ]  # fmt: skip
    assert [line.split()[-2] for line in said[1:]] == ["8.0", "2.0", "60.0", "30.0"]


def test_a_short_build_and_an_unchanged_one_are_not_told() -> None:
    ledger, said = ledger_of(Step("compile", 0, 5))
    ledger.tell(before=[Step("apt", -60, 0)])
    assert not said
    ledger.tell(least=timedelta(seconds=1))
    assert len(said) == 2
    empty, said = ledger_of()
    empty.tell(least=timedelta())
    assert not said


def test_the_bootstraps_words_are_read_however_they_look() -> None:
    assert steps_of_bootstrap("") == []
    assert steps_of_bootstrap("nonsense;=;a=b") == []
    assert steps_of_bootstrap("apt=3;pip=4") == [Step("apt", -7, -4), Step("pip", -4, 0)]
