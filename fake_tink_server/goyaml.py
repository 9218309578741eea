"""``toYaml`` and ``fromYaml`` as sigs.k8s.io/yaml does them, by way of JSON and YAML 1.1.

What can't be said with certainty is refused: text that needs a style of its own, plain words that
YAML 1.1 and 1.2 read differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cmp_to_key
from pathlib import Path
from typing import Any, Final

from fake_tink_server.govalues import CallFailed, GoStruct, go_type
from harness.errors import ScenarioError

_CASES: Final = (str.lower, str.upper, str.capitalize)
_TRUE: Final = frozenset(case(word) for word in ("y", "yes", "on", "true") for case in _CASES)
_FALSE: Final = frozenset(case(word) for word in ("n", "no", "off", "false") for case in _CASES)
_WORDS: Final = _TRUE | _FALSE | {"", "~", "null", "Null", "NULL", "<<"}
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT: Final = re.compile(r"[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|[0-9]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASE60: Final = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_DATE: Final = re.compile(r"[0-9]{4}-")
_LONGEST: Final = 60
"""Go folds lines near the 80th column."""
_EXACT: Final = 2**53


def to_yaml(value: Any) -> str:
    """Return ``value`` as YAML without the last line's end. Raises ``CallFailed``."""
    return "\n".join(_lines(value)).removesuffix("\n")


def from_yaml(text: str) -> Any:
    """Return what ``text`` holds; numbers become floats, as JSON's in Go. Raises ``CallFailed``."""
    from harness.documents import load

    if not text:
        raise CallFailed("fromYaml: empty YAML input")
    if all(not line or line.lstrip(" ").startswith("#") for line in text.split("\n")):
        return None
    try:
        root = load(text, file=Path("fromYaml")).root
    except ScenarioError as error:
        raise CallFailed(f"fromYaml: {error.message}") from None
    return _read(root)


def _read(node: Any) -> Any:
    if node.kind == "list":
        return [_read(item) for item in node.items]
    if node.kind == "map":
        return {_key(key): _read(value) for key, value in node.pairs.values()}
    if node.style:
        return node.text
    text = node.text
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?", text):
        return float(text)
    if _is_no_text(text) or _DATE.match(text):
        raise CallFailed(f"fromYaml: the plain word {text} is not supported; quote it")
    return text


def _key(node: Any) -> str:
    if not node.style and (node.text in _WORDS or _is_no_text(node.text)):
        raise CallFailed(f"fromYaml: the key {node.text} is not supported; quote it")
    return str(node.text)


def _is_no_text(text: str) -> bool:
    """Whether YAML 1.1 reads ``text`` as something else, as Go's decoder does it."""
    bare = text.replace("_", "")
    return bool(
        text in _WORDS
        or _SPECIAL_FLOAT.fullmatch(text)
        or _INT.fullmatch(bare)
        or _FLOAT.fullmatch(bare)
        or _BASE60.fullmatch(text)
    )


def _lines(value: Any) -> list[str]:
    if isinstance(value, GoStruct):
        raise CallFailed(f"toYaml: a {value.type} is not supported; .hardware is, in v0.25.0")
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list):
        return _sequence(value)
    return _scalar(value)


def _mapping(value: Mapping[str, Any]) -> list[str]:
    out: list[str] = []
    for key in sorted(value, key=cmp_to_key(_compare)):
        name = _text(key)
        if len(name) != 1 or len(name[0]) > _LONGEST:
            raise CallFailed("toYaml: a key of several lines is not supported")
        item, lines = value[key], _lines(value[key])
        if isinstance(item, Mapping) and item:
            out += [f"{name[0]}:", *(f"  {line}" for line in lines)]
        elif isinstance(item, list) and item:
            out += [f"{name[0]}:", *lines]  # not indented: Go's "compact" style
        else:
            out += [f"{name[0]}: {lines[0]}", *lines[1:]]
    return out or ["{}"]


def _sequence(value: list[Any]) -> list[str]:
    out: list[str] = []
    for item in value:
        lines = _lines(item)
        scalar = not isinstance(item, list | Mapping)
        out += [f"- {lines[0]}", *(lines[1:] if scalar else _indented(lines[1:]))]
    return out or ["[]"]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _scalar(value: Any) -> list[str]:
    match value:
        case None:
            return ["null"]
        case bool():
            return ["true" if value else "false"]
        case int():
            return [str(value)]
        case float() if value.is_integer() and abs(value) < _EXACT:
            return [str(int(value))]
        case float() if 1e-4 <= abs(value) < 1e6:
            return [repr(value)]
        case str():
            return _text(value)
    raise CallFailed(f"toYaml: this {go_type(value)} is not supported")


def _text(text: str) -> list[str]:
    if "\n" in text:
        return _literal(text)
    if _DATE.match(text):
        raise CallFailed("toYaml: text that may be a date is not supported")
    if not text.isprintable() or not all(ord(c) < 0x7F or 0xA0 <= ord(c) < 0xD800 for c in text):
        raise CallFailed("toYaml: text with unprintable characters is not supported")
    if len(text) > _LONGEST and " " in text:
        raise CallFailed("toYaml: long lines, which Go folds, are not supported")
    if _is_no_text(text):
        return ['"' + text + '"']
    return [text] if _is_plain(text) else ["'" + text.replace("'", "''") + "'"]


def _is_plain(text: str) -> bool:
    if text != text.strip(" ") or text.startswith(("---", "...")):
        return False
    if text[0] in "#,[]{}&*!|>'\"%@`":
        return False
    if text[0] in "-?:" and (len(text) == 1 or text[1] == " "):
        return False
    return ": " not in text and " #" not in text and not text.endswith(":")


def _literal(text: str) -> list[str]:
    body = text.removesuffix("\n")
    lines = body.split("\n")
    known = all(line.isprintable() and not line.endswith(" ") for line in lines)
    if not known or not lines[-1] or lines[0][:1] in ("", " "):
        raise CallFailed("toYaml: such text of several lines is not supported")
    return ["|" if text.endswith("\n") else "|-", *(f"  {line}" if line else "" for line in lines)]


def _compare(one: str, other: str) -> int:
    """Order keys as Go does: numbers in them by value, and letters after what is none."""
    if one == other:
        return 0
    return -1 if _before(one, other) else 1


def _before(one: str, other: str) -> bool:
    digits = False
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            digits = a.isdigit()
            continue
        if a.isalpha() and b.isalpha():
            return a < b
        if a.isalpha() or b.isalpha():
            return a.isalpha() if digits else b.isalpha()
        return _number_before(one, other, at)
    return len(one) < len(other)


def _number_before(one: str, other: str, at: int) -> bool:
    lead = ""
    if "0" in (one[at], other[at]):
        run = re.search(r"[0-9]*$", one[:at])
        lead = "1" if run and run[0].strip("0") else ""
    mine, its = (re.match(r"[0-9]*", text[at:]) for text in (one, other))
    a, b = (match[0] if match else "" for match in (mine, its))
    first, second = int(f"{lead}{a}" or "0"), int(f"{lead}{b}" or "0")
    if first != second:
        return first < second
    return len(a) < len(b) if len(a) != len(b) else one[at] < other[at]
