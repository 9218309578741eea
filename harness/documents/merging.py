"""Lay one document over another, each value still knowing the file it came from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from harness.documents.document import Document, _Node, _plain
from harness.errors import Position

_APART = 10_000_000
"""Added to the base's line numbers, so that one ``place`` can tell the two files apart."""


def merged(top: Document, base: Document) -> Document:
    """Return ``base`` with ``top`` laid over it.

    Where both have a mapping, the mappings merge; else ``top``'s value stands. A null in ``top``
    is a value like any other. Positions are those of the file a value came from.
    """

    def place(line: int, column: int) -> Position:
        if line > _APART:
            return base.place(line - _APART, column)
        return top.place(line, column)

    root = _overlay(top.root, _shifted(base.root))
    return Document(file=top.file, data=_plain(root), root=root, lines=top.lines, place=place)


def without(document: Document, keys: Collection[str]) -> Document:
    """Return ``document``, a mapping, without these keys at its top."""
    pairs = {name: pair for name, pair in document.root.pairs.items() if name not in keys}
    root = replace(document.root, pairs=pairs)
    return replace(document, data=_plain(root), root=root)


def _shifted(node: _Node) -> _Node:
    return replace(
        node,
        line=node.line + _APART,
        end_line=node.end_line + _APART,
        items=[_shifted(item) for item in node.items],
        pairs={name: (_shifted(key), _shifted(value)) for name, (key, value) in node.pairs.items()},
    )


def _overlay(top: _Node, base: _Node) -> _Node:
    if top.kind != "map" or base.kind != "map":
        return top
    pairs = dict(base.pairs)
    for name, (key, value) in top.pairs.items():
        below = pairs.get(name)
        pairs[name] = (key, _overlay(value, below[1]) if below else value)
    return replace(top, pairs=pairs)
