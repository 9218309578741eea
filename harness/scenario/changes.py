"""Changes to a scenario from the command line: ``--set machine.firmware=uefi``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from harness.documents import load
from harness.errors import Position, ScenarioError

COMMAND_LINE: Final = Position(file=Path("command line"), line=0, column=0)
"""Where mistakes in a change are; files that a change names are relative to the working folder."""


def parse_changes(words: Iterable[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` words as the mapping that is laid over a scenario.

    ``KEY`` is a path of keys with dots between, ``VALUE`` is YAML (``[bios, uefi]``, ``null``).
    A later word wins. Raises ``ScenarioError``.
    """
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        steps = key.strip().split(".")
        if not equals or not all(steps):
            raise ScenarioError(
                f"--set {word}: expected KEY=VALUE",
                at=COMMAND_LINE,
                hint="such as worker=tink-agent@v0.25.0 or machine.firmware=uefi",
            )
        target = changes
        for step in steps[:-1]:
            below = target.setdefault(step, {})
            if not isinstance(below, dict):
                raise ScenarioError(f"--set {word}: {step} is a value already", at=COMMAND_LINE)
            target = below
        target[steps[-1]] = _value(text)
    return changes


def _value(text: str) -> Any:
    if not text.strip():
        return ""
    if text.strip() in ("null", "~"):
        return None  # of a whole document it would mean that there is none
    return load(text, file=COMMAND_LINE.file, place=lambda _line, _column: COMMAND_LINE).data
