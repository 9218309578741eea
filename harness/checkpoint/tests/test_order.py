"""Who makes a checkpoint goes before those who wait for it."""

from __future__ import annotations

from dataclasses import replace

from harness.checkpoint.order import makers_first
from harness.scenario.item import Item
from harness.scenario.tests.samples import hello


def order(*items: Item) -> list[str]:
    return [item.name for item in makers_first(items, item_of=lambda item: item)]


def test_relatives_come_last_and_the_order_stays_otherwise() -> None:
    first = hello()
    told = replace(first, name="told otherwise", kernel_args=(*first.kernel_args, "quiet"))
    task = replace(first, name="another task", template_yaml="{}", expectations=())
    slower = replace(told, name="more of that", deadline_s=1.0)
    bios = replace(first, name="bios", firmware="bios")
    assert order(first, task, told, slower, bios) == [
        "hello", "told otherwise", "bios", "another task", "more of that"
    ]  # fmt: skip


def test_who_begins_cold_waits_for_nobody() -> None:
    first = hello()
    cold = replace(first, name="cold", start="cold")
    early = replace(first, name="early", start="ipxe")
    again = replace(early, name="early again")
    assert order(first, cold, early, again) == ["hello", "cold", "early", "early again"]


def test_what_is_no_scenario_stays_where_it_is() -> None:
    known = {"a": hello(), "b": hello()}
    assert makers_first(["a", "x", "b", "y"], item_of=known.get) == ["a", "x", "y", "b"]
