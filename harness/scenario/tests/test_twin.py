"""A twin: the same machine with the fix, one more boot that must pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario.changes import parse_changes
from harness.scenario.command import load_all
from harness.scenario.item import Item
from harness.scenario.tests.samples import HELLO

FAILS = f"""\
scenario: The registry is plain HTTP
report: F50, tinkerbell/hook#178
base: {HELLO}
machine: {{firmware: uefi}}
kernel args: {{insecure_registries: null}}
nightly: true
expect: [worker pulled: never]
verdict: {{failed in: worker-pull, blame: registry}}
"""
TWIN = """\
twin:
  kernel args: {insecure_registries: "{{ registry.address }}"}
"""


def load(tmp_path: Path, text: str, *words: str) -> list[Item]:
    file = tmp_path / "plain-http.yaml"
    file.write_text(text)
    return load_all([file], changes=parse_changes(words))


def test_a_twin_is_one_more_boot_that_passes(tmp_path: Path) -> None:
    fails, twin = load(tmp_path, FAILS + TWIN)
    assert (fails.id, twin.id) == ("plain-http[uefi]", "plain-http[uefi-twin]")
    assert fails.expected_verdict is not None
    assert twin.expected_verdict is None
    assert not any(arg.startswith("insecure_registries") for arg in fails.kernel_args)
    assert f"insecure_registries={twin.registry.address}" in twin.kernel_args
    assert twin.nightly
    assert twin.report == fails.report


def test_it_expects_what_the_base_expects(tmp_path: Path) -> None:
    [hello] = [item for item in load_all([HELLO]) if item.firmware == "uefi"]
    fails, twin = load(tmp_path, FAILS + TWIN)
    assert [each.text for each in fails.expectations] == ["worker pulled: 0"]
    assert [each.text for each in twin.expectations] == [each.text for each in hello.expectations]
    _, own = load(tmp_path, FAILS + TWIN + "  expect: [workflow: SUCCESS]\n")
    assert [each.text for each in own.expectations] == ["workflow: SUCCESS"]


def test_it_is_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "lower.yaml").write_text(FAILS + TWIN)
    items = load(tmp_path, "scenario: Mine\nbase: lower.yaml\nmachine: {memory: 3 GiB}\n")
    assert [item.variant for item in items] == ["uefi"]


def test_the_command_line_changes_both(tmp_path: Path) -> None:
    items = load(tmp_path, FAILS + TWIN, "machine.memory=3 GiB")
    assert [item.memory_mib for item in items] == [3072, 3072]


@pytest.mark.parametrize(
    ("twin", "said"),
    [
        ("twin: {verdict: passed}", "plain-http.yaml:9:8: a twin has no 'verdict' of its own"),
        ("twin:\n  machine: {colour: red}", "plain-http.yaml:10:13: unknown key 'colour'"),
        ("twin: [x]", "plain-http.yaml:9:7: twin: expected a mapping"),
    ],
)
def test_a_mistake_in_a_twin_is_shown_there(tmp_path: Path, twin: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, f"{FAILS}{twin}\n")
    assert said in str(caught.value)
