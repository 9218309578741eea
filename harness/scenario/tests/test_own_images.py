"""A scenario's own images: every form is taken, mistakes are named where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.item import ImageItem, Item
from harness.scenario.resolve import load_items
from harness.scenario.tests.samples import HELLO, IMAGES


def load(folder: Path, images: str) -> list[Item]:
    scenario = folder / "own.yaml"
    scenario.write_text(f"scenario: with images\nbase: {HELLO}\nimages:\n{images}")
    return load_items(scenario, known_images=IMAGES)


def test_every_form_is_taken(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "go.mod").write_text("module tool\n")
    (tmp_path / "program").write_bytes(b"\x7fELF")
    (tmp_path / "saved.tar").write_bytes(b"")
    items = load(tmp_path, "  tool:v1: tool\n  a/program: program\n  saved:v2: saved.tar\n")
    assert items[0].images == (
        ImageItem(reference="tool:v1", layout=tmp_path / "tool"),
        ImageItem(reference="a/program:latest", layout=tmp_path / "program"),
        ImageItem(reference="saved:v2", layout=tmp_path / "saved.tar"),
    )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("  a:v1: nowhere\n", r"own\.yaml:4:\d+: images: can't read .*nowhere"),
        ("  a:v1: own.yaml\n", r"own\.yaml:4:\d+: images: .*own\.yaml is no image"),
        ("  A:v1: .\n", r"own\.yaml:4:\d+: images: 'A:v1' is no image reference"),
    ],
)
def test_mistakes_are_named_where_they_stand(tmp_path: Path, images: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load(tmp_path, images)
