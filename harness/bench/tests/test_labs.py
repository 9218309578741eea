"""What the lab's own seconds are, from a timeline."""

from __future__ import annotations

import pytest

from harness.bench.labs import rows_of
from harness.bench.measured import Boot, CommandRun
from harness.timeline import Event


def test_the_machine_s_time_is_taken_out() -> None:
    events = [
        Event(seq=1, t=0.1, source="run", name="run.started"),
        Event(seq=2, t=0.4, source="machine", name="machine.powered_on"),
        Event(seq=3, t=3.4, source="lab", name="dossier.begun"),
        Event(seq=4, t=3.6, source="run", name="run.finished"),
    ]
    command = CommandRun(
        status=1, began_s=0.0, wall_s=4.1, sealed_peak_bytes=0, outer_peak_bytes=0, output=""
    )
    lab = Boot(command=command, result={"outcome": "failed", "run_dir": "x"}, events=events)
    rows = {row.what: row for row in rows_of([lab])}
    assert rows["lab start"].median == pytest.approx(0.4)
    assert rows["lab stop"].median == pytest.approx(0.2)
    assert rows["lab start and stop"].median == pytest.approx(0.6)
    assert rows["lab start and stop"].is_met is True
    assert rows["hooklab run, less the machine's time"].median == pytest.approx(1.1)
