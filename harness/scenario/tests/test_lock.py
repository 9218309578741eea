"""scenario.lock.yaml holds all of an item, and is YAML for others too."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.errors import ScenarioError
from harness.scenario.item import LOCK_FORMAT, Item
from harness.scenario.lock import is_lock, read_lock, write_lock
from harness.scenario.tests.samples import HELLO, hello


def test_a_lock_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "scenario.lock.yaml"
    write_lock(hello(), file)
    assert read_lock(file) == hello()
    assert is_lock(file)
    assert f"./hooklab run {file}" in file.read_text()


@given(
    title=st.text(st.characters(exclude_categories=["Cs"])),
    yaml=st.text(st.sampled_from("ab :-#'\"\n\t|>{}[]&*!%@`é\x85\u2028")),
)
def test_any_text_survives_and_ruamel_agrees(
    title: str, yaml: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.lock.yaml"
    item = replace(hello_once(), title=title, template_yaml=yaml, workflow_yaml=yaml + "\n")
    write_lock(item, file)
    assert read_lock(file) == item
    other = YAML(typ="safe", pure=True).load(file)
    del other["locked"]
    assert Item.from_data(other) == item


_HELLO: list[Item] = []


def hello_once() -> Item:
    """Return hello, read once only: hypothesis asks often."""
    if not _HELLO:
        _HELLO.append(hello())
    return _HELLO[0]


def test_what_is_no_lock_is_refused(tmp_path: Path) -> None:
    assert not is_lock(HELLO)
    assert not is_lock(tmp_path / "none")
    with pytest.raises(ScenarioError, match="not a locked scenario"):
        read_lock(HELLO)
    future = tmp_path / "future.lock.yaml"
    future.write_text("locked: 99\nname: x\n")
    with pytest.raises(ScenarioError, match=r"lock.yaml:1:9: this lock is of another hooklab"):
        read_lock(future)
    short = tmp_path / "short.lock.yaml"
    short.write_text(f"locked: {LOCK_FORMAT}\nname: x\n")
    with pytest.raises(ScenarioError, match=r"short.lock.yaml:1:1: item: .*missing"):
        read_lock(short)


def test_reading_a_lock_needs_no_pydantic(tmp_path: Path) -> None:
    """The sealed child starts with it, on the clock."""
    file = tmp_path / "scenario.lock.yaml"
    write_lock(hello(), file)
    program = (
        "import sys; from pathlib import Path; from harness.scenario.lock import read_lock; "
        "read_lock(Path(sys.argv[1])); print('pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
