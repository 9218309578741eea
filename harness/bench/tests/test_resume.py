"""What resuming takes is told by the timelines, and compared with the cold way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bench.command import remember
from harness.bench.measured import Boot, CommandRun
from harness.bench.resume import POINTS, rows_of, write_scenario
from harness.errors import BuildFailed
from harness.hook.images import known_images
from harness.host import history
from harness.scenario.resolve import load_items
from harness.timeline import Event

Told = tuple[float, str, dict[str, Any]]


def _boot(wall_s: float, *events: Told) -> Boot:
    command = CommandRun(
        status=0,
        began_s=0.0,
        wall_s=wall_s,
        sealed_peak_bytes=0,
        outer_peak_bytes=0,
        output="",
    )
    told = [
        Event(seq=number, t=t, source="x", name=name, fields=fields)
        for number, (t, name, fields) in enumerate(events, 1)
    ]
    return Boot(command=command, result={"outcome": "passed", "run_dir": "runs/x"}, events=told)


def _saved(t: float, point: str) -> Told:
    fields = {"point": point, "key": point, "duration_s": 1.5, "bytes": 120_000_000}
    return t, "checkpoint.saved", fields


_COLD = _boot(
    100.0, (0.5, "machine.powered_on", {}), *(_saved(20.0 + n, p) for n, p in enumerate(POINTS))
)


def _resumed(*after: Told) -> Boot:
    earlier: Told = (19.0, "registry.request.received", {})  # what the other run saw
    took: dict[str, Any] = {"saved_s": 39.9, "duration_s": 0.6}
    return _boot(25.0, earlier, (40.5, "lab.resumed", took), *after)


def test_a_guest_answers_with_its_first_request_after_the_resume() -> None:
    once = _resumed((40.6, "guest.dockerd.ready", {}), (40.7, "registry.request.received", {}))
    rows = rows_of(_COLD, {point: [once] for point in POINTS})
    tried = _resumed((40.6, "registry.tls.failed", {}), (40.7, "registry.request.received", {}))
    assert rows_of(_COLD, {"hook-up": [tried]})[1].figure == pytest.approx(0.7)
    by_name = {row.what: row for row in rows}
    assert by_name["cold to hook-up"].figure == pytest.approx(40.0)
    answered = by_name["resumed at hook-up, to a guest that answers"]
    assert answered.figure == pytest.approx(0.8)
    assert answered.is_met is True
    gains = [row for row in rows if row.what == "  cold / resumed"]
    assert [row.figure for row in gains] == pytest.approx([50.0] * 3)
    assert [row.is_met for row in gains] == [None, True, True]
    assert by_name["saving at ipxe"].is_met is True
    assert by_name["  size of the checkpoint"].figure == pytest.approx(120.0)
    assert by_name["  cold / from hook-up"].figure == pytest.approx(4.0)


def test_a_guest_that_never_answered_is_no_measurement() -> None:
    with pytest.raises(BuildFailed, match="asked no server"):
        rows_of(_COLD, {point: [_resumed()] for point in POINTS})


def test_a_cold_boot_is_not_taken_for_a_resumed_one() -> None:
    with pytest.raises(BuildFailed, match=r"lab\.resumed"):
        rows_of(_COLD, {point: [_COLD] for point in POINTS})


@pytest.mark.parametrize("start", ["auto", *POINTS])
def test_what_is_measured_is_hello_with_another_mac(start: str, tmp_path: Path) -> None:
    file = write_scenario(tmp_path, start=start, mac="52:54:00:0a:0b:0c")
    [item] = load_items(file, known_images=frozenset(known_images()))
    assert (item.firmware, item.start) == ("uefi", start)
    assert [nic.mac for nic in item.nics] == ["52:54:00:0a:0b:0c"]
    file = write_scenario(tmp_path, start=start, mac="52:54:00:0a:0b:0c", deadline_s=26.5)
    [given_up] = load_items(file, known_images=frozenset(known_images()))
    assert given_up == replace(item, deadline_s=26.5)


def test_a_point_at_which_nothing_was_saved_has_no_rows() -> None:
    once = _resumed((40.7, "registry.request.received", {}))
    rows = rows_of(_COLD, {"ipxe": [once], "worker-up": [once]})
    assert not [row for row in rows if "hook-up" in row.what]
    assert [row.what for row in rows if row.what.startswith("saving")] == [
        "saving at ipxe", "saving at worker-up"
    ]  # fmt: skip


def test_each_row_has_a_name_of_its_own_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a trend would mix what is measured at one point with what is measured at another."""
    monkeypatch.setenv("HOOKLAB_HISTORY", str(tmp_path))
    once = _resumed((40.7, "registry.request.received", {}))
    rows = rows_of(_COLD, {point: [once] for point in POINTS})
    remember({"resume": rows})
    names = [record["what"] for record in history.read("bench")]
    assert len(set(names)) == len(names) == len(rows)
    assert "saving at worker-up: size of the checkpoint" in names
