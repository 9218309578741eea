"""A small storm through the real services, and what its table says of good and bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.storm.command import percentile, storm, table
from harness.storm.plan import MOST_MACHINES, STEPS, StormPlan, StormResult, address_of, mac_of
from harness.timeline import named, read_timeline


@pytest.mark.service
async def test_every_machine_goes_the_whole_way_as_itself(tmp_path: Path) -> None:
    plan = StormPlan(machines=12, over_s=0.2, idle_s=1.0)
    result = await storm(plan, tmp_path)
    assert (result.finished, result.failed, result.errors) == (12, 0, [])
    events = read_timeline(tmp_path / "timeline.jsonl")
    macs = {mac_of(number) for number in range(12)}
    assert {event["mac"] for event in named(events, "dhcp.ack.sent")} == macs
    assert {event["mac"] for event in named(events, "http.script.served")} == macs
    manifests = named(events, "registry.manifest.served")
    assert len(manifests) == 12
    reports = named(events, "tink.action.reported")
    assert {event["worker_id"] for event in reports} == macs
    assert [len(result.seconds[step]) for step in STEPS[:-1]] == [12] * (len(STEPS) - 1)
    for step in STEPS:
        assert step in table(plan, result)


def test_addresses_and_macs_are_one_each() -> None:
    numbers = range(MOST_MACHINES)
    assert len({mac_of(number) for number in numbers}) == MOST_MACHINES
    addresses = {address_of(number) for number in numbers}
    assert len(addresses) == MOST_MACHINES
    assert all(1 <= int(octet) <= 254 for a in addresses for octet in (a.split(".")[3],))


def test_the_table_tells_of_failures() -> None:
    result = StormResult(
        finished=1,
        failed=1,
        wall_s=2.0,
        seconds={"firmware dhcp": [0.1, 0.3]},
        errors=["52:54:00:77:00:01: DISCOVER: no answer"],
    )
    text = table(StormPlan(machines=2, over_s=1.0), result)
    assert "1 of 2 machines finished" in text
    assert "1 failed" in text
    assert "DISCOVER: no answer" in text
    assert percentile([0.1], 99) == 0.1


@pytest.mark.parametrize("words", [["--machines", "0"], ["--machines", "99999"], ["--over", "-1"]])
def test_numbers_out_of_range_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["storm", *words]) == 2
    assert "takes" in capsys.readouterr().err
