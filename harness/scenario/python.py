"""Scenarios in Python: a scenario file, and a test function that drives its lab.

::

    from harness.scenario.python import scenario

    @scenario("hello.yaml", firmware="uefi")
    async def test_one_pull(lab):
        await lab.machine.power_on()
        await lab.wait_for_workflow("SUCCESS")
        assert lab.registry.pulls("tink-worker") == 1

The function's body runs inside the sealed process; pytest, outside, only collects it.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from harness.errors import Position, SetupFailed
from harness.scenario.item import PointName, PythonItem

if TYPE_CHECKING:
    from harness.timeline import Timeline

_ATTRIBUTE = "__hooklab_scenario__"
_POINTS: Final[tuple[str, ...]] = get_args(PointName)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What ``@scenario`` says about a test function."""

    file: Path
    """The scenario file."""
    at: Position
    """Where the function is declared."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What is laid over the file, as by a scenario with that ``base``."""
    python: PythonItem


def scenario(
    file: str,
    /,
    *,
    firmware: str | list[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    acts_from: PointName | None = None,
) -> Callable[[F], F]:
    """Make an ``async def test_…(lab)`` drive the lab of the scenario in ``file``.

    ``file`` is relative to the test's own; ``firmware`` and ``changes`` (keys as in YAML) are laid
    over it. The scenario's own ``expect`` holds as well.

    A run begins at power-on, because nobody knows what the function does. One that only powers
    the machine on and waits until it comes to a point says so with ``acts_from``: the run may begin
    there, at a checkpoint, as one of a scenario file does. ``power_on`` does nothing then, and
    events of before are on the timeline. Raises ``ValueError`` for a point that there is not.
    """
    if acts_from not in (None, *_POINTS):
        raise ValueError(f"acts_from={acts_from!r}: expected one of {', '.join(_POINTS)}")

    def mark(function: F) -> F:
        source = Path(inspect.getsourcefile(function) or "").absolute()
        laid_over = dict(changes or {})
        if firmware is not None:
            laid_over["machine"] = {**laid_over.get("machine", {}), "firmware": firmware}
        declaration = Declaration(
            file=source.parent / file,
            at=Position(file=source, line=inspect.unwrap(function).__code__.co_firstlineno),
            changes=laid_over,
            python=PythonItem(file=source, function=function.__name__, acts_from=acts_from),
        )
        setattr(function, _ATTRIBUTE, declaration)
        return function

    return mark


def find_declaration(candidate: object) -> Declaration | None:
    """Return what ``@scenario`` said about ``candidate``, None when it said nothing."""
    found = getattr(candidate, "__dict__", {}).get(_ATTRIBUTE)
    return found if isinstance(found, Declaration) else None


async def call_test(python: PythonItem, lab: Any) -> None:
    """Import the test's module and await its function with ``lab``.

    An assertion that does not hold is recorded as ``expectation.failed`` and raised on. Raises
    ``SetupFailed`` when the function is not there.
    """
    module = _load(python.file)
    function = getattr(module, python.function, None)
    if function is None or find_declaration(function) is None:
        raise SetupFailed(f"{python.file} has no scenario {python.function}")
    try:
        await function(lab)
    except AssertionError as error:
        _record(lab.timeline, python, error)
        raise


def _load(file: Path) -> ModuleType:
    name = f"hooklab_scenarios.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise SetupFailed(f"there is no Python file {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _record(timeline: Timeline, python: PythonItem, error: AssertionError) -> None:
    """Record the assertion, with the line of the test it stands on."""
    frames = [
        (frame, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if Path(frame.f_code.co_filename) == python.file
    ]
    place, expected, found = str(python.file), "the test's assertion to hold", ""
    if frames:
        frame, number = frames[-1]
        place = f"{python.file}:{number}:1"
        expected, found = _explained(frame, number)
    timeline.record(
        "test",
        "expectation.failed",
        expectation=f"{python.function} ({place})",
        expected=expected,
        found=str(error) or found or "it does not",
    )


def _explained(frame: FrameType, number: int) -> tuple[str, str]:
    """Return the assertion's source, and the value of its left side when that can be had again.

    Only an expression without ``await`` is evaluated once more; whatever it raises is no matter.
    """
    source = linecache.getline(frame.f_code.co_filename, number).strip()
    try:
        statement = ast.parse(source).body[0]
    except (SyntaxError, IndexError):
        return source, ""
    if not isinstance(statement, ast.Assert):
        return source, ""
    shown = ast.unparse(statement.test)
    if not isinstance(statement.test, ast.Compare):
        return shown, ""
    left = statement.test.left
    if any(isinstance(node, ast.Await | ast.Yield | ast.NamedExpr) for node in ast.walk(left)):
        return shown, ""
    try:
        code = compile(ast.Expression(left), "<assertion>", "eval")
        value = eval(code, frame.f_globals, dict(frame.f_locals))
    except Exception:
        return shown, ""
    return shown, f"{ast.unparse(left)} is {value!r}"
