"""Machines that are not fit for Hook: too small, without a driver, with a disk that fails."""

from __future__ import annotations

import pytest

from harness.phases import Party, Phase
from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict import judge


def said(tape: Tape, t: float, pattern: str, line: str) -> None:
    tape.add(t, "machine", "guest.error.seen", pattern=pattern, line=line, console="ttyS1")


def test_an_initramfs_that_did_not_fit_is_the_machines_memory_and_not_the_kernel() -> None:
    tape = good_boot().until("guest.kernel.started")
    said(tape, 49.6, "initramfs broken", "[    6.874147] Initramfs unpacking failed: write error")
    line = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
    tape.add(50.8, "machine", "guest.panicked", line=line, console="ttyS1")
    said(tape, 50.8, "no root file system", f"[    8.094737] {line}")
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == (Phase.HOOK_BOOT, Party.MACHINE)
    assert verdict.because.startswith("the machine's memory is too small for Hook")
    assert "panicked" in str(tape.events[verdict.evidence[-1] - 1])


def test_an_initramfs_that_did_not_fit_is_told_without_a_panic_as_well() -> None:
    """Where ``/init`` came before the room ran out, Linux starts it."""
    tape = good_boot().until("guest.kernel.started")
    said(tape, 49.6, "initramfs broken", "Initramfs unpacking failed: write error")
    assert judge(tape.events).blame is Party.MACHINE


@pytest.mark.parametrize("panics", [False, True])
@pytest.mark.parametrize(
    ("line", "blame"),
    [
        ("ZSTD-compressed data is corrupt", Party.HTTP),
        ("uncompression error", Party.HTTP),
        ("compression method zstd not configured", Party.HOOK),
        ("invalid magic at start of compressed archive", Party.HOOK),
    ],
)
def test_a_damaged_initramfs_is_no_lack_of_memory(line: str, blame: Party, panics: bool) -> None:
    tape = good_boot().until("guest.kernel.started")
    said(tape, 49.6, "initramfs broken", f"[    2.368069] Initramfs unpacking failed: {line}")
    if panics:
        panic = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
        tape.add(50.8, "machine", "guest.panicked", line=panic, console="ttyS1")
    verdict = judge(tape.events)
    assert verdict.blame is blame
    assert verdict.because.startswith("Linux can't unpack its initramfs, though HTTP sent all ")
    assert verdict.because.endswith(f"“Initramfs unpacking failed: {line}”")


def test_an_initramfs_that_nobody_sent_is_damaged_in_its_build() -> None:
    tape = good_boot().until("guest.kernel.started").without("http.")
    said(tape, 49.6, "initramfs broken", "Initramfs unpacking failed: uncompression error")
    assert judge(tape.events).blame is Party.HOOK


@pytest.mark.parametrize(("told", "blame"), [("", Party.MACHINE), (" mem=300M", Party.BOOT_SCRIPT)])
def test_memory_that_the_kernel_is_told_not_to_use(told: str, blame: Party) -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(30, "machine", "guest.cmdline.seen", cmdline=f"console=ttyS1{told}")
    line = "Kernel panic - not syncing: System is deadlocked on memory"
    tape.add(31, "machine", "guest.panicked", line=line, console="ttyS1")
    assert judge(tape.events).blame is blame


def stops(resumed: bool, till: float) -> Tape:
    tape = good_boot().until("tink.contexts.sent")
    began = tape.events[-1].t
    tape.add(began, "machine", "qmp.event.seen", event="RESUME", data={})
    tape.add(began + 1, "machine", "qmp.event.seen", event="STOP", data={})
    if resumed:
        tape.add(began + 4, "machine", "qmp.event.seen", event="RESUME", data={})
    tape.add(began + till, "machine", "qmp.event.seen", event="SHUTDOWN", data={"guest": False})
    tape.add(began + till, "run", "run.finished", outcome="deadline")
    return tape


def test_a_machine_whose_cpus_were_stopped_is_no_worker_that_hangs() -> None:
    verdict = judge(stops(resumed=False, till=101).events)
    assert (verdict.failed_in, verdict.blame) == (Phase.WORKFLOW, Party.MACHINE)
    assert verdict.because.startswith(
        "the machine was stopped in workflow, and stood still for 100 s"
    )


@pytest.mark.parametrize(("resumed", "till"), [(True, 101), (False, 10)])
def test_a_machine_that_was_stopped_for_a_moment_is_not_to_blame(
    resumed: bool, till: float
) -> None:
    assert judge(stops(resumed, till).events).blame != Party.MACHINE
