"""Workflows with their state, as a file: what a server that starts again goes on with.

The file is JSON, replaced as a whole whenever something changed, so that a server that was killed
leaves the state of before or after a call. An older copy of it, put back, is a stale state.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fake_tink_server.workflow import Workflow
from harness.errors import Position, ScenarioError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@cache
def _format() -> TypeAdapter[list[Workflow]]:
    """Return how the file is written; made when there is one, as few servers have any."""
    from pydantic import TypeAdapter

    return TypeAdapter(list[Workflow])


def dump(workflows: Iterable[Workflow]) -> bytes:
    """Return ``workflows`` as JSON."""
    return _format().dump_json(list(workflows), indent=1) + b"\n"


def parse(data: bytes, file: Path) -> list[Workflow]:
    """Return the workflows that ``dump`` wrote. Raises ``ScenarioError``, which names ``file``."""
    from pydantic import ValidationError

    try:
        return _format().validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ScenarioError(
            f"this is no state of a server: {where + ': ' if where else ''}{first['msg']}",
            at=Position(file=file),
            hint="remove the file to begin anew",
        ) from None


def read(file: Path) -> list[Workflow]:
    """Return the workflows in ``file``; none when there is no such file. Raises as ``parse``."""
    try:
        return parse(file.read_bytes(), file)
    except FileNotFoundError:
        return []


def write(file: Path, workflows: Iterable[Workflow]) -> None:
    """Replace ``file``. Raises ``OSError``."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_bytes(dump(workflows))
    os.replace(fresh, file)  # noqa: PTH105 - of the same folder, so that it is atomic
