"""Read a scenario file: its base merged in, held against the models, every mistake positioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.documents import Document, KeyPath, load, merged, validate, without
from harness.errors import Position, ScenarioError
from harness.scenario.models import Scenario

_OF_THE_FAILURE: Final = frozenset({"expect", "verdict", "twin"})
"""What a file says of the boot that fails: its twin has it from the base, or says it itself."""

TWIN_LACKS: Final = frozenset({"base", "report", "twin", "verdict"})
"""Keys that only the scenario itself has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A scenario, and where everything in it is written."""

    file: Path
    """The file that was asked for."""
    scenario: Scenario
    document: Document
    """The file merged with its base; knows from which of them a value is."""
    twin: LoadedScenario | None = None
    """The same machine with the fix, which must pass."""

    def path(self, path: KeyPath) -> Path:
        """Return the file that the value at ``path`` names, relative to the file it is in.

        Raises ``ScenarioError`` for a home that is nobody's.
        """
        value: Any = self.document.data
        for step in path:
            value = value[step]
        try:
            return self.document.position(path).file.parent / Path(str(value)).expanduser()
        except RuntimeError:
            raise self.error(f"{value}: nobody knows where that home is", path) from None

    def error(
        self, message: str, path: KeyPath = (), *, key: bool = False, hint: str | None = None
    ) -> ScenarioError:
        """Return (not raise) an error that points at ``path``."""
        return self.document.error(message, path, key=key, hint=hint)


def load_scenario(
    file: Path, *, changes: Mapping[str, Any] | None = None, changed_by: Position | None = None
) -> LoadedScenario:
    """Return the scenario in ``file``.

    ``changes`` is merged over it as a file with that ``base`` would be; mistakes in it are shown
    at ``changed_by``. Raises ``ScenarioError`` or ``ScenarioErrors``.
    """
    own = load(file)

    def changed(document: Document) -> LoadedScenario:
        if changes:
            document = merged(_changes(changes, changed_by or Position(file=file)), document)
        scenario = validate(document, Scenario)
        return LoadedScenario(file=file, scenario=scenario, document=document)

    loaded = changed(_with_base(own, ()))
    if loaded.scenario.twin is None or not own.has(("twin",)):
        return loaded
    for key in own.data["twin"]:
        if key in TWIN_LACKS:
            hint = "a twin passes; name there only what mends the failure"
            raise own.error(f"a twin has no {key!r} of its own", ("twin", key), key=True, hint=hint)
    fixed = merged(own.at(("twin",)), _with_base(without(own, _OF_THE_FAILURE), ()))
    return replace(loaded, twin=changed(fixed))


def _changes(changes: Mapping[str, Any], at: Position) -> Document:
    import json

    text = json.dumps(changes, default=str)
    return load(text, file=at.file, place=lambda _line, _column: at)


def _with_base(document: Document, seen: tuple[Path, ...]) -> Document:
    if not isinstance(document.data, dict):
        raise document.error(
            "a scenario is a mapping", hint="it begins with 'scenario: what happens here'"
        )
    base = document.data.get("base")
    if base is None:
        return document
    if not isinstance(base, str):
        raise document.error(
            f"base: expected the name of a scenario file, found {base!r}", ("base",)
        )
    here = (*seen, document.file.resolve())
    file = document.file.parent / base
    if file.resolve() in here:
        raise document.error(f"base: {base} is based on this file", ("base",))
    if not file.is_file():
        raise document.error(
            f"base: there is no file {file}", ("base",), hint="the path is relative to this file"
        )
    # a base's twin mends the base's own failure, not this one
    return merged(document, without(_with_base(load(file), here), {"twin"}))
