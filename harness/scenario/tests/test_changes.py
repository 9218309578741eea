"""``--set`` changes a scenario as a file with that base would."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.changes import COMMAND_LINE, parse_changes
from harness.scenario.command import load_all
from harness.scenario.item import Item
from harness.scenario.lock import write_lock
from harness.scenario.tests.samples import HELLO


def load(*words: str) -> list[Item]:
    return load_all([HELLO], changes=parse_changes(words))


def test_keys_below_keys_and_values_as_in_yaml() -> None:
    assert parse_changes(
        ["a.b=1", "a.c=[x, {y: null}]", "d=52:54:00:00:00:01", "kernel args.e=f=g", "a.b=2", "h="]
    ) == {
        "a": {"b": 2, "c": ["x", {"y": None}]},
        "d": "52:54:00:00:00:01",
        "kernel args": {"e": "f=g"},
        "h": "",
    }


def test_what_is_changed_and_what_is_not() -> None:
    [item] = load("worker=tink-agent@v0.25.0", "stack=smee", "machine.firmware=uefi")
    assert (item.worker.build, item.stack, item.firmware) == ("tink-agent@v0.25.0", "smee", "uefi")
    assert item.mac == "52:54:00:12:34:56"
    assert item.source == HELLO.absolute()


def test_a_key_can_be_left_out() -> None:
    """As ``twin: null`` in a file with a base."""
    slow = HELLO.parent / "disk" / "slow.yaml"
    assert len(load_all([slow])) == 2
    [item] = load_all([slow], changes=parse_changes(["twin=null"]))
    assert not item.variant.endswith("twin")


def test_a_file_is_relative_to_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = HELLO.parent / "../fixtures/templates/action-fails.yaml"
    (tmp_path / "mine.yaml").write_bytes(template.read_bytes())
    monkeypatch.chdir(tmp_path)
    items = load("template=mine.yaml", "expect=[{workflow: FAILED}]")
    assert "action-fails" in items[0].template_yaml


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("worker", "command line: --set worker: expected KEY=VALUE"),
        (".=x", "command line: --set .=x: expected KEY=VALUE"),
        ("stack=smea", "command line: stack: 'smea' is not known\n    did you mean 'smee'?"),
        ("machine=3", "command line: machine: expected a mapping, found 3"),
        ("stakc=smee", "command line: unknown key 'stakc'"),
        ("worker=./nowhere", "command line: worker: nowhere does not exist"),
        ("machine.disks=[", "command line: not YAML"),
    ],
)
def test_mistakes_are_on_the_command_line(word: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(word)
    assert str(caught.value).startswith(said)


def test_a_value_has_no_keys() -> None:
    with pytest.raises(ScenarioError, match="a is a value already"):
        parse_changes(["a=1", "a.b=2"])


def test_a_lock_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / "scenario.lock.yaml"
    write_lock(load()[0], lock)
    assert load_all([lock], changes={})
    with pytest.raises(ScenarioError, match="a locked scenario can't be changed"):
        load_all([lock], changes={"stack": "smee"})


def test_the_command_line_has_no_lines() -> None:
    assert str(COMMAND_LINE) == "command line"
