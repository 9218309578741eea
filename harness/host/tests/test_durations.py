"""The longest first, whatever the file of durations has been through."""

from __future__ import annotations

from pathlib import Path

from harness.host.durations import expected_durations, longest_first, record_duration


def test_the_last_runs_count_most(tmp_path: Path) -> None:
    for seconds in (100.0, 20.0, 20.0):
        record_duration("a", seconds, folder=tmp_path)
    record_duration("b", 50.0, folder=tmp_path)
    assert expected_durations(folder=tmp_path) == {"a": 40.0, "b": 50.0}


def test_the_longest_first_and_before_them_what_nobody_knows() -> None:
    expected = {"short": 1.0, "long": 9.0}
    items = ["short", "new", "long", "newer"]
    assert longest_first(items, expected, id_of=str) == ["new", "newer", "long", "short"]


def test_damage_costs_no_more_than_its_lines(tmp_path: Path) -> None:
    assert expected_durations(folder=tmp_path) == {}
    record_duration("a", 5.0, folder=tmp_path)
    with (tmp_path / "duration.jsonl").open("ab") as stream:
        stream.write(b'\xff\x00{"id": 3}\n{"id": "a", "seconds": "x"}\n{"id": "b", "sec')
    record_duration("c", 7.0, folder=tmp_path)
    assert expected_durations(folder=tmp_path) == {"a": 5.0, "c": 7.0}
    (tmp_path / "file").touch()
    record_duration("a", 1.0, folder=tmp_path / "file")  # no folder: not kept, and no error
