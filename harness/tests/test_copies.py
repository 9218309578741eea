"""What a user changes in a copy of a scenario is what happens; and what they boot may be theirs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from harness.hook.files import HookFiles
from harness.paths import source_root
from harness.report.record import RunRecord, read_run
from harness.tests.endings import Run
from harness.timeline import named

pytestmark = pytest.mark.boot

MAC = "52:54:00:0a:0b:0c"
BOOTS = timedelta(minutes=8)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of hello, outside the repository, changed as a user would."""
    scenario = (source_root() / "scenarios/hello.yaml").read_text()
    template = (source_root() / "fixtures/templates/hello.yaml").read_text()
    for before, after in (
        ("52:54:00:12:34:56", MAC),
        ("[bios, uefi]", "uefi"),
        ("../fixtures/templates/hello.yaml", "template.yaml"),
    ):
        assert before in scenario
        scenario = scenario.replace(before, after)
    for before, after in (
        ("hello from {{.device_1}}", "greetings to {{.device_1}}"),
        ("the disk comes next", "a disk is next"),
    ):
        assert before in template
        template = template.replace(before, after)
    (tmp_path / "template.yaml").write_text(template)
    (tmp_path / "copy.yaml").write_text(scenario)
    return tmp_path / "copy.yaml"


@pytest.fixture
def run(copy: Path) -> Iterator[Run]:
    started = Run(copy, copy.parent)
    yield started
    started.close()


def said(record: RunRecord) -> str:
    """Return everything that Hook logged and the consoles printed."""
    lines = [str(event.get("message")) for event in named(record.events, "syslog.message.received")]
    return "\n".join([*lines, *(console.text for console in record.consoles)])


def test_what_is_changed_in_a_copy_is_what_happens(run: Run) -> None:
    words = run.process.communicate(timeout=BOOTS.total_seconds())[0]
    assert run.process.returncode == 0, words
    record = read_run(run.run_dir)
    requests = [event for event in record.events if event.name.startswith("dhcp.")]
    assert {event.get("mac") for event in requests} == {MAC}
    text = said(record)
    assert f"greetings to {MAC}" in text
    assert "a disk is next" in text
    assert "hello from" not in text
    assert "the disk comes next" not in text
    mac = bytes.fromhex(MAC.replace(":", ""))
    assert mac in (run.run_dir / "capture.pcapng").read_bytes()
    assert json.loads(run.json_file.read_text())[0]["outcome"] == "passed"


@pytest.fixture
def somebodys(tmp_path: Path, embedded_hook: HookFiles) -> Path:
    """Return a folder with a kernel and an initramfs under the names of a released Hook."""
    folder = tmp_path / "released"
    folder.mkdir()
    for name in ("vmlinuz-x86_64", "initramfs-x86_64"):
        shutil.copy(embedded_hook.kernel.parent / name, folder)
    return folder


def test_a_system_of_ones_own_needs_no_template(tmp_path: Path, somebodys: Path) -> None:
    (tmp_path / "own.yaml").write_text(f"""\
scenario: An operating system of one's own comes up
hook: {somebodys}
machine: {{mac: "{MAC}", firmware: uefi}}
profile: fast
expect:
  - console: "*Linux version*"
  - event: {{name: http.response.finished, where: {{path: "*initramfs*", status: 200}}}}
""")
    run = Run(tmp_path / "own.yaml", tmp_path)
    try:
        words = run.process.communicate(timeout=BOOTS.total_seconds())[0]
    finally:
        run.close()
    assert run.process.returncode == 0, words
    record = read_run(run.run_dir)
    assert record.item.hook.kernel == somebodys / "vmlinuz-x86_64"
    assert record.verdict.because == "everything that the scenario expects was seen"
    [kernel] = [
        event
        for event in named(record.events, "http.response.finished")
        if "vmlinuz" in str(event.get("path"))
    ]
    assert kernel.get("bytes") == (somebodys / "vmlinuz-x86_64").stat().st_size
    assert not named(record.events, "tink.workflow.changed")
