"""What a phase usually takes: from runs of the same kind, robust against strays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.host.budgets import budget_of, budgets_of
from harness.report.remembered import code_version, record_of
from harness.scenario.tests.samples import Tape, good_boot, hello
from harness.tests.test_busy_host import busy
from harness.timeline import Event
from harness.verdict import how_busy, judge, track
from harness.verdict.durations import net_durations, own_durations

_HELLO = {"item": "hello[uefi]", "accel": "tcg", "profile": "faithful"}


def runs(seconds: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    """Return a record a duration of ``hook-boot``."""
    return [{**_HELLO, "outcome": "passed", "net": {"hook-boot": s}, **more} for s in seconds]


def test_a_budget_is_what_it_usually_takes() -> None:
    budget = budget_of([12.0, 13.0, 12.5, 14.0, 13.2])
    assert (budget["low_s"], budget["usual_s"], budget["high_s"]) == (12.0, 13.0, 14.0)
    assert 16 <= budget["most_s"] <= 18
    assert budget["runs"] == 5


def test_a_stray_does_not_widen_it() -> None:
    usual = [12.0 + 0.1 * n for n in range(20)]
    assert budget_of([*usual, 90.0])["most_s"] == pytest.approx(budget_of(usual)["most_s"], rel=0.1)


def test_only_runs_of_the_same_kind_count() -> None:
    records = [
        *runs([12, 13, 12, 13]),
        *runs([50, 50, 50, 50], item="other[uefi]"),
        *runs([2, 2, 2, 2], accel="kvm"),
        *runs([9, 9, 9, 9], profile="fast"),
        *runs([99, 99, 99, 99], outcome="failed"),
        *runs([1, 1, 1, 1], start="hook-up"),
        {"torn": True},
    ]
    found = budgets_of(records, item="hello[uefi]", accel="tcg", profile="faithful")
    assert found["cold"]["hook-boot"]["high_s"] == 13
    assert found["hook-up"]["hook-boot"]["high_s"] == 1
    assert found.keys() == {"cold", "hook-up"}


def test_too_few_runs_make_none_and_a_guess_is_asked_for() -> None:
    kind: dict[str, Any] = {"item": "hello[uefi]", "accel": "tcg", "profile": "faithful"}
    assert budgets_of(runs([12, 13, 12]), **kind) == {}
    guessed = budgets_of(runs([12, 13, 12]), **kind, guess=True, factor=2.0)["cold"]
    assert guessed["hook-boot"] == {
        "usual_s": 42.0, "low_s": 24.0, "high_s": 60.0, "most_s": 120.0, "runs": 0,
    }  # fmt: skip
    assert "workflow" not in guessed
    slow = budgets_of([], **kind, firmware="bios", guess=True)["cold"]["kernel-initramfs"]
    assert slow["high_s"] > 4 * guessed["kernel-initramfs"]["high_s"] / 2.0


def test_the_record_of_a_run() -> None:
    tape = busy(good_boot(), 20, 30, lost=0.5)
    verdict = judge(tape.events)
    record = record_of(
        hello(), tape.events, track(tape.events), verdict, outcome="passed", duration_s=70.0
    )
    assert record["item"] == "hello[uefi]"
    assert (record["start"], record["accel"], record["profile"]) == ("cold", "tcg", "faithful")
    assert record["phases"]["hook-boot"] - record["net"]["hook-boot"] == pytest.approx(5)
    assert record["stalled_s"] == pytest.approx(5)
    assert "failed_in" not in record


def test_what_a_resumed_run_did_not_do_itself_is_not_its() -> None:
    tape = good_boot()
    resumed = Event(seq=0, t=36.0, source="lab", name="lab.resumed", fields={"point": "hook-up"})
    events = Tape(sorted([*tape.events, resumed], key=lambda event: event.t)).events
    record = record_of(
        hello(), events, track(events), judge(events), outcome="passed", duration_s=30.0
    )
    assert record["start"] == "hook-up"
    assert set(record["phases"]) == {"worker-pull", "workflow"}
    # What it found under way it did from there on: docker was up at 35.9.
    assert record["phases"]["worker-pull"] == pytest.approx(42.0 - 36.0)


def test_what_held_up_another_run_is_not_told_of_a_resumed_one() -> None:
    before = busy(good_boot().until("guest.docker.started"), 5, 35, lost=0.9)
    before.add(36.0, "lab", "lab.resumed", point="hook-up")
    rest = good_boot().events[len(good_boot().until("guest.docker.started").events) :]
    events = [*before.events, *(replace(event, seq=100 + event.seq) for event in rest)]
    assert how_busy(events) is None
    assert net_durations(events, track(events)) == own_durations(events, track(events))


def test_the_code_has_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_version()
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert code_version() == "0.1.0"
