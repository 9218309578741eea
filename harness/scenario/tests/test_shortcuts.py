"""Shortcuts: what a profile takes, what a scenario switches, what it must not lose."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.paths import source_root
from harness.scenario.item import Item
from harness.scenario.resolve import load_items
from harness.scenario.shortcuts import SHORTCUTS, page

ALL = tuple(shortcut.name for shortcut in SHORTCUTS)


def item_of(tmp_path: Path, more: str) -> Item:
    file = tmp_path / "own.yaml"
    file.write_text(
        "scenario: A boot\n"
        "machine: {mac: '52:54:00:12:34:56', firmware: bios}\n"
        "expect: [{event: dhcp.ack.sent}]\n" + more
    )
    [item] = load_items(file, known_images=["tink-worker:v0.12.2"])
    return item


def test_faithful_answers_routers_and_fast_takes_all(tmp_path: Path) -> None:
    assert item_of(tmp_path, "").shortcuts == ("answered routers",)
    item = item_of(tmp_path, "profile: fast\n")
    assert item.shortcuts == ALL
    assert not item.shortcuts_left_out


@pytest.mark.parametrize("name", ALL)
def test_each_is_switched_by_itself(tmp_path: Path, name: str) -> None:
    item = item_of(tmp_path, f"profile: fast\nshortcuts: {{{name}: false}}\n")
    assert item.shortcuts == tuple(other for other in ALL if other != name)
    item = item_of(tmp_path, f"shortcuts: {{answered routers: false, {name}: true}}\n".replace(
        "answered routers: false, answered routers", "answered routers"
    ))  # fmt: skip
    assert item.shortcuts == (name,)


def test_what_a_fault_strikes_is_not_skipped(tmp_path: Path) -> None:
    lost = "faults: [{at: tftp, when: {opcode: DATA}, do: drop}]\n"
    item = item_of(tmp_path, "profile: fast\n" + lost)
    assert "script at once" not in item.shortcuts
    assert "large blocks" not in item.shortcuts
    assert "no proxy wait" in item.shortcuts
    assert item.shortcuts_left_out == (
        "shortcut 'script at once' is left out: a fault is at tftp",
        "shortcut 'large blocks' is left out: a fault is at tftp",
    )
    with pytest.raises(ScenarioError, match=r"own\.yaml:4:27: .*'large blocks' can't be taken"):
        item_of(tmp_path, "shortcuts: {large blocks: true}\n" + lost)


def test_a_proxy_is_waited_for_where_one_answers(tmp_path: Path) -> None:
    item = item_of(tmp_path, "profile: fast\ndhcp: {mode: proxy}\n")
    assert "no proxy wait" not in item.shortcuts
    assert item.shortcuts_left_out == (
        "shortcut 'no proxy wait' is left out: a proxy is what this scenario boots by",
    )


def test_the_ipxe_whose_tls_is_tested_is_the_one_that_boots(tmp_path: Path) -> None:
    item = item_of(tmp_path, "profile: fast\nhttp: {scheme: https}\n")
    assert item.shortcuts == tuple(name for name in ALL if name != "script at once")


def test_frames_that_a_fault_strikes_are_still_sent(tmp_path: Path) -> None:
    lost = "faults: [{at: wire, when: {protocol: udp}, do: drop}]\n"
    item = item_of(tmp_path, "profile: fast\n" + lost)
    assert item.shortcuts == ("answered routers", "agent answered")


def test_another_name_is_no_shortcut(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="shortcuts"):
        item_of(tmp_path, "shortcuts: {no tests: true}\n")


def test_the_page_lists_what_there_is() -> None:
    written = (source_root() / "harness" / "scenario" / "SHORTCUTS.md").read_text()
    assert written == page()
