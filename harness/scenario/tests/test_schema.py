"""The JSON Schema says what the models say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.documents import load
from harness.errors import ScenarioError
from harness.scenario.loader import load_scenario
from harness.scenario.schema import scenario_schema, schema_text
from harness.scenario.tests.samples import HELLO, ROOT
from harness.scenario.tests.test_bad_input import GOOD

VALIDATOR = jsonschema.Draft202012Validator(scenario_schema())
SCENARIOS = sorted(
    path for path in (ROOT / "scenarios").rglob("*.yaml") if "scenario:" in path.read_text()
)


def test_the_schema_is_one() -> None:
    VALIDATOR.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda path: path.name)
def test_every_scenario_here_is_valid(file: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(load(file).data)] == []


def test_a_scenario_with_a_base_may_leave_out_what_the_base_has() -> None:
    assert VALIDATOR.is_valid({"scenario": "x", "base": "hello.yaml", "machine": {"cpus": 2}})
    assert not VALIDATOR.is_valid({"scenario": "x", "machine": {"mac": "52:54:00:00:00:01"}})
    assert not VALIDATOR.is_valid({"scenario": "x", "template": "t", "machine": {"cpus": 2}})


@pytest.mark.parametrize(
    ("extra", "good"),
    [
        ("verdict: passed", True),
        ("verdict: {failed in: worker-pull, blame: registry}", True),
        ("verdict: {failed: worker-pull}", False),
        ("kernel args: {a: null, b: 1, c: x}", True),
        ("kernel args: {a: [x]}", False),
        ("expect: [worker pulled: once, disk vda: {text: X}, no event: guest.panicked]", True),
        ("expect: [{event: {name: dhcp.ack.sent, where: {stage: guest}, count: 2}}]", True),
        ("expect: [worker pulled: often]", False),
        ("expect: [disc vda: {text: X}]", False),
        ("expect: [{workflow: SUCCESS, console: x}]", False),
        ("expect: [event: dhcp.no.such]", False),
        ("deadline: 30 s", True),
        ("deadline: 0.5 s", True),
        ("deadline: soon", False),
        ("deadline: 0 s", False),
        ("deadline: 0.0 min", False),
        ("deadline: 0", False),
        ("ntp: {offset: -2 h}", True),
        ("surprise: 1", False),
        ("twin: {ntp: {offset: 0 s}, faults: [], kernel args: {a: null}}", True),
        ("twin: {machine: {colour: red}}", False),
        ("twin: {verdict: passed}", False),
        ("twin: 1", False),
    ],
)
def test_schema_and_models_agree(extra: str, good: bool, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD + extra + "\n")
    assert VALIDATOR.is_valid(load(file).data) == good
    try:
        load_scenario(file)
    except ScenarioError:
        accepted = False
    else:
        accepted = True
    # names of events are checked when a scenario is resolved, not by the models
    assert accepted == (good or "no.such" in extra)


def descriptions(node: Any, path: str = "") -> list[str]:
    """Return the paths of properties that have no description."""
    bare = []
    for name, part in node.get("properties", {}).items():
        if "description" not in part and "$ref" not in part:
            bare.append(f"{path}.{name}")
        bare += descriptions(part, f"{path}.{name}")
    for name, part in node.get("$defs", {}).items():
        bare += descriptions(part, name)
    return bare


def test_every_key_is_described() -> None:
    assert descriptions(scenario_schema()) == []


def test_keys_with_spaces_are_there() -> None:
    text = schema_text()
    for key in (
        "kernel args",
        "failed in",
        "worker pulled",
        "no event",
        "^disk ([vs]d[a-z]|nvme[0-9]n1)$",
    ):
        assert json.dumps(key) in text
    assert HELLO in SCENARIOS
