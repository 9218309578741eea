"""What a checkpoint tells of a machine, and what it asks of a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.checkpoint.store import Saved
from harness.lab_checkpoints import CheckpointRefused, _copy_head, _story
from harness.lab_resumption import Resumption, lacks_memory
from harness.timeline import Event, Timeline

MEMINFO = "MemTotal:       24629020 kB\nMemAvailable:    2097152 kB\n"


def resumption(folder: Path, **meta: Any) -> Resumption:
    class Fake:
        key = "hook-up-1"

    fake: Any = Fake()
    fake.folder = folder
    fake.meta = {"point": "hook-up", "memory_bytes": 500 << 20, **meta}
    return Resumption(cast(Saved, fake))


def _event(seq: int, name: str, t: float | None = None, **fields: Any) -> Event:
    return Event(seq=seq, t=float(seq) if t is None else t, source="x", name=name, fields=fields)


TOLD = [
    _event(1, "run.started"),
    _event(2, "service.started"),
    _event(3, "tink.workflow.changed"),
    _event(4, "machine.powered_on", pid=5),
    _event(5, "qmp.event.seen", event="RESUME"),
    _event(6, "qmp.event.seen", event="NIC_RX_FILTER_CHANGED"),
    _event(7, "host.stalled"),
    _event(8, "checkpoint.saved"),
    _event(9, "qmp.event.seen", event="STOP"),
    _event(10, "qmp.event.seen", event="MIGRATION"),
    _event(11, "dhcp.ack.sent"),
]


def test_a_checkpoint_has_what_the_machine_did_and_nothing_of_the_other_lab() -> None:
    assert [event.seq for event in _story(TOLD)] == [4, 6, 11]


def test_a_resumed_run_tells_how_its_lab_came_up_and_then_what_was_saved(tmp_path: Path) -> None:
    with (tmp_path / "timeline.jsonl").open("w") as file:
        file.writelines(event.to_json() + "\n" for event in _story(TOLD))
    here = [
        _event(1, "run.started", 0.1),
        _event(2, "tink.workflow.changed", 9.0, state="here"),
        _event(3, "qmp.event.seen", 9.5, event="MIGRATION"),
    ]
    told = resumption(tmp_path).events(here, pid=77)
    assert [(event.name, event.t) for event in told] == [
        ("run.started", 0.1),
        ("tink.workflow.changed", 4.0),
        ("machine.powered_on", 4.0),
        ("qmp.event.seen", 6.0),
        ("dhcp.ack.sent", 11.0),
    ]
    late = [_event(1, "run.started", 50.0), *here[1:]]  # on a slow host, and told already
    assert resumption(tmp_path).events(late, pid=77, written=1)[:2] == [late[0], told[1]]
    assert told[1]["state"] == "here"
    assert told[2]["pid"] == 77
    timeline = Timeline(None)
    timeline.hold()
    timeline.replace(told)
    assert [event.seq for event in timeline.events] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("harm", ["gone", "torn", "empty"])
def test_a_story_that_cannot_be_read_is_refused(tmp_path: Path, harm: str) -> None:
    if harm == "torn":
        (tmp_path / "timeline.jsonl").write_text("{\n{}\n")
    elif harm == "empty":
        (tmp_path / "timeline.jsonl").touch()
    with pytest.raises(CheckpointRefused, match="timeline"):
        resumption(tmp_path).events([], pid=1)


def test_a_host_with_less_memory_than_the_machine_has_is_told() -> None:
    assert lacks_memory({"memory_bytes": 500 << 20}, MEMINFO) is None
    reason = lacks_memory({"memory_bytes": 3000 << 20}, MEMINFO)
    assert reason == "its machine needs 3128 MiB at once, and the host has 2048 MiB"


def test_files_are_copied_as_far_as_they_went(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (9 << 20) + b"later")
    _copy_head(tmp_path / "a", tmp_path / "b", 9 << 20)
    assert (tmp_path / "b").read_bytes() == b"x" * (9 << 20)
