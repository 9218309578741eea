"""One page about many runs, and what tells two apart."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.errors import LabError
from harness.report.command import report_command
from harness.report.differences import compare
from harness.report.index import find_runs, session_file, write_index
from harness.report.junit import write_junit
from harness.report.record import RunRecord, read_run
from harness.report.tests.folders import failed_boot, make_run
from harness.report.tests.test_html import Page
from harness.scenario.item import VerdictItem
from harness.scenario.tests.samples import Tape, good_boot, hello


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder of three runs: good, failed, failed as expected."""
    folder = tmp_path / "runs"
    make_run(folder / "a-0001", good_boot())
    make_run(folder / "b-0001", failed_boot())
    expected = VerdictItem(failed_in="workflow", blame="action", at="m.yaml:1:1")
    item = replace(
        hello(), name="f56", report="F56, a/b#1", expected_verdict=expected, expectations=()
    )
    make_run(folder / "c-0001", failed_boot(), item)
    return folder


def test_a_row_a_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_command([runs]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1].startswith("3 runs: 2 passed, 1 failed   ")
    assert "workflow, action: Action 'write' failed" in told
    page = Page((runs / "index.html").read_text())
    assert page.text("h1") == "3 runs: 2 passed, 1 failed"
    body = page.text()
    for words in ("F56, a/b#1", "failed as expected", "hello[uefi]", "66.4 s", "Seconds by phase"):
        assert words in body
    assert page.links[:3] == [f"{name}-0001/report.html" for name in "abc"]
    assert "What tells the two apart" not in body
    assert all((runs / link).is_file() for link in page.links[:3])


