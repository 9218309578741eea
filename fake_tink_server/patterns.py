"""The patterns of a WorkflowRuleSet: which attributes of an agent they match.

Tinkerbell v0.25 matches with quamina; what its patterns mean was read in quamina's PATTERNS.md and
tried against that library. A pattern is a JSON object whose leaves are lists of alternatives; every
field has to match. Arrays in the attributes are not named in a path: a field matches when one
element does, and two fields of objects in one array match in the same object.

``regexp`` is refused: its dialect is quamina's own. So are an empty pattern and an empty list: they
match nothing, or are ignored there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.documents import Document, KeyPath, load, suggest
from harness.errors import Position, ScenarioError

Place = Callable[[int, int], Position]
Test = Callable[[Any], bool]

_SEPARATOR: Final = "\n"
"""Between the names of a path; as quamina sorts."""
_ALONE: Final = ("exists", "anything-but", "regexp")
"""Operators that are the only one of their field."""

Trail = tuple[tuple[int, int], ...]
"""Of each array around a value which one it is, and the element's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A value in an event that is neither object nor array."""

    path: str
    value: Any
    trail: Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    path: str
    test: Test | None
    """None: the event must not have the field."""
    at: KeyPath
    is_exists: bool = False
    """Whether the test is ``{"exists": true}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A pattern that was read."""

    text: str
    fields: tuple[_Field, ...]
    """Sorted by path."""

    def matches(self, event: Any) -> bool:
        """Return whether the pattern matches ``event``: data as ``json.loads`` returns it."""
        leaves = list(leaves_of(event))
        there = {leaf.path for leaf in leaves}
        if any(field.test is None and field.path in there for field in self.fields):
            return False
        wanted = [field for field in self.fields if field.test is not None]
        return _matched(wanted, leaves)


def leaves_of(event: Any) -> Iterator[Leaf]:
    """Yield the values of ``event`` with their paths."""
    arrays = iter(range(1, 1 << 30))

    def walk(value: Any, path: str, trail: Trail) -> Iterator[Leaf]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{path}{_SEPARATOR}{name}" if path else name, trail)
        elif isinstance(value, list):
            array = next(arrays)
            for number, inner in enumerate(value):
                yield from walk(inner, path, (*trail, (array, number)))
        else:
            yield Leaf(path=path, value=value, trail=trail)

    return walk(event, "", ())


def _matched(wanted: list[_Field], leaves: list[Leaf]) -> bool:
    """Whether each field finds a leaf; one and the next not in different elements of an array."""
    trails: set[Trail] = {()}
    for field in wanted:
        assert field.test is not None
        trails = {
            leaf.trail
            for leaf in leaves
            if leaf.path == field.path
            and field.test(leaf.value)
            and any(_together(trail, leaf.trail) for trail in trails)
        }
    return bool(trails)


def _together(one: Trail, other: Trail) -> bool:
    elements = dict(one)
    return all(elements.get(array, number) == number for array, number in other)


def read_pattern(text: str, *, place: Place | None = None) -> Pattern:
    """Return the pattern in ``text``. ``place`` maps its lines and columns, from 1, to positions.

    Raises ``ScenarioError`` for what is no pattern, and for what is not supported.
    """
    where: Place = place or (lambda line, column: Position(file=_FILE, line=line, column=column))
    try:
        json.loads(text)
    except RecursionError:
        raise ScenarioError("nested too deeply", at=where(1, 1)) from None
    except json.JSONDecodeError as error:
        at = where(error.lineno, error.colno)
        hint = 'like {"networkInterfaces": {"mac": [{"prefix": "52:54:00"}]}}'
        raise ScenarioError(f"not JSON: {error.msg}", at=at, hint=hint) from None
    document = load(text, file=_FILE, place=where)  # JSON is YAML, and YAML has positions here
    if not isinstance(document.data, dict):
        raise document.error("a pattern is a JSON object", hint='like {"bios": {"vendor": ["x"]}}')
    if not document.data:
        raise document.error("an empty pattern matches no agent at all")
    fields = sorted(_fields(document, document.data, ()), key=lambda field: field.path)
    _check_order(document, fields)
    return Pattern(text=text, fields=tuple(fields))


_FILE: Final = Path("<pattern>")


def _fields(document: Document, data: Any, path: KeyPath) -> Iterator[_Field]:
    for name, value in data.items():
        inner = (*path, name)
        if isinstance(value, dict):
            yield from _fields(document, value, inner)
        elif isinstance(value, list):
            yield _field(document, value, inner)
        else:
            shown = json.dumps(value)
            raise document.error(f"expected a list of alternatives, found {shown}", inner,
                                 hint=f"[{shown}]")  # fmt: skip


