"""The reference page and ``hooklab faults`` say what the vocabulary says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.faults.page import PAGE, describe, page
from harness.faults.vocabulary import places


def test_the_page_is_as_the_code_says() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m harness.dev.faults"


@pytest.mark.parametrize("name", places())
def test_a_place_is_told_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", name]) == 0
    place = places()[name]
    text = capsys.readouterr().out
    assert text == describe(place) + "\n"
    for takes in place.deeds:
        assert takes.example in text


def test_the_overview_names_every_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in places())


def test_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "faults.json"
    assert main(["faults", "--json", str(file)]) == 0
    capsys.readouterr()
    data = json.loads(file.read_text(encoding="utf-8"))
    assert [one["place"] for one in data] == list(places())
    (dhcp,) = [one for one in data if one["place"] == "dhcp"]
    assert {one["name"] for one in dhcp["deeds"]} >= {"drop", "second server"}


def test_a_place_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "dchp"]) == 2
    assert "there is no place 'dchp'\n    did you mean 'dhcp'?" in capsys.readouterr().err
