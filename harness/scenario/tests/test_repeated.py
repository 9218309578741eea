"""The same boots again with other seeds: in which order, and how they are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import make_parser
from harness.phases import Party, Phase
from harness.scenario.repeated import comparison, with_seeds
from harness.scenario.runner import Outcome, RunResult
from harness.scenario.tests.samples import hello
from harness.verdict import Verdict
from harness.verdict.phases import PhaseTracker


def result(because: str, *, name: str = "a", seed: int = 0, blame: Party = Party.HTTP) -> RunResult:
    return RunResult(
        item=replace(hello(), name=name, seed=seed),
        outcome=Outcome.PASSED,
        verdict=Verdict(
            reached=Phase.IPXE, failed_in=Phase.IPXE, blame=blame, because=because
        ),
        tracker=PhaseTracker(), findings=(), differences=(), error=None, duration_s=1.0,
        run_dir=Path(), events=(),
    )  # fmt: skip


def test_each_item_goes_on_from_its_own_seed() -> None:
    one, other = replace(hello(), name="a", seed=7), replace(hello(), name="b")
    again = with_seeds([one, other], 3)
    assert [(item.name, item.seed) for item in again] == [
        *(("a", 7), ("a", 8), ("a", 9)),
        *(("b", 0), ("b", 1), ("b", 2)),
    ]
    assert with_seeds([one], 1) == [one]


def test_sentences_that_differ_in_numbers_are_the_same() -> None:
    told = comparison(
        [
            result("it answered 503, once"),
            result("it answered 503, 12 times", seed=1),
            result("nothing was heard for 90.5 s", name="longer"),
        ]
    )
    assert told.splitlines() == [
        "a [uefi]       2 × passed: in ipxe, by http: it answered 503, once",
        "longer [uefi]  1 × passed: in ipxe, by http: nothing was heard for 90.5 s",
    ]


def test_what_is_not_always_the_same_is_told_with_its_seeds() -> None:
    told = comparison(
        [
            result("it stalled", seed=3),
            result("it answered 503", seed=4),
            result("it stalled", seed=5),
            result("it stalled", seed=6, blame=Party.LINK),
        ]
    )
    assert told.splitlines() == [
        "a [uefi]  not always the same:",
        "  2 × passed: in ipxe, by http: it stalled (seed 3, 5)",
        "  1 × passed: in ipxe, by http: it answered 503 (seed 4)",
        "  1 × passed: in ipxe, by link: it stalled (seed 6)",
    ]


@pytest.mark.parametrize("word", ["0", "-1", "x", "1.5"])
def test_what_is_no_number_of_times_is_refused(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(["run", "x.yaml", "--repeat", word])
    assert ended.value.code == 2
    assert "expected a number above 0" in capsys.readouterr().err
