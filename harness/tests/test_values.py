"""Sizes, durations and MAC addresses as a scenario writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.values import format_size, parse_duration, parse_json, parse_mac, parse_size


@pytest.mark.parametrize(
    ("text", "octets"),
    [("2 GiB", 2 << 30), ("64MiB", 64 << 20), (512, 512), ("1.5 KiB", 1536), ("1 MB", 10**6)],
)
def test_sizes(text: object, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    "text", ["", "-1 MiB", "0", "1.5 B", "2 XiB", "GiB", True, [], "1 2", "9" * 400]
)
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected a (size|whole number)"):
        parse_size(text)


@given(st.integers(min_value=1, max_value=1 << 50))
def test_a_size_reads_back(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30 s", 30),
        ("5 min", 300),
        ("1.5h", 5400),
        (0, 0),
        ("2d", 172800),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "31", 30, "-3 s", "3 weeks", None, "1s 2s", "99999999999 d", "9" * 400 + " h"],
)
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


def test_an_offset_may_be_negative() -> None:
    assert parse_duration("-2 h", negative=True) == timedelta(hours=-2)


@given(st.binary(min_size=6, max_size=6), st.sampled_from(":-"))
def test_any_unicast_mac_is_taken_in_either_form(raw: bytes, mark: str) -> None:
    text = raw.hex(mark)
    if raw[0] & 1 or not any(raw):
        with pytest.raises(ValueError, match=r"group address|no address of a machine"):
            parse_mac(text)
    else:
        assert parse_mac(text.upper()) == raw.hex(":")


@pytest.mark.parametrize(
    "text", ["", "52:54:00:12:34", "52:54-00:12:34:56", "525400123456", 52, "52:54:00:12:34:5g"]
)
def test_no_mac(text: object) -> None:
    with pytest.raises(ValueError, match="six octets"):
        parse_mac(text)


@pytest.mark.parametrize("text", ["", "{", b"\xff", "9" * 5000, "[" * 200_000, '{"a":' * 200_000])
def test_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)
