"""``hooklab trend``: what is compared with what, filters, imports, and what it writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import ScenarioError
from harness.host import history as kept
from harness.paths import source_root
from harness.report.tests.folders import failed_boot, make_run
from harness.report.text import Style
from harness.scenario.tests.samples import good_boot
from harness.trend.page import page
from harness.trend.records import Wanted, parse_since, records_of
from harness.trend.series import MOST_POINTS, group_benchmarks, group_runs
from harness.trend.table import course, render, summary
from harness.trend.tests.samples import BEGAN, history


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a history of its own."""
    monkeypatch.setenv("HOOKLAB_HISTORY", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def remember(records: list[dict[str, Any]]) -> None:
    """Put records into the history."""
    for record in records:
        assert kept.append("run", record)


def test_only_what_began_the_same_way_is_compared() -> None:
    """A resumed run has no firmware, and a boot pulls less: neither is a gain of the other."""
    cold = history(14)
    resumed = history(12, start="hook-up", step={"workflow": 0.3}, seed=5)
    fast = history(6, profile="fast", step={"ipxe": 0.2}, seed=6)
    groups = group_runs([*cold, *resumed, *fast])
    assert [(g.kind.start, g.kind.profile, g.runs) for g in groups] == [
        ("cold", "faithful", 14),
        ("hook-up", "faithful", 12),
        ("cold", "fast", 6),
    ]
    assert all(one.shift is None for group in groups for one in group.shown)


def test_runs_that_went_wrong_are_counted_and_not_timed() -> None:
    records = [*history(5), *history(2, outcome="failed"), *history(1, outcome="host too slow")]
    [group] = group_runs(records)
    assert group.outcomes == {"passed": 5, "failed": 2, "host too slow": 1}
    assert len(group.series["ipxe"].points) == 5


def test_the_table() -> None:
    groups = group_runs(history(30, step={"hook-boot": 1.4}, step_at=22))
    text = render(groups, Style(colour=False))
    assert text.startswith("hello[uefi]   cold, tcg, faithful   30 runs: 30 passed\n")
    [line] = [line for line in text.splitlines() if line.startswith("  hook boot")]
    assert "slower: 1" in line
    assert "(× 1.39)" in line
    assert "since 5 Nov" in line or "since 6 Nov" in line
    assert summary(groups) == "30 runs of 1 scenario: 1 phase became slower"
    assert summary(group_runs(history(3))) == "3 runs of 1 scenario: none became slower"
    assert course([1, 1, 1]) == "▁▁▁"
    assert course([1, 2, 3]) == "▁▄█"


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(), True),
        (Wanted(scenario="hello"), True),
        (Wanted(scenario="hello[uefi]"), True),
        (Wanted(scenario="hel*[bios]"), False),
        (Wanted(scenario="h*[uefi]"), True),
        (Wanted(accel="kvm"), False),
        (Wanted(start="cold"), True),
        (Wanted(start="hook-up"), False),
        (Wanted(since=BEGAN), True),
        (Wanted(since=datetime(2027, 1, 1, tzinfo=UTC)), False),
    ],
)
def test_filters(wanted: Wanted, fits: bool) -> None:
    [record] = history(1)
    assert wanted.fits(record) is fits


def test_since() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert parse_since("7d", now=now) == datetime(2026, 11, 14, 12, tzinfo=UTC)
    assert parse_since("90 min", now=now) == datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
    assert parse_since("2026-11-20") == datetime(2026, 11, 20, tzinfo=UTC)
    with pytest.raises(ScenarioError, match="--since: 'yesterday' is no date"):
        parse_since("yesterday")


