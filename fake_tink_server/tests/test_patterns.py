"""Patterns of rule sets. Every expectation about matching was asked of quamina itself once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server.patterns import read_pattern
from harness.errors import ScenarioError

AGENT: dict[str, Any] = {
    "cpu": {"totalCores": 4, "vendor": "GenuineIntel"},
    "networkInterfaces": [
        {"name": "eno1", "mac": "52:54:00:00:00:01", "caps": ["tx", "rx"]},
        {"name": "eno2", "mac": "52:54:00:00:00:02", "caps": []},
    ],
    "bios": {"vendor": "a*b\\c"},
    "ok": True,
    "none": None,
}
NIC = "networkInterfaces"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({"cpu": {"totalCores": [4]}}, True),
        ({"cpu": {"totalCores": [4.0, 8]}}, True),
        ({"cpu": {"totalCores": ["4"]}}, False),
        ({"cpu": {"vendor": ["GenuineIntel"], "totalCores": [2, 4]}}, True),
        ({"cpu": {"vendor": ["AuthenticAMD"], "totalCores": [2, 4]}}, False),
        ({"ok": [True]}, True),
        ({"ok": [1]}, False),
        ({"none": [None]}, True),
        ({"cpu": [{"exists": True}]}, False),  # leaves only
        ({NIC: {"mac": [{"prefix": "52:54:00"}]}}, True),
        ({NIC: {"mac": [{"prefix": ""}]}}, True),
        ({NIC: {"mac": [{"wildcard": "*:02"}]}}, True),
        ({NIC: {"mac": [{"shellstyle": "52:*:02"}]}}, True),
        ({NIC: {"mac": [{"wildcard": "52:*:03"}]}}, False),
        ({NIC: {"name": [{"equals-ignore-case": "ENO2"}]}}, True),
        ({NIC: {"name": ["eno1"], "mac": ["52:54:00:00:00:01"]}}, True),
        ({NIC: {"name": ["eno1"], "mac": ["52:54:00:00:00:02"]}}, False),  # one object
        ({NIC: {"name": ["eno1"], "caps": ["rx"]}}, True),
        ({NIC: {"name": ["eno2"], "caps": ["rx"]}}, False),
        ({NIC: {"name": [{"anything-but": ["eno1"]}]}}, True),
        ({NIC: {"name": [{"anything-but": ["eno1", "eno2"]}]}}, False),
        ({"cpu": {"totalCores": [{"anything-but": ["4"]}]}}, True),
        ({"cpu": {"totalCores": [{"exists": True}]}}, True),
        ({"cpu": {"cores": [{"exists": False}]}}, True),
        ({"cpu": {"cores": [{"exists": False}], "vendor": ["GenuineIntel"]}}, True),
        ({"bios": {"vendor": [{"wildcard": "a\\*b\\\\c"}]}}, True),
        ({"bios": {"vendor": [{"wildcard": "a\\*\\\\c"}]}}, False),
        ({"bios": {"vendor": [{"shellstyle": "a*c"}]}}, True),
    ],
)
def test_matching(pattern: dict[str, Any], matches: bool) -> None:
    assert read_pattern(json.dumps(pattern)).matches(AGENT) is matches


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "1:1: not JSON"),
        ('{"a": [1]', "1:10: not JSON"),
        ("[1]", "1:1: a pattern is a JSON object"),
        ("{}", "1:1: an empty pattern matches no agent"),
        ('{"a": "x"}', '1:7: expected a list of alternatives, found "x"\n    ["x"]'),
        ('{"a":\n {"b": 1}}', "2:8: expected a list of alternatives"),
        ('{"a": []}', "1:7: an empty list"),
        ('{"a": [[1]]}', "1:8: a list in a list"),
        ('{"a": [{"prefx": "x"}]}', "1:9: unknown operator 'prefx'\n    did you mean 'prefix'?"),
        ('{"a": [{"regexp": "x"}]}', "1:9: regexp is not supported"),
        ('{"a": [{"prefix": 1}]}', "1:19: prefix: expected text, found 1"),
        ('{"a": [{"exists": 1}]}', "1:19: exists: expected true or false"),
        ('{"a": [{"exists": true}, 1]}', "1:9: exists can't be combined"),
        ('{"a": [{"anything-but": "x"}]}', "1:25: anything-but: expected a list"),
        ('{"a": [{"wildcard": "a**b"}]}', "1:21: wildcard: two * beside each other"),
        ('{"a": [{"wildcard": "a\\\\b"}]}', "1:21: wildcard: after \\ comes"),
        ('{"a": [{"prefix": "x", "wildcard": "y"}]}', "1:8: expected one operator"),
        ('{"a": [{"exists": true}], "b": [{"exists": false}]}', "1:32: quamina never matches"),
        ('{"a": [1], "a": [2]}', "1:12: "),
        ('{"a": ' * 100_000, "1:1: nested too deeply"),
    ],
)
def test_what_is_refused_has_a_place(text: str, complaint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read_pattern(text)
    assert str(caught.value).startswith(f"<pattern>:{complaint}"), str(caught.value)


def test_many_arrays_do_not_multiply() -> None:
    names = [f"n{number}" for number in range(12)]
    pattern = read_pattern(json.dumps({name: ["x"] for name in [*names, "z"]}))
    assert not pattern.matches({name: ["x"] * 12 for name in names})  # 12 ** 12 ways to begin


@given(st.text(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["a", "b", "prefix", "exists", "wildcard", "anything-but"]), inner,
        max_size=3,
    ),
).map(json.dumps))  # fmt: skip
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        pattern = read_pattern(text)
    except ScenarioError:
        return
    assert pattern.matches({"a": 1, "b": ["x"]}) in (True, False)
