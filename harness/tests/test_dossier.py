"""A dossier is read back as it was written, and a broken one is as good as none."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dossier import FILE, FOLDER, Dossier, DossierItem, read_dossier


def test_it_is_read_back(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "registers.txt").write_text("RIP=0")
    item = DossierItem(
        name="registers", title="CPU registers", path="dossier/registers.txt", kind="text"
    )
    Dossier(taken_at=61.25, items=(item,)).write(tmp_path)
    assert read_dossier(tmp_path) == Dossier(taken_at=61.25, items=(item,))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"taken_at": 1, "items": [{}]}', '{"taken_at": "x", "items": []}']
)
def test_a_broken_one_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert read_dossier(tmp_path) is None


def test_files_elsewhere_are_left_out(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (tmp_path / "secret.txt").write_text("x")
    item = DossierItem(name="x", title="x", path="../secret.txt", kind="text")
    gone = DossierItem(name="y", title="y", path="dossier/y.txt", kind="text")
    Dossier(taken_at=1, items=(item, gone)).write(run_dir)
    found = read_dossier(run_dir)
    assert found is not None
    assert found.items == ()


def test_without_one_there_is_none(tmp_path: Path) -> None:
    assert read_dossier(tmp_path) is None
