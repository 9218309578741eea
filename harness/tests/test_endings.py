"""However a run ends, nothing of it is left but its run folder, and that has a verdict."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.report.record import read_run
from harness.tests.endings import Belongings, Run

pytestmark = pytest.mark.boot

TEMPLATE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata: {name: long, namespace: default}
spec:
  data: |
    version: "0.1"
    name: long
    global_timeout: 900
    tasks:
      - name: long
        worker: "{{.device_1}}"
        actions:
          - name: long
            image: sleep:v1
            timeout: 600
            command: ["590"]
"""
SCENARIO = """\
scenario: A machine that is busy for longer than anybody waits
machine: {mac: "52:54:00:12:34:58", firmware: uefi, disks: [{name: vda, size: 16 MiB}]}
template: template.yaml
profile: fast
"""
BOOTS = timedelta(minutes=8)
"""Hook may have to be built, then boots to the action, on a busy host without KVM."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return what starts a run of a scenario whose action lasts ten minutes."""
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "long.yaml").write_text(SCENARIO)
    runs: list[Run] = []

    def begin(**named: Any) -> Run:
        runs.append(Run(tmp_path / "long.yaml", tmp_path, **named))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


PHASES = {
    "firmware": ("dhcp.discover.received", {"stage": "firmware"}),
    "kernel": ("guest.kernel.started", {}),
    "docker": ("guest.docker.started", {}),
    "action": ("tink.action.reported", {"state": "STATE_RUNNING"}),
}


@pytest.mark.parametrize("phase", PHASES)
def test_kill_9_leaves_a_readable_run_and_nothing_else(
    start: Callable[..., Run], phase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, fields = PHASES[phase]
    interfaces = set(Path("/sys/class/net").iterdir())
    run = start()
    event = run.wait_for(name, within=BOOTS, **fields)
    had = Belongings.of(run.process.pid)
    assert len(had.processes) >= 6, had  # run, unshare, init, lab, QEMU, recorder
    assert {space.partition(":")[0] for space in had.namespaces} >= {"net", "pid", "mnt"}, had
    assert had.sockets, had

    run.process.kill()

    assert run.process.wait() == -signal.SIGKILL
    had.wait_until_gone()
    assert set(Path("/sys/class/net").iterdir()) == interfaces
    assert list(run.temporary.iterdir()) == []
    left = [file for file in had.files if Path(file).exists()]
    assert [file for file in left if run.run_dir not in Path(file).parents] == []

    assert main(["report", str(run.run_dir)]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    record = read_run(run.run_dir)
    assert record.events[event.seq - 1] == event
    assert record.outcome == "interrupted"
    verdict = json.loads((run.run_dir / "verdict.json").read_text())
    assert verdict["because"] == "the run was stopped: it was killed before its end"
    assert verdict["reached"] == record.tracker.phase.value


MOMENTS = {
    "at the start of the lab": "run.started",
    "when the services are up": "service.started",
    "at power-on": "machine.powered_on",
    "in the firmware": "dhcp.offer.sent",
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    "signals",
    [
        pytest.param([signal.SIGINT], id="Ctrl-C"),
        pytest.param([signal.SIGTERM], id="SIGTERM"),
        pytest.param([signal.SIGINT, signal.SIGINT], id="Ctrl-C twice"),
    ],
)
def test_a_run_that_is_interrupted_says_where_its_folder_is(
    start: Callable[..., Run], moment: str, signals: list[signal.Signals]
) -> None:
    run = start()
    run.wait_for(MOMENTS[moment], within=BOOTS)
    had = Belongings.of(run.process.pid)
    for number in signals:
        run.process.send_signal(number)
    words = run.words()
    assert run.process.returncode == 130, words
    folder = run.run_dir.relative_to(run.run_dir.parents[1])
    assert words.splitlines()[-1] == f"hooklab: interrupted; what there is of it: {folder}"
    assert "Traceback" not in words
    had.wait_until_gone()
    assert list(run.temporary.iterdir()) == []
    assert read_run(run.run_dir).outcome == "interrupted"
    verdict = json.loads((run.run_dir / "verdict.json").read_text())
    assert verdict["because"].startswith("the run was stopped: ")
    [result] = json.loads(run.json_file.read_text())
    assert result["outcome"] == "interrupted"
    assert result["run_dir"] == str(run.run_dir)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_leaves_a_cache_that_can_be_used(
    start: Callable[..., Run], tmp_path: Path, number: signal.Signals
) -> None:
    cache = tmp_path / "cache"
    run = start(env={"HOOKLAB_CACHE": str(cache)})
    run.wait_for_output(" …\n", within=timedelta(minutes=1))
    had = Belongings.of(run.process.pid)
    run.process.send_signal(number)
    words = run.words()
    assert run.process.returncode == 130, words
    assert words.splitlines()[-1] == "hooklab: interrupted"
    assert "Traceback" not in words
    had.wait_until_gone()
    assert list(run.temporary.iterdir()) == []
    assert json.loads(run.json_file.read_text()) == []
