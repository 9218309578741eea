"""The Range header."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.wire.http_range import Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "length", "expected"),
    [
        (None, 10, None),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=2-", 10, (2, 10)),
        ("bytes=2-99", 10, (2, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("Bytes = 1 - 2", 10, (1, 3)),
        ("bytes=5-4", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=-", 10, None),
        ("items=0-1", 10, None),
        ("bytes=" + "9" * 200 + "-", 10, None),
    ],
)
def test_ranges(header: str | None, length: int, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, length) == expected


@pytest.mark.parametrize(
    ("header", "length"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_unsatisfiable_ranges(header: str, length: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, length)


@given(st.text(max_size=40), st.integers(0, 1000))
def test_a_range_lies_within_the_content(text: str, length: int) -> None:
    for header in (text, f"bytes={text}"):
        with contextlib.suppress(Unsatisfiable):
            found = parse_range(header, length)
            assert found is None or 0 <= found[0] < found[1] <= length
