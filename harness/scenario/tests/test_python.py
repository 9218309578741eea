"""A test function is found, called with the lab, and its assertion recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import SetupFailed
from harness.scenario.item import PythonItem
from harness.scenario.python import call_test, scenario
from harness.timeline import Timeline

TEST = """
from harness.scenario.python import scenario

@scenario("hello.yaml")
async def test_holds(lab):
    lab.seen.append("held")

@scenario("hello.yaml")
async def test_compares(lab):
    assert lab.pulls("tink-worker") == 1

@scenario("hello.yaml")
async def test_says(lab):
    assert not lab.seen, "something was seen"

@scenario("hello.yaml")
async def test_deeper(lab):
    deeper(lab)

def deeper(lab):
    assert lab.pulls("x") in (
        1, 3)

async def test_unmarked(lab):
    pass
"""


@dataclass
class Lab:
    """What the functions above touch."""

    timeline: Timeline
    seen: list[str]

    def pulls(self, _name: str) -> int:
        """Return a number that is wrong."""
        return 2


@pytest.fixture
def lab() -> Lab:
    """Return a lab of nothing."""
    return Lab(timeline=Timeline(None), seen=[])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with test functions."""
    file = tmp_path / "test_mine.py"
    file.write_text(TEST)
    return file


async def test_a_function_that_holds(lab: Lab, file: Path) -> None:
    await call_test(PythonItem(file=file, function="test_holds"), lab)
    assert lab.seen == ["held"]
    assert len(lab.timeline) == 0


@pytest.mark.parametrize(
    ("function", "line", "expected", "found"),
    [
        (
            "test_compares",
            10,
            "lab.pulls('tink-worker') == 1",
            "lab.pulls('tink-worker') is 2",
        ),
        ("test_says", 14, "not lab.seen", "something was seen"),
        ("test_deeper", 21, 'assert lab.pulls("x") in (', "it does not"),
    ],
)
async def test_an_assertion_is_recorded_with_its_line(
    function: str, line: int, expected: str, found: str, lab: Lab, file: Path
) -> None:
    lab.seen.append("x")
    with pytest.raises(AssertionError):
        await call_test(PythonItem(file=file, function=function), lab)
    [event] = lab.timeline
    assert (event.source, event.name) == ("test", "expectation.failed")
    assert event["expectation"] == f"{function} ({file}:{line}:1)"
    assert (event["expected"], event["found"]) == (expected, found)


@pytest.mark.parametrize("function", ["test_unmarked", "test_none"])
async def test_what_is_no_scenario_is_refused(function: str, lab: Lab, file: Path) -> None:
    with pytest.raises(SetupFailed, match=f"has no scenario {function}"):
        await call_test(PythonItem(file=file, function=function), lab)


async def test_a_file_that_is_not_there(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="there is no Python file"):
        await call_test(PythonItem(file=tmp_path / "x.py", function="test_x"), lab)


def test_a_point_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="acts_from='worker': expected one of ipxe, hook-up"):
        scenario("hello.yaml", acts_from="worker")  # type: ignore[arg-type]