def test_what_is_remembered_is_shown(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remember(history(12))
    assert main(["trend", "--json", "trend.json", "--html", "trend.html"]) == 0
    out = capsys.readouterr().out
    assert "12 runs of 1 scenario: none became slower" in out
    assert "page   trend.html" in out
    [group] = json.loads(Path("trend.json").read_text())
    assert (group["item"], group["runs"], group["outcomes"]) == ("hello[uefi]", 12, {"passed": 12})
    names = [one["name"] for one in group["series"]]
    assert names[0] == "firmware-dhcp"
    assert names[-1] == "together"


def test_the_page_is_there_although_nobody_reads_the_table(cache: Path) -> None:
    remember(history(12))
    words = ["trend", "--json", "trend.json", "--html", "trend.html"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        subprocess.run(
            [sys.executable, "-P", "-m", "harness", *words],
            env={**os.environ, "PYTHONPATH": str(source_root())},
            stdout=closed,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    assert "hello[uefi]" in Path("trend.html").read_text()
    assert json.loads(Path("trend.json").read_text())


def test_a_regression_fails_when_that_is_asked_for(cache: Path) -> None:
    remember(history(16, step={"workflow": 1.5}, step_at=11))
    assert main(["trend"]) == 0
    assert main(["trend", "--fail-on-regression"]) == 1
    assert main(["trend", "--fail-on-regression", "--since", "2026-11-03T06:00"]) == 0  # all slow


def test_nothing_to_look_at(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trend"]) == 1
    assert "there is no run to look at" in capsys.readouterr().err
    assert main(["trend", "nowhere"]) == 2
    assert "is no run folder" in capsys.readouterr().err
    remember(history(2))
    assert main(["trend", "--scenario", "other"]) == 1


def test_run_folders_are_read(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Path("runs")
    for number in range(3):
        make_run(runs / f"hello-uefi-000{number}", good_boot())
    make_run(runs / "hello-uefi-0009", failed_boot())
    (make_run(runs / "broken", good_boot()) / "timeline.jsonl").write_text("no event\n{}\n")
    remember(history(12))  # is not looked at then
    records = records_of([runs], Wanted())
    assert sorted(record["outcome"] for record in records) == [
        "failed",
        "passed",
        "passed",
        "passed",
    ]
    assert main(["trend", "runs"]) == 0
    told = capsys.readouterr()
    assert "4 runs" in told.out
    assert "hooklab: left out: runs/broken/timeline.jsonl:1: not an event" in told.err


def test_benchmarks_are_series_as_well() -> None:
    records = [
        {"at": f"2026-11-0{n + 1}", "part": "resume", "what": "resume", "unit": "s", "figure": f}
        for n, f in enumerate([0.8, 0.82, 0.79, 0.81, 0.8, 1.6, 1.62, 1.61])
    ]
    more = [{**r, "what": "throughput", "unit": "/min", "better": "more"} for r in records]
    [group] = group_benchmarks([*records, *more, {"what": 3}])
    assert [one.name for one in group.regressions] == ["resume"]
    assert group.kind.how == ""
    assert "from " not in page([group], source="")[-9000:]
    assert group.series["throughput"].improved


class _Parsed(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "line", "rect", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_stands_alone() -> None:
    records = [
        *history(30, step={"hook-boot": 1.4}, step_at=22),
        *history(12, start="hook-up", seed=3),
        *history(6, item="a<b>[uefi]", seed=4),
    ]
    text = page(group_runs(records), source="what this host remembers")
    parsed = _Parsed()
    parsed.feed(text)
    assert parsed.open == []
    assert "script" not in parsed.tags
    assert parsed.tags.count("svg") == 3 * 8
    assert all(link.startswith("#") for link in parsed.links)
    told = "".join(parsed.words)
    assert "48 runs of 2 scenarios: 1 phase became slower" in told
    assert "a<b>[uefi]" in told
    assert text == page(group_runs(records), source="what this host remembers")


def test_a_page_about_next_to_nothing() -> None:
    for records in ([], history(1), history(3, outcome="failed")):
        assert "<h1>" in page(group_runs(records), source="")


@pytest.mark.parametrize(
    "odd",
    [
        {"stalled_s": "lots"},
        {"stalled_s": [1]},
        {"net": {"ipxe": float("nan")}},
        {"net": {"ipxe": float("inf")}},
        {"net": {"ipxe": 10**400, "hook-boot": "12"}},
        {"net": {"ipxe": 1e308, "hook-boot": 1e308}},
        {"net": {"ipxe": True}},
        {"net": {"ipxe": -5, "hook-boot": 0}},
        {"began": "0001-01-01T00:00:00+14:00"},
        {"code": ["x"], "accel": None},
    ],
)
@pytest.mark.parametrize("count", [1, 12])
def test_odd_records_are_no_tracebacks(odd: dict[str, Any], count: int) -> None:
    records = history(12)
    for record in records[:count]:
        record.update(odd)
    groups = group_runs(records)
    assert render(groups, Style(colour=False))
    assert page(groups, source="")
    assert "NaN" not in json.dumps([group.to_data() for group in groups])


def test_large_figures_are_readable_and_fit_the_axis() -> None:
    records = [
        {"at": f"2026-11-0{n + 1}", "part": "frames", "what": "frames", "unit": "/s", "figure": f}
        for n, f in enumerate([52_000, 53_000, 54_100, 52_500])
    ]
    groups = group_benchmarks(records)
    assert " 52,750 /s " in render(groups, Style(colour=False))
    ticks = re.findall(r'class="tick-y"[^>]*>([^<]*)<', page(groups, source=""))
    assert "52k" in ticks
    assert all(len(tick) <= 5 for tick in ticks), ticks


def test_figures_of_a_benchmark_that_are_none() -> None:
    for figure in (float("nan"), 10**400, True, "3"):
        assert group_benchmarks([{"what": "x", "figure": figure}] * 9) == []


def test_an_age_before_all_time_is_no_traceback() -> None:
    for text in ("99999999999d", "9" * 400 + "h"):
        assert parse_since(text) == datetime.min.replace(tzinfo=UTC)


def test_of_very_many_runs_the_latest_are_drawn() -> None:
    [group] = group_runs(history(MOST_POINTS + 40))
    assert group.runs == MOST_POINTS + 40
    assert group.timed == MOST_POINTS
    assert group.series["ipxe"].points[-1].at > group.series["ipxe"].points[0].at
