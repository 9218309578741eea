"""What is measured of a boot, from timelines as a run writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.boots import kernel_arguments, rows_of
from harness.bench.measured import Boot, CommandRun, own_records, run_command
from harness.errors import BuildFailed
from harness.paths import history_root, runs_root
from harness.timeline import Event

SCRIPT = """\
#!ipxe
set kernel vmlinuz-${arch}
:retry_kernel
kernel ${download-url}/${kernel} \\
console=ttyS0 tink_worker_image=a/b:v1 \\
iommu=pt initrd=${initrd} modules=loop,squashfs && goto next || goto kernel-error
initrd ${download-url}/${initrd} && goto boot
"""


def a_boot(*, registry_at: float | None, total: float) -> Boot:
    """Return a boot whose first registry request came at ``registry_at``."""
    at = {"machine.powered_on": 0.5, "registry.request.received": registry_at}
    events = [
        Event(seq=number, t=t, source="x", name=name, fields={"memory_mib": 2048})
        for number, (name, t) in enumerate(at.items(), 1)
        if t is not None
    ]
    command = CommandRun(
        status=0,
        began_s=0.0,
        wall_s=total,
        sealed_peak_bytes=120_000_000,
        outer_peak_bytes=40_000_000,
        tree_peak_bytes=2_300_000_000,
        output="",
    )
    result = {
        "outcome": "passed",
        "durations": {"ipxe": 7.0, "total": total},
        "run_dir": "runs/hello-uefi-0001",
    }
    return Boot(command=command, result=result, events=events)


def test_lab_and_hand_are_compared_at_one_milestone() -> None:
    boots = [a_boot(registry_at=30.5, total=66.0), a_boot(registry_at=34.5, total=70.0)]
    rows = {row.what: row for row in rows_of(boots, [40.0, 40.0])}
    assert rows["to the first registry request, lab"].samples == (30.0, 34.0)
    assert rows["lab / by hand"].median == pytest.approx(0.8)
    assert rows["cold hello [uefi], all of it"].is_met is True
    assert rows["phase ipxe"].samples == (7.0, 7.0)
    assert rows["memory of the lab's process"].median == pytest.approx(120.0)
    everything = rows["memory of all of the lab, its guest's included"]
    assert everything.goal == pytest.approx(2147.5 + 200, abs=0.1)
    assert everything.is_met is True


def test_a_run_without_the_milestone_is_refused() -> None:
    with pytest.raises(BuildFailed, match=r"registry\.request\.received"):
        rows_of([a_boot(registry_at=None, total=66.0)], [40.0])


def test_the_kernel_line_is_taken_from_the_script() -> None:
    assert kernel_arguments(SCRIPT) == (
        "console=ttyS0 tink_worker_image=a/b:v1 iommu=pt modules=loop,squashfs"
    )
    assert kernel_arguments("kernel http://x/vmlinuz quiet || shell") == "quiet"
    with pytest.raises(BuildFailed):
        kernel_arguments("#!ipxe\nexit\n")


async def test_a_command_is_timed_with_its_memory(tmp_path: Path) -> None:
    done = await run_command("--version", cwd=tmp_path)
    assert done.status == 0
    assert done.output.startswith("hooklab ")
    assert 0 < done.wall_s < 30
    assert done.sealed_peak_bytes == 0


def test_what_is_measured_is_no_run_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_records(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert history_root() == tmp_path / "history"
    assert runs_root() == tmp_path / "runs"
