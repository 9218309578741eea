"""A YAML document: plain data, and the position of every node.

ruamel.yaml scans and parses; composing is done here, because a scenario wants more than plain
YAML gives: duplicate keys refused, MAC addresses and dates left as text (YAML 1.1 reads
``52:54:00:00:00:01`` as a number), no tags that run code, aliases that can't explode, and the
line and column of everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from harness.errors import Position, ScenarioError

KeyPath = tuple[str | int, ...]
"""Keys and list indexes from the root of a document to a value."""

Place = Callable[[int, int], Position]

MAX_BYTES: Final = 1 << 20
MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 64
_REMEMBERED: Final = 256
"""Texts whose nodes are kept: many scenarios are based on one, and share templates."""
_MOST_REMEMBERED: Final = 1 << 15
"""Of longer ones nothing is kept, in characters."""

_NULL: Final = re.compile(r"|~|null|Null|NULL")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]{1,40}|0x[0-9a-fA-F]{1,40}|0o[0-7]{1,40}")
_FLOAT: Final = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_TAG: Final = "tag:yaml.org,2002:"


class PlainText(str):
    """A scalar that YAML does not read as text, with the text it was written as."""

    value: Any
    """What YAML reads: int, float or bool."""

    def __new__(cls, text: str, value: Any) -> PlainText:
        made = super().__new__(cls, text)
        made.value = value
        return made


@dataclass(slots=True, kw_only=True)
class _Node:
    """One YAML node. Lines and columns count from 0, as ruamel's marks do."""

    line: int
    column: int
    end_line: int = 0
    kind: str
    """``scalar``, ``list`` or ``map``."""
    value: Any = None
    text: str = ""
    """A scalar as it was written, without quotes."""
    style: str | None = None
    items: list[_Node] = field(default_factory=list)
    pairs: dict[Any, tuple[_Node, _Node]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a YAML file."""

    file: Path
    data: Any
    """dict, list, str, int, float, bool or None; aliases are expanded."""
    root: _Node
    lines: tuple[str, ...]
    place: Place
    prefix: KeyPath = ()
    """Where this document stands within the file's document; for messages only."""

    def position(self, path: KeyPath = (), *, key: bool = False) -> Position:
        """Return where the value at ``path`` begins, or its key when ``key``.

        A path that does not exist gives the position of its nearest ancestor that does.
        """
        node, found_key = self.root, None
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            found_key, node = child
        chosen = found_key if key and found_key else node
        return self.place(chosen.line + 1, chosen.column + 1)

    def has(self, path: KeyPath) -> bool:
        """Return whether there is a value at ``path``."""
        return self._find(path) is not None

    def error(
        self, message: str, path: KeyPath = (), *, key: bool = False, hint: str | None = None
    ) -> ScenarioError:
        """Return (not raise) a ``ScenarioError`` that points at ``path``."""
        return ScenarioError(message, at=self.position(path, key=key), hint=hint)

    def textual(self) -> Document:
        """Return this document with numbers and booleans as ``PlainText``; null stays None.

        For what Go's yaml.v3 does: a field of type string takes ``8080`` or ``1.0`` as written.
        """
        return replace(self, data=_plain(self.root, textual=True))

    def at(self, path: KeyPath) -> Document:
        """Return the part of this document that stands at ``path``. Raises ``KeyError``."""
        node = self._find(path)
        if node is None:
            raise KeyError(path)
        return Document(
            file=self.file,
            data=_plain(node),
            root=node,
            lines=self.lines,
            place=self.place,
            prefix=self.prefix + path,
        )

    def inside(self, path: KeyPath, line: int, column: int = 1) -> Position:
        """Return the position of a line and column (from 1) *within* the text at ``path``.

        Exact for literal block scalars (``|``) and for text on one line; text that YAML folded
        gives the position where it begins.
        """
        node = self._find(path)
        if node is None or not isinstance(node.value, str):
            return self.position(path)
        if node.style == "|":
            text = node.value.split("\n")
            outer = node.line + line
            wanted = text[line - 1] if line <= len(text) else ""
            source = self.lines[outer] if outer < len(self.lines) else ""
            if not source.endswith(wanted):
                return self.position(path)
            indent = len(source) - len(wanted) if wanted else self._indent(node, text)
            return self.place(outer + 1, indent + column)
        if line == 1 and node.line == node.end_line and node.style != ">":
            return self.place(node.line + 1, node.column + bool(node.style) + column)
        return self.position(path)

    def embedded(self, path: KeyPath) -> Document:
        """Parse the text at ``path`` as YAML of its own, with positions in this file.

        Raises ``ScenarioError`` when it does not parse, holds no document or more than one.
        """
        node = self._find(path)
        text = node.value if node is not None else None
        if not isinstance(text, str):
            raise self.error("expected YAML text", path)
        return load(text, file=self.file, place=lambda line, col: self.inside(path, line, col))

    def _find(self, path: KeyPath) -> _Node | None:
        node = self.root
        for step in path:
            child = _child(node, step)
            if child is None:
                return None
            node = child[1]
        return node

    def _indent(self, node: _Node, text: list[str]) -> int:
        for number, wanted in enumerate(text, node.line + 1):
            if wanted and number < len(self.lines) and self.lines[number].endswith(wanted):
                return len(self.lines[number]) - len(wanted)
        return node.column


def load(source: Path | str, *, file: Path | None = None, place: Place | None = None) -> Document:
    """Read the one YAML document of ``source``: a path, or text (then ``file`` names it).

    ``place`` maps a line and column of the text to a position, for text that stands within
    another file. Raises ``ScenarioError`` for what is missing, too large or not YAML, for
    duplicate keys, and for no or several documents.
    """
    documents = load_all(source, file=file, place=place)
    if not documents:
        at = place(1, 1) if place else Position(file=_name(source, file))
        raise ScenarioError("there is nothing in here", at=at, hint="expected a YAML document")
    if len(documents) > 1:
        raise documents[1].error("a second document begins here", hint="expected one only")
    return documents[0]


def load_all(
    source: Path | str, *, file: Path | None = None, place: Place | None = None
) -> list[Document]:
    """Read every document of ``source``, empty ones left out. Raises as ``load`` does."""
    name = _name(source, file)
    where = place or (lambda line, column: Position(file=name, line=line, column=column))
    text = _read(source) if isinstance(source, Path) else source
    if len(text) > MAX_BYTES:
        raise ScenarioError(
            f"more than {MAX_BYTES // 1024} KiB of YAML", at=where(1, 1), hint="is it YAML at all?"
        )
    lines = tuple(line.removesuffix("\r") for line in text.split("\n"))
    documents = []
    for root in _nodes(text, where):
        if root.kind == "scalar" and root.value is None:
            continue
        data = _plain(root)
        documents.append(Document(file=name, data=data, root=root, lines=lines, place=where))
    return documents


def _nodes(text: str, where: Place) -> Iterable[_Node]:
    """Return the root of each document of ``text``. Nobody changes a node once it is made."""
    if len(text) > _MOST_REMEMBERED:
        return _Composer(text, where).documents()
    try:
        return _remembered(text)
    except ScenarioError:  # once more, for where it stands
        return _Composer(text, where).documents()


@lru_cache(maxsize=_REMEMBERED)
def _remembered(text: str) -> tuple[_Node, ...]:
    nowhere = Path()
    return tuple(_Composer(text, lambda line, _: Position(file=nowhere, line=line)).documents())


def _name(source: Path | str, file: Path | None) -> Path:
    return file or (source if isinstance(source, Path) else Path("<text>"))


def _read(path: Path) -> str:
    at = Position(file=path)
    try:
        # One that a shell made is open already; of any other the wait may have no end.
        if path.is_fifo() and not path.absolute().is_relative_to("/dev/fd"):
            raise ScenarioError("a pipe, and no file", at=at, hint="write it to a file first")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES * 4 + 1)
    except FileNotFoundError:
        raise ScenarioError("there is no such file", at=at, hint=_neighbours(path)) from None
    except OSError as error:
        raise ScenarioError(f"can't be read: {error.strerror}", at=at) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise ScenarioError(
            "not UTF-8 text",
            at=Position(file=path, line=line, column=column),
            hint="YAML files are UTF-8",
        ) from None


