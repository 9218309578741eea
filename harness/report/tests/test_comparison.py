"""Which scenarios ended otherwise: from files, from folders, and what is no difference."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.report.record import read_run
from harness.report.tests.folders import failed_boot, make_run
from harness.scenario.tests.samples import good_boot

SILENT = {
    "failed_in": "firmware-dhcp",
    "blame": "dhcp",
    "because": "5 DISCOVERs in 12.3 s, no answer",
}


def outcomes(file: Path, *runs: tuple[str, str, dict[str, Any]]) -> str:
    file.write_text(
        json.dumps(
            [
                {
                    "scenario": name,
                    "outcome": outcome,
                    "verdict": {"reached": "firmware-dhcp", "because": "all is well", **verdict},
                }
                for name, outcome, verdict in runs
            ]
        )
    )
    return str(file)


def test_how_long_it_took_is_no_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = outcomes(tmp_path / "a", ("x", "passed", {}), ("y", "failed", SILENT))
    later = {**SILENT, "because": "5 DISCOVERs in 9 s, no answer"}
    after = outcomes(tmp_path / "b", ("y", "failed", later), ("x", "passed", {}))
    assert main(["diff", before, after]) == 0
    assert capsys.readouterr().out == "2 in both: 2 the same, 0 otherwise\n"


def test_how_often_something_happened_is_no_difference(tmp_path: Path) -> None:
    often = {**SILENT, "because": "the registry answered 503, 23 times, and docker left twice"}
    once = {**SILENT, "because": "the registry answered 503, 24 times, and docker left once"}
    other = {**SILENT, "because": "the registry answered 504, 24 times, and docker left once"}
    before = outcomes(tmp_path / "a", ("x", "failed", often))
    assert main(["diff", before, outcomes(tmp_path / "b", ("x", "failed", once))]) == 0
    assert main(["diff", before, outcomes(tmp_path / "c", ("x", "failed", other))]) == 1


def test_when_it_was_is_no_difference(tmp_path: Path) -> None:
    says = "expired: current time {} is after 2026-11-21T10:58:23+01:00"
    one = {**SILENT, "because": says.format("2026-11-22T10:59:24Z")}
    two = {**SILENT, "because": says.format("2026-11-22T10:37:30.5Z")}
    before = outcomes(tmp_path / "a", ("x", "failed", one))
    assert main(["diff", before, outcomes(tmp_path / "b", ("x", "failed", two))]) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("failed_in", "ipxe"),
        ("blame", "link"),
        ("blame", None),
        ("because", "4 DISCOVERs in 12.3 s, no answer"),
    ],
)
def test_another_verdict_is_told_with_both_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: str | None
) -> None:
    before = outcomes(tmp_path / "a", ("x", "failed", SILENT))
    after = outcomes(tmp_path / "b", ("x", "failed", {**SILENT, key: value}))
    assert main(["diff", before, after]) == 1
    name, was, is_now, count = capsys.readouterr().out.splitlines()
    assert (name, count) == ("x", "1 in both: 0 the same, 1 otherwise")
    assert was == ("  - failed: failed in firmware-dhcp, blame dhcp: 5 DISCOVERs in … s, no answer")
    assert is_now.startswith("  + failed: failed in ")
    assert is_now[4:] != was[4:]


def test_another_outcome_of_the_same_verdict_is_a_difference(tmp_path: Path) -> None:
    before = outcomes(tmp_path / "a", ("x", "passed", SILENT))
    after = outcomes(tmp_path / "b", ("x", "failed", SILENT))
    assert main(["diff", before, after]) == 1


def test_one_of_several_runs_that_ended_otherwise_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = outcomes(tmp_path / "a", *[("x", "passed", {})] * 5)
    after = outcomes(tmp_path / "b", *[("x", "passed", {})] * 4, ("x", "failed", SILENT))
    assert main(["diff", before, after]) == 1
    assert [line[:3] for line in capsys.readouterr().out.splitlines()[1:-1]] == ["  +"]
    assert main(["diff", before, before]) == 0


def test_what_ran_only_once_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = outcomes(tmp_path / "a", ("x", "passed", {}), ("gone", "passed", {}))
    after = outcomes(tmp_path / "b", ("x", "passed", {}), ("new", "passed", {}))
    assert main(["diff", before, after]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "- gone only here",
        "+ new only here",
        "1 in both: 1 the same, 0 otherwise; 2 in one of them only",
    ]


def test_run_folders_and_a_file_of_the_same_runs_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good" / "a-0001", tmp_path / "bad" / "a-0001"
    make_run(good, good_boot())
    make_run(bad, failed_boot())
    verdict = read_run(good).verdict.to_data()
    told = outcomes(tmp_path / "told", ("hello[uefi]", "passed", verdict))
    assert main(["diff", str(tmp_path / "good"), told]) == 0
    assert main(["diff", str(good), str(bad)]) == 1
    assert "blame action" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[1]", '[{"scenario": "x"}]', "\x80", "[" * 200_000]
)
def test_another_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "a").write_text(text, encoding="latin-1")
    assert main(["diff", str(tmp_path / "a"), str(tmp_path / "a")]) == 2
    assert "does not hold the outcomes of runs" in capsys.readouterr().err
    assert main(["diff", str(tmp_path / "nothing"), str(tmp_path / "a")]) == 2
    assert "there is no " in capsys.readouterr().err


def test_what_another_program_writes_into_a_pipe_is_read(tmp_path: Path) -> None:
    told = Path(outcomes(tmp_path / "told", ("x", "passed", {})))
    read_end, write_end = os.pipe()
    os.write(write_end, told.read_bytes())
    os.close(write_end)
    try:
        assert main(["diff", str(told), f"/dev/fd/{read_end}"]) == 0
    finally:
        os.close(read_end)


@pytest.mark.parametrize("verb", ["report", "trend", "diff"])
@pytest.mark.parametrize("what", ["nothing", "no JSON", "too deep", "no time", "another kind"])
def test_a_folder_that_holds_no_run_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, what: str
) -> None:
    """Not 1, which says that something differs, or became slower."""
    run = make_run(tmp_path / "a-0001", good_boot())
    timeline = run / "timeline.jsonl"
    lines = timeline.read_text().splitlines()
    match what:
        case "nothing":
            timeline.unlink()
        case "no JSON":
            timeline.write_text("nonsense\n{}\n")
        case "too deep":
            timeline.write_text("[" * 200_000 + "\n{}\n")
        case "no time":
            timeline.write_text(lines[0] + '\n{"seq":2,"t":NaN,"source":"x","name":"y"}\n{}\n')
        case _:
            events = [json.loads(line) for line in lines]
            told = [{**each, "fields": {key: [] for key in each["fields"]}} for each in events]
            timeline.write_text("".join(json.dumps(each) + "\n" for each in told))
    assert main([verb, str(run), *([str(run)] if verb == "diff" else [])]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_console_that_is_no_file_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a-0001", good_boot())
    (run / "serial-ttyS1.log").mkdir()
    os.mkfifo(run / "serial-ttyS2.log")
    assert [console.name for console in read_run(run).consoles] == ["ttyS0"]
