"""One document laid over another keeps every value's own file."""

from __future__ import annotations

from pathlib import Path

from harness.documents import load, merged


def test_mappings_merge_and_all_else_is_replaced() -> None:
    base = load("a: {x: 1, y: 2}\nlist: [1, 2]\nkept: 7\n", file=Path("base.yaml"))
    top = load("a: {y: null, z: 3}\nlist: [9]\n", file=Path("top.yaml"))
    both = merged(top, base)
    assert both.data == {"a": {"x": 1, "y": None, "z": 3}, "list": [9], "kept": 7}


def test_positions_name_the_file_a_value_came_from() -> None:
    lowest = load("deep: {er: 1}\n", file=Path("lowest.yaml"))
    base = load("a:\n  x: 1\n  y: 2\n", file=Path("base.yaml"))
    top = load("b: 1\na:\n  y: 3\n", file=Path("top.yaml"))
    both = merged(top, merged(base, lowest))
    assert str(both.position(("a", "x"))) == "base.yaml:2:6"
    assert str(both.position(("a", "y"))) == "top.yaml:3:6"
    assert str(both.position(("a", "y"), key=True)) == "top.yaml:3:3"
    assert str(both.position(("deep", "er"))) == "lowest.yaml:1:12"
    assert str(both.error("no", ("a", "x", "none"))) == "base.yaml:2:6: no"
