"""A real machine that nothing can save ends its run at once, and is looked into before that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.dossier import read_dossier
from harness.timeline import named, read_timeline

pytestmark = pytest.mark.boot

SCENARIO = """\
scenario: Nobody answers this machine, and its firmware gives up
machine: {mac: "52:54:00:12:34:5a", firmware: bios}
faults:
  - {at: dhcp, when: {occasion: request}, do: drop}
expect:
  - event: tftp.request.received
deadline: 10 min
verdict: {failed in: firmware-dhcp}
"""
AT_ONCE_S = 2.0
LOOKED_S = 5.0


def test_a_firmware_that_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nobody.yaml").write_text(SCENARIO)
    monkeypatch.chdir(tmp_path)
    # What it expects was not seen: exit status 1, long before its deadline.
    assert main(["run", "nobody.yaml", "--json", "out.json"]) == 1
    (result,) = json.loads((tmp_path / "out.json").read_text())
    run_dir = Path(result["run_dir"])
    events = read_timeline(run_dir / "timeline.jsonl")
    (decided,) = named(events, "run.decided")
    (gave_up,) = named(events, "firmware.gave_up")
    (begun,) = named(events, "dossier.begun")
    (taken,) = named(events, "dossier.taken")
    (finished,) = named(events, "run.finished")
    assert decided["rule"] == "firmware-gave-up"
    assert decided.t - gave_up.t < AT_ONCE_S
    assert taken["duration_s"] < LOOKED_S
    assert finished.t - gave_up.t < AT_ONCE_S + taken["duration_s"]
    assert finished["outcome"] == "decided"
    assert begun.t < 300
    dossier = read_dossier(run_dir)
    assert dossier is not None
    kept = {item.name: (run_dir / item.path).read_text("utf-8") for item in dossier.items}
    assert {"status", "registers", "console-ttyS0", "connections", "frames", "servers"} <= set(kept)
    assert "running True" in kept["status"]
    assert "No bootable device" in kept["console-ttyS0"]
    assert ":68 → 255.255.255.255:67 UDP" in kept["frames"]
    assert json.loads(kept["servers"])["last_events"]
    assert result["verdict"]["failed_in"] == "firmware-dhcp"
