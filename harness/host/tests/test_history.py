"""The history: safe with many writers, bounded, and whole after a torn line."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from harness.host import history


def _write_many(folder: Path, writer: int, times: int) -> None:
    for number in range(times):
        history.append("run", {"writer": writer, "number": number}, folder=folder)


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    assert list(history.read("run", folder=tmp_path)) == []
    assert history.append("run", {"item": "hello[uefi]", "phases": {"ipxe": 1.5}}, folder=tmp_path)
    assert history.append("run", {"item": "hello[bios]"}, folder=tmp_path)
    assert history.append("bench", {"what": "resume"}, folder=tmp_path)
    records = list(history.read("run", folder=tmp_path))
    assert [record["item"] for record in records] == ["hello[uefi]", "hello[bios]"]
    assert records[0]["phases"] == {"ipxe": 1.5}
    assert records[0]["at"].endswith("+00:00")


def test_many_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_many, args=(tmp_path, writer, 50)) for writer in range(4)
    ]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    assert [process.exitcode for process in writers] == [0] * 4
    records = list(history.read("run", folder=tmp_path))
    assert len(records) == 200
    for writer in range(4):
        numbers = [record["number"] for record in records if record["writer"] == writer]
        assert numbers == list(range(50))


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    history.append("run", {"number": 1}, folder=tmp_path)
    with history.file_of("run", tmp_path).open("ab") as stream:
        stream.write(b'{"number": 2, "pha')
    history.append("run", {"number": 3}, folder=tmp_path)
    assert [record["number"] for record in history.read("run", folder=tmp_path)] == [1, 3]


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 4096)
    for number in range(500):
        history.append("run", {"number": number}, folder=tmp_path)
        assert history.file_of("run", tmp_path).stat().st_size <= 4096
    numbers = [record["number"] for record in history.read("run", folder=tmp_path)]
    assert numbers == list(range(numbers[0], 500))
    assert len(numbers) > 20


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file is in the way")
    assert not history.append("run", {"number": 1}, folder=tmp_path / "history")
    assert list(history.read("run", folder=tmp_path / "history")) == []


def test_a_name_that_is_no_text_is_kept_as_it_is(tmp_path: Path) -> None:
    name = b"/runs/\xff".decode(errors="surrogateescape")
    assert history.append("run", {"run_dir": name}, folder=tmp_path)
    [record] = history.read("run", folder=tmp_path)
    assert record["run_dir"] == name
