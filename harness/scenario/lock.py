"""``scenario.lock.yaml``: an item on disk, enough to run it again."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, Final

from harness.errors import Position, ScenarioError
from harness.scenario.item import LOCK_FORMAT, Item

_HEADER: Final = """\
# Everything this run was made of. To run it again:
#   ./hooklab run {file}
"""
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*( [A-Za-z0-9_./@+-]+)*")
_LOCKED: Final = re.compile(rb"^locked:", re.MULTILINE)
_PAIR: Final = re.compile(r"\\(?:ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|.)")
_RESERVED: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def write_lock(item: Item, file: Path) -> None:
    """Write ``item`` to ``file``. Raises ``OSError``."""
    out = io.StringIO()
    out.write(_HEADER.format(file=file))
    _write(out, {"locked": LOCK_FORMAT, **item.to_data()}, 0)
    file.write_text(out.getvalue(), encoding="utf-8")


def read_lock(file: Path) -> Item:
    """Return the item in ``file``. Raises ``ScenarioError`` when it holds none."""
    from harness.documents import load

    document = load(file)
    data = document.data
    if not isinstance(data, dict) or "locked" not in data:
        raise ScenarioError("not a locked scenario", at=Position(file=file))
    if data.pop("locked") != LOCK_FORMAT:
        raise document.error(
            f"this lock is of another hooklab (its format is not {LOCK_FORMAT})",
            ("locked",),
            hint="run the scenario it was made from",
        )
    try:
        return Item.from_data(data)
    except ValueError as error:
        raise ScenarioError(str(error), at=Position(file=file)) from error


def is_lock(file: Path) -> bool:
    """Whether ``file`` is a locked scenario rather than one that a person wrote."""
    try:
        if file.is_fifo():  # what is read of a pipe here nobody can read again
            return False
        with file.open("rb") as stream:
            return bool(_LOCKED.search(stream.read(4096)))
    except OSError:
        return False


def _write(out: io.StringIO, value: Any, indent: int) -> None:
    """Write a non-empty mapping or list in block style, ``indent`` spaces deep."""
    pad = " " * indent
    pairs = value.items() if isinstance(value, dict) else ((None, part) for part in value)
    for key, part in pairs:
        head = f"{pad}-" if key is None else f"{pad}{_scalar(key)}:"
        if isinstance(part, dict | list) and part:
            out.write(f"{head}\n")
            _write(out, part, indent + 2)
        elif isinstance(part, dict | list):
            out.write(f"{head} {'{}' if isinstance(part, dict) else '[]'}\n")
        elif isinstance(part, str) and _fits_literal(part):
            lines = part[:-1].split("\n")
            text = "".join(f"{pad}  {line}\n" if line else "\n" for line in lines)
            out.write(f"{head} |\n{text}")
        else:
            out.write(f"{head} {_scalar(part)}\n")


def _fits_literal(text: str) -> bool:
    if not text.endswith("\n") or text.endswith("\n\n") or text[0] in " \n":
        return False
    return all(char == "\n" or (char.isprintable() and ord(char) < 0xFF) for char in text)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    # YAML has no surrogate pairs: what lies beyond the BMP is written as one escape
    return _PAIR.sub(_one_escape, json.dumps(value, ensure_ascii=True))


def _one_escape(match: re.Match[str]) -> str:
    escape = match[0]
    if len(escape) != len(r"\ud83d\ude00"):
        return escape
    character: str = json.loads(f'"{escape}"')
    return f"\\U{ord(character):08X}"