def _neighbours(path: Path) -> str | None:
    try:
        names = sorted(p.name for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml"})
    except OSError:
        return f"there is no folder {path.parent} either"
    return f"YAML files in {path.parent}: {', '.join(names[:12])}" if names else None


def _child(node: _Node, step: str | int) -> tuple[_Node | None, _Node] | None:
    if node.kind == "map":
        return node.pairs.get(step)
    if node.kind == "list" and isinstance(step, int) and -1 < step < len(node.items):
        return None, node.items[step]
    return None


def _plain(node: _Node, *, textual: bool = False) -> Any:
    if node.kind == "map":
        return {
            _scalar_data(key, textual): _plain(value, textual=textual)
            for key, value in node.pairs.values()
        }
    if node.kind == "list":
        return [_plain(item, textual=textual) for item in node.items]
    return _scalar_data(node, textual)


def _scalar_data(node: _Node, textual: bool) -> Any:
    if textual and node.value is not None and not isinstance(node.value, str):
        return PlainText(node.text, node.value)
    return node.value


class _Composer:
    """Builds nodes from ruamel's parse events."""

    def __init__(self, text: str, place: Place) -> None:
        self._text = text
        self._place = place
        self._anchors: dict[str, tuple[_Node, int]] = {}
        self._count = 0

    def documents(self) -> list[_Node]:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.reader import ReaderError

        roots: list[_Node] = []
        try:
            stream = iter(YAML(typ="safe", pure=True).parse(self._text))
            for event in stream:
                if type(event).__name__ == "DocumentStartEvent":
                    self._anchors.clear()
                    roots.append(self._compose(next(stream), stream, 0))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line, mark.column) if mark else (0, 0)
            message = f"not YAML: {error.problem or error.context}"
            raise self._error(message, line, column, hint=_yaml_hint(message)) from None
        except ReaderError as error:
            before = self._text[: error.position]
            column = len(before) - (before.rfind("\n") + 1)
            message = f"not YAML: the character {chr(error.character)!r} is not allowed"
            raise self._error(message, before.count("\n"), column) from None
        except (YAMLError, ValueError, IndexError, AttributeError, TypeError) as error:
            # ruamel's scanner trips over a few malformed inputs with plain Python errors
            raise self._error(f"not YAML: {error}", 0, 0) from None
        return roots

    def _error(
        self, message: str, line: int, column: int, hint: str | None = None
    ) -> ScenarioError:
        return ScenarioError(message, at=self._place(line + 1, column + 1), hint=hint)

    def _compose(self, event: Any, stream: Any, depth: int) -> _Node:
        line, column = event.start_mark.line, event.start_mark.column
        kind = type(event).__name__
        self._count += 1
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", line, column)
        if kind == "AliasEvent":
            return self._alias(event, line, column)
        first = self._count
        if kind == "ScalarEvent":
            value = self._scalar(event, line, column)
            node = _Node(
                line=line,
                column=column,
                end_line=event.end_mark.line,
                kind="scalar",
                value=value,
                text=event.value,
                style=event.style,
            )
        elif kind == "SequenceStartEvent":
            self._check_tag(event, ("seq",), line, column)
            node = _Node(line=line, column=column, kind="list")
            while type(item := next(stream)).__name__ != "SequenceEndEvent":
                node.items.append(self._compose(item, stream, depth + 1))
        else:
            self._check_tag(event, ("map",), line, column)
            node = _Node(line=line, column=column, kind="map")
            self._mapping(node, stream, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - first + 1)
        return node

    def _alias(self, event: Any, line: int, column: int) -> _Node:
        known = self._anchors.get(event.anchor)
        if known is None:
            raise self._error(f"there is no anchor &{event.anchor} before this", line, column)
        node, size = known
        self._count += size
        if self._count > MAX_NODES:
            raise self._error(f"aliases expand to more than {MAX_NODES} values", line, column)
        return node

    def _mapping(self, node: _Node, stream: Any, depth: int) -> None:
        merged: list[_Node] = []
        while type(event := next(stream)).__name__ != "MappingEndEvent":
            merging = getattr(event, "value", None) == "<<" and not event.style
            key = self._compose(event, stream, depth + 1)
            if key.kind != "scalar":
                raise self._error("a key must be a plain value", key.line, key.column)
            value = self._compose(next(stream), stream, depth + 1)
            if merging:
                merged += self._merged(value, key)
                continue
            earlier = node.pairs.get(key.value)
            if earlier is not None:
                first = self._place(earlier[0].line + 1, earlier[0].column + 1)
                raise self._error(
                    f"the key {key.value!r} is given twice",
                    key.line,
                    key.column,
                    hint=f"it was given at {first} already",
                )
            node.pairs[key.value] = (key, value)
        for other in merged:
            for name, pair in other.pairs.items():
                node.pairs.setdefault(name, pair)

    def _merged(self, value: _Node, key: _Node) -> Iterable[_Node]:
        sources = value.items if value.kind == "list" else [value]
        if any(source.kind != "map" for source in sources):
            raise self._error("'<<' merges mappings only", key.line, key.column)
        return sources

    def _check_tag(self, event: Any, allowed: tuple[str, ...], line: int, column: int) -> None:
        if event.tag not in (None, "!", *(_TAG + name for name in allowed)):
            tag = str(event.tag).replace(_TAG, "!!")
            raise self._error(f"the tag {tag} is not supported here", line, column)

    def _scalar(self, event: Any, line: int, column: int) -> Any:
        self._check_tag(event, ("str", "int", "float", "bool", "null"), line, column)
        text: str = event.value
        if event.tag in ("!", _TAG + "str") or (event.style and event.tag is None):
            return text
        if _NULL.fullmatch(text):
            value: Any = None
        elif _BOOL.fullmatch(text):
            value = text.lower() == "true"
        elif _INT.fullmatch(text):
            value = int(text, 16 if text[:2] == "0x" else 8 if text[:2] == "0o" else 10)
        elif _FLOAT.fullmatch(text):
            value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        else:
            value = text
        wanted = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if event.tag is not None and type(value) is not wanted[event.tag.removeprefix(_TAG)]:
            tag = event.tag.replace(_TAG, "!!")
            raise self._error(f"{text!r} is not what {tag} promises", line, column)
        return value


def _yaml_hint(message: str) -> str | None:
    if "'\\t'" in message:
        return "YAML is indented with spaces, not with tabs"
    if "mapping values are not allowed" in message:
        return "a value that holds ': ' needs quotes; or the line above is indented wrongly"
    if "stream end" in message or "end of stream" in message:
        return "a bracket or quote is not closed"
    return None