def _check_order(document: Document, fields: list[_Field]) -> None:
    """Refuse what quamina gets wrong: nothing but ``exists: false`` after an ``exists: true``."""
    last = max((n for n, field in enumerate(fields) if field.test is not None), default=None)
    if last is not None and fields[last].is_exists and fields[last + 1 :]:
        raise document.error(
            "quamina never matches this exists: false, as it comes right after an exists: true "
            "in the order of paths",
            fields[last + 1].at,
            hint='instead of {"exists": true} say {"wildcard": "*"}, or {"anything-but": [""]}',
        )


def _field(document: Document, alternatives: list[Any], path: KeyPath) -> _Field:
    name = _SEPARATOR.join(str(step) for step in path)
    if not alternatives:
        raise document.error("an empty list has no value that could match", path)
    tests: list[Test | None] = []
    for number, each in enumerate(alternatives):
        here = (*path, number)
        if isinstance(each, dict):
            tests.append(_operator(document, each, here, alone=len(alternatives) == 1))
        elif isinstance(each, list):
            raise document.error("a list in a list can't be matched", here)
        else:
            tests.append(_equals(each))
    if None in tests:
        return _Field(path=name, test=None, at=path)
    known = [test for test in tests if test is not None]
    return _Field(
        path=name,
        test=lambda value: any(test(value) for test in known),
        at=path,
        is_exists=alternatives == [{"exists": True}],
    )


def _operator(document: Document, data: Any, path: KeyPath, *, alone: bool) -> Test | None:
    """Return what ``{"prefix": "x"}`` tests; None for ``{"exists": false}``."""
    if len(data) != 1:
        hint = f"one of {', '.join(_OPERATORS)}"
        raise document.error("expected one operator in an object of its own", path, hint=hint)
    [(name, operand)] = data.items()
    here = (*path, name)
    if name == "regexp":
        raise document.error(
            "regexp is not supported: its dialect is quamina's own", here, key=True,
            hint="wildcard may do: * stands for any text",
        )  # fmt: skip
    if name not in _OPERATORS:
        message = f"unknown operator {name!r}"
        raise document.error(message, here, key=True, hint=suggest(name, _OPERATORS))
    if name in _ALONE and not alone:
        raise document.error(f"{name} can't be combined with other values", here, key=True)
    try:
        return _OPERATORS[name](operand)
    except ValueError as error:
        raise document.error(f"{name}: {error}", here) from None


def _equals(wanted: Any) -> Test:
    if isinstance(wanted, bool) or wanted is None:
        return lambda value: value is wanted
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    return lambda value: not isinstance(value, bool | str) and value == wanted


def _text(operand: Any) -> str:
    if not isinstance(operand, str):
        raise ValueError(f"expected text, found {json.dumps(operand)}")
    return operand


def _exists(operand: Any) -> Test | None:
    if not isinstance(operand, bool):
        raise ValueError(f"expected true or false, found {json.dumps(operand)}")
    return (lambda value: True) if operand else None


def _anything_but(operand: Any) -> Test:
    if not isinstance(operand, list) or not operand:
        raise ValueError("expected a list of texts")
    denied = {_text(each) for each in operand}
    return lambda value: not isinstance(value, str) or value not in denied


def _prefix(operand: Any) -> Test:
    begin = _text(operand)
    return lambda value: isinstance(value, str) and value.startswith(begin)


def _equals_ignore_case(operand: Any) -> Test:
    wanted = _folded(_text(operand))
    return lambda value: isinstance(value, str) and _folded(value) == wanted


def _folded(text: str) -> str:
    """Fold case character by character: what would become several stays as it is."""
    return "".join(each.casefold() if len(each.casefold()) == 1 else each for each in text)


def _shellstyle(operand: Any) -> Test:
    text = _text(operand)
    if "**" in text:
        raise ValueError("two * beside each other are not allowed")
    parts = re.split(r"(\*)", text)
    return _globbed(parts, [part == "*" for part in parts])


def _wildcard(operand: Any) -> Test:
    text = _text(operand)
    parts = re.findall(r"\\.|\*|[^\\*]+|\\$", text, re.S)
    for one, following in zip(parts, [*parts[1:], ""], strict=True):
        if one == following == "*":
            raise ValueError("two * beside each other are not allowed")
        if one[0] == "\\" and one not in (r"\\", r"\*"):
            raise ValueError(r"after \ comes * or \ only")
    return _globbed([part if part == "*" else re.sub(r"\\(.)", r"\1", part) for part in parts],
                    [part == "*" for part in parts])  # fmt: skip


def _globbed(parts: list[str], stars: list[bool]) -> Test:
    """Return a test for a text of ``parts``, of which ``stars`` stand for any text."""
    body = "".join(
        ".*" if star else re.escape(part) for part, star in zip(parts, stars, strict=True)
    )
    whole = re.compile(body, re.S)
    return lambda value: isinstance(value, str) and whole.fullmatch(value) is not None


_OPERATORS: Final[dict[str, Callable[[Any], Test | None]]] = {
    "exists": _exists,
    "anything-but": _anything_but,
    "prefix": _prefix,
    "wildcard": _wildcard,
    "shellstyle": _shellstyle,
    "equals-ignore-case": _equals_ignore_case,
}