def test_two_runs_are_compared(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.html"
    report_command([runs / "a-0001", runs / "b-0001"], output=file)
    body = Page(file.read_text()).text()
    assert "What tells the two apart" in body
    assert "workflow 25.4 s 19.0 s -6.4 s" in body
    assert "a-0001 #53 52.000 s registry.request.received" in body
    assert "b-0001 nothing more" in body


def record(folder: Path, tape: Tape) -> RunRecord:
    """Return a run with that tape."""
    return read_run(make_run(folder, tape))


def test_runs_that_say_the_same_do_not_diverge(tmp_path: Path) -> None:
    slower = Tape()
    for event in good_boot().events:
        slower.add(event.t * 1.5, event.source, event.name, **event.fields)
    between = compare(record(tmp_path / "a", good_boot()), record(tmp_path / "b", slower))
    assert between.diverging is None
    assert next(phase.more_s for phase in between.phases) == pytest.approx(2.55, abs=0.01)


def test_asking_once_more_is_no_difference(tmp_path: Path) -> None:
    again = Tape()
    for event in good_boot().events:
        again.add(event.t, event.source, event.name, **event.fields)
        if event.name == "dhcp.discover.received":
            again.add(event.t + 0.1, event.source, event.name, **event.fields)
    between = compare(record(tmp_path / "a", good_boot()), record(tmp_path / "b", again))
    assert between.diverging is None


def test_the_first_event_that_only_one_has(tmp_path: Path) -> None:
    other = Tape()
    for event in good_boot().events:
        if event.name == "registry.manifest.served" and event.get("repository") == "tink-worker":
            path = "/v2/tink-worker/manifests/v0.12.2"
            other.add(event.t, "registry", "registry.request.failed", path=path, status=404)
            break
        other.add(event.t, event.source, event.name, **event.fields)
    between = compare(record(tmp_path / "a", good_boot()), record(tmp_path / "b", other))
    assert between.diverging is not None
    first, second, before = (
        between.diverging.first,
        between.diverging.second,
        between.diverging.before,
    )
    assert first is not None
    assert second is not None
    assert before is not None
    assert (first.name, second.name) == ("registry.manifest.served", "registry.request.failed")
    assert before.name == "registry.request.received"


def test_a_folder_that_can_not_be_read_has_a_row(runs: Path, tmp_path: Path) -> None:
    (runs / "b-0001" / "timeline.jsonl").write_text("nonsense\n{}\n")
    rows = write_index(find_runs([runs]), tmp_path / "i.html")
    assert [row.outcome for row in rows] == ["passed", "unreadable", "passed"]
    assert "timeline.jsonl:1: not an event" in rows[1].sentence
    verdict = {"failed_in": "worker-pull", "blame": "registry", "because": "it was slow"}
    (runs / "b-0001" / "verdict.json").write_text(json.dumps(verdict))
    row = write_index(find_runs([runs]), tmp_path / "i.html")[1]
    assert (row.phase, row.blame) == ("worker pull", "registry")
    assert row.sentence.startswith("it was slow (timeline.jsonl:1: ")


def test_a_fact_of_another_type_makes_one_row_and_no_dead_link(runs: Path, tmp_path: Path) -> None:
    spoiled = runs / "b-0001" / "timeline.jsonl"
    spoiled.write_text(re.sub(r'"status":\d+', '"status":"x"', spoiled.read_text()))
    (runs / "b-0001" / "report.html").unlink(missing_ok=True)
    rows = write_index(find_runs([runs]), tmp_path / "i.html")
    assert [row.outcome for row in rows] == ["passed", "unreadable", "passed"]
    assert "is it another hooklab's?" not in rows[1].sentence
    assert "timeline.jsonl can't be" in rows[1].sentence
    links = re.findall(r'href="([^"]*report.html)"', (tmp_path / "i.html").read_text())
    assert [(tmp_path / link).is_file() for link in links] == [True, True]


def test_one_long_run_does_not_make_dots_of_the_others(tmp_path: Path) -> None:
    usual = good_boot()
    slow = good_boot()
    slow.events = [replace(event, t=event.t * 20) for event in slow.events]
    folders = [make_run(tmp_path / f"a-{n:04}", usual) for n in range(10)]
    file = tmp_path / "index.html"
    write_index([*folders, make_run(tmp_path / "slow-0001", slow)], file)
    strips = file.read_text().split('<div class="strip')[1:]
    wide = [sum(float(w) for w in re.findall(r"width: ([\d.]+)%", strip)) for strip in strips]
    assert all(60 < one < 72 for one in wide[:10])
    assert [strip.startswith(" torn") for strip in strips] == [False] * 10 + [True]
    assert wide[10] > 1000  # cut off by the strip


def test_what_has_no_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is no run folder"):
        report_command([tmp_path])
    with pytest.raises(LabError, match="and has none"):
        report_command([tmp_path, tmp_path])


def test_sessions_are_numbered(tmp_path: Path) -> None:
    assert [session_file(tmp_path).name for _ in range(2)] == [
        "session-0001.html",
        "session-0002.html",
    ]


def test_junit_is_xml_wherever_a_scenario_lies(runs: Path, tmp_path: Path) -> None:
    class Timed(RunRecord):
        duration_s = 1.0

    run = read_run(runs / "a-0001")
    values = {key: getattr(run, key) for key in RunRecord.__slots__}
    values["item"] = replace(run.item, name="a\x1b", source=Path("b\udcff\x07/c d.yaml"))
    write_junit([Timed(**values)], tmp_path / "out.xml")
    [case] = ElementTree.parse(tmp_path / "out.xml").getroot().iter("testcase")
    assert (case.get("classname"), case.get("name")) == ("b\ufffd\ufffd/c d.yaml", "a\ufffd[uefi]")


def test_junit_has_the_same_sentence(runs: Path, tmp_path: Path) -> None:
    class Timed(RunRecord):
        duration_s = 61.0

    results = []
    for name in "abc":
        run = read_run(runs / f"{name}-0001")
        results.append(Timed(**{key: getattr(run, key) for key in RunRecord.__slots__}))
    write_junit(results, tmp_path / "out.xml")
    [suite] = ElementTree.parse(tmp_path / "out.xml").getroot()
    counted = [suite.get(key) for key in ("tests", "failures", "errors", "skipped", "time")]
    assert counted == ["3", "1", "0", "0", "183.000"]
    [failure] = suite.iter("failure")
    told = "failed in workflow: action 'write' failed: exit status 3 & <more> (blame: action)"
    assert failure.get("message") == told
    assert "nearest events:" in (failure.text or "")
    assert [case.get("name") for case in suite] == ["hello[uefi]", "hello[uefi]", "f56[uefi]"]
