"""Medians, goals and ratios, and how they look."""

from __future__ import annotations

import pytest

from harness.bench.table import Row, ratio, render


def test_a_goal_is_judged_by_the_median() -> None:
    row = Row(what="boot", samples=(90.0, 70.0, 74.0), goal=75.0)
    assert row.median == 74.0
    assert row.is_met is True
    assert Row(what="boot", samples=(90.0, 76.0, 74.0), goal=75.0).is_met is False
    assert Row(what="boot", samples=(90.0,)).is_met is None


def test_where_the_best_counts_it_is_judged_divided_and_shown_with_its_cpu() -> None:
    ours = Row(what="ours", samples=(9.0, 1.0, 3.0), cpu=(0.5, 0.7), by="best", goal=1.0)
    theirs = Row(what="theirs", samples=(2.0, 8.0), cpu=(0.25, 0.3), by="best")
    assert (ours.figure, ours.is_met, ours.to_data()["best"]) == (1.0, True, 1.0)
    quotient = ratio("ours / theirs", ours, theirs, goal=0.4)
    assert (quotient.figure, quotient.cpu_figure, quotient.is_met) == (0.5, 2.0, False)
    first, *_ = render("Servers", [ours, theirs, quotient]).splitlines()[1:]
    assert first.split() == [
        *("ours", "1.00", "s", "CPU", "0.500", "s"),
        *("1.00–9.00,", "n=3", "goal", "≤", "1:", "met"),
    ]


def test_a_ratio_divides_medians() -> None:
    lab, hand = Row(what="lab", samples=(30.0, 10.0, 20.0)), Row(what="hand", samples=(40.0,))
    assert ratio("lab / hand", lab, hand, goal=1.0).median == pytest.approx(0.5)


def test_the_table_names_median_spread_goal_and_method() -> None:
    text = render(
        "Boots",
        [
            Row(what="cold", samples=(80.0, 81.0, 82.5), goal=75.0, how="power-on to done"),
            Row(what="memory", samples=(99.0,), unit="MB"),
        ],
    )
    title, cold, memory = text.splitlines()
    assert title == "Boots"
    words = " ".join(cold.split())
    assert words == "cold 81.00 s 80.00–82.50, n=3 goal ≤ 75: NOT MET power-on to done"
    assert memory.split() == ["memory", "99.00", "MB"]


def test_data_holds_every_sample() -> None:
    data = Row(what="cold", samples=(1.0, 2.0), goal=3.0).to_data()
    assert data["samples"] == [1.0, 2.0]
    assert (data["median"], data["met"]) == (1.5, True)
