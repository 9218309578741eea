"""Console lines that matter become guest.* events, once a boot."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.machine.console import LineSplitter
from harness.machine.milestones import Milestones
from harness.timeline import Timeline

BOOT = """\
[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12)
[    0.000000] Command line: console=ttyS0 syslog_host=192.168.77.1
[    0.100000] Kernel command line: console=ttyS0 syslog_host=192.168.77.1
[    2.000000] Run /init as init process
[    2.100000] hook: init started
[    2.200000] hook: starting onboot 1/5 sysctl
[    2.900000] hook: starting service 7/8 hook-docker
time="2026-11-21T09:00:00Z" level=info msg="API listen on /var/run/docker.sock"
Starting BootKit: the tink-worker bootstrapper
BootKit: the tink-worker bootstrapper finished
"""


def names(timeline: Timeline) -> list[str]:
    return [event.name.removeprefix("guest.") for event in timeline]


def test_a_boot_is_told_once_however_many_consoles_print_it() -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    for line in BOOT.splitlines():
        for console in ("ttyS0", "ttyS1"):
            milestones.read(console, line, False)
    milestones.read("ttyS0", "linuxkit-525400000001 login:", True)
    assert names(timeline) == [
        "kernel.started",
        "cmdline.seen",
        "init.started",
        "service.started",
        "service.started",
        "docker.started",
        "bootkit.started",
        "worker.started",
        "login.offered",
    ]
    assert [event["service"] for event in timeline.events[3:5]] == ["sysctl", "hook-docker"]
    assert timeline.events[0]["version"] == "6.1.0-56-amd64"
    assert timeline.events[0]["console"] == "ttyS0"
    assert timeline.events[1]["cmdline"] == "console=ttyS0 syslog_host=192.168.77.1"
    milestones.reboot()
    milestones.read("ttyS1", BOOT.splitlines()[0], False)
    assert names(timeline)[-1] == "kernel.started"
    assert len(timeline) == 10


def test_a_kernel_after_an_init_is_another_one() -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    for line in [*BOOT.splitlines(), *BOOT.splitlines()[:2]]:
        milestones.read("ttyS0", line, False)
    assert names(timeline)[-2:] == ["kernel.started", "cmdline.seen"]
    assert names(timeline).count("kernel.started") == 2


def test_a_panic_is_handed_on() -> None:
    timeline = Timeline(None)
    heard: list[str] = []
    milestones = Milestones(machine="m1", timeline=timeline, on_panic=heard.append)
    line = "[    1.7] Kernel panic - not syncing: VFS: Unable to mount root fs on x"
    for console in ("ttyS0", "ttyS1"):
        milestones.read(console, line, False)
    assert heard == [line.removeprefix("[    1.7] ")]
    assert names(timeline)[0] == "panicked"


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("No more network devices", None),
        ("autoexec.ipxe... Not found (https://ipxe.org/2d12618e)", None),
        ('  [TXE: 1 x "Network unreachable (https://ipxe.org/28086090)"]', None),
        ("Permission denied (http://ipxe.org/020c618f)", "ipxe error"),
        ("PXE-E18: Server response timeout.", "firmware found no network"),
        ("Failed to load initrd", "boot script failed"),
        ("tar: write error: No space left on device", "disk full"),
        ("x509: certificate signed by unknown authority", "certificate refused"),
        (
            'hook-docker: level=error msg="Not continuing with pull after error: dial tcp: …"',
            "pull broken off",
        ),
        (
            "hook-docker: Not continuing with pull after error: verification failed for digest x",
            "layer refused",
        ),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 26s!", "soft lockup"),
    ],
)
def test_known_failures_have_a_name(line: str, pattern: str | None) -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    milestones.read("ttyS0", line, False)
    milestones.read("ttyS1", line, False)
    assert [event["pattern"] for event in timeline] == ([pattern] if pattern else [])


def test_a_partial_line_is_no_milestone_yet() -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    milestones.read("ttyS0", "[    0.000000] Command line: console=tt", True)
    assert not timeline.events


def test_a_failure_said_again_and_again_is_counted() -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    for second in range(10, 50):
        line = f"[   {second}.983993] hook-bootkit: image pull failure, read :{50000 + second}->x"
        for console in ("ttyS0", "ttyS1"):
            milestones.read(console, line, False)
    assert [event.get("times", 1) for event in timeline] == [*range(1, 11), 16, 32]
    milestones.reboot()
    milestones.read("ttyS0", "hook-bootkit: image pull failure", False)
    assert "times" not in timeline.events[-1].fields


@pytest.mark.parametrize(
    ("line", "partial", "name", "fields"),
    [
        (">>Start PXE over IPv4.", True, "firmware.boot.tried", {"way": "PXE over IPv4"}),
        (
            ">>Start HTTP Boot over IPv6.",
            True,
            "firmware.boot.tried",
            {"way": "HTTP Boot over IPv6"},
        ),
        ("Booting from Hard Disk...", False, "firmware.boot.tried", {"way": "Hard Disk"}),
        (
            'BdsDxe: failed to load Boot0001 "UEFI PXEv4 (MAC:525400123477)" from '
            "PciRoot(0x0)/Pci(0x2,0x0)/MAC(525400123477,0x1)/IPv4(0.0.0.0,0x0,DHCP): Not Found",
            False,
            "firmware.boot.failed",
            {"way": "UEFI PXEv4 (MAC:525400123477)", "reason": "Not Found"},
        ),
        (
            "BdsDxe: No bootable option or device was found.",
            False,
            "firmware.gave_up",
            {"line": "No bootable option or device was found."},
        ),
        ("No bootable device.", False, "firmware.gave_up", {"line": "No bootable device."}),
        ("iPXE>", True, "firmware.prompt.offered", {"prompt": "iPXE"}),
        ("Shell>", True, "firmware.prompt.offered", {"prompt": "Shell"}),
        (
            'BdsDxe: starting Boot0000 "UiApp" from Fv(7CB8BDC9)/FvFile(462CAA21)',
            False,
            "firmware.prompt.offered",
            {"prompt": "UiApp"},
        ),
    ],
)
def test_a_firmware_says_what_it_does(
    line: str, partial: bool, name: str, fields: dict[str, str]
) -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    for _ in range(2):
        milestones.read("ttyS0", line, partial)
    (event,) = timeline.events
    assert event.name == name
    assert event.fields == {**fields, "console": "ttyS0"}


def test_the_kernel_breaks_into_lines() -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    for line in (
        "hook-bootkit: image pull fai[   51.147946] Kernel panic - not syncing: x",
        "[   51.200000] CPU: 0 PID: 1",
        "lure: x509: certificate signed by unknown authority",
    ):
        milestones.read("ttyS1", line, False)
    assert [event.get("pattern") or event.name for event in timeline] == [
        "guest.panicked",
        "certificate refused",
        "image pull failure",
    ]
    assert timeline.events[-1]["line"].startswith("hook-bootkit: image pull failure: x509")


def test_escape_sequences_do_not_hide_a_failure() -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    splitter = LineSplitter()
    octets = (
        b"\x1b[2J\x1b[01;01H\x1b[0m\x1b[37m\x1b[40mPXE-\x1b[1mE18\x1b[0m: Server resp\rPXE-E18"
        b": Server response timeout.\r\n\x1b[31mFailed to load\x1b[0m initrd\xff\xfe\r\n"
    )
    for at in range(0, len(octets), 7):
        for line in splitter.feed(octets[at : at + 7]):
            milestones.read("ttyS0", line, False)
    assert [event.get("pattern") for event in timeline] == [
        "firmware found no network",
        "boot script failed",
    ]


@given(st.integers(0, len(BOOT.splitlines())))
def test_another_goes_on_where_one_was(at: int) -> None:
    """Through JSON, as in a checkpoint; nothing is told twice, nothing is forgotten."""
    said = [*BOOT.splitlines(), *["error starting up Docker"] * 3, "half [    9.000000] kernel"]
    both, whole = Timeline(None), Timeline(None)
    first, second = (Milestones(machine="m1", timeline=both) for _ in range(2))
    for line in said[:at]:
        first.read("ttyS0", line, False)
    second.restore(json.loads(json.dumps(first.state())))
    for line in said[at:]:
        second.read("ttyS0", line, False)
    alone = Milestones(machine="m1", timeline=whole)
    for line in said:
        alone.read("ttyS0", line, False)
    assert [(e.name, e.fields) for e in both] == [(e.name, e.fields) for e in whole]


@pytest.mark.parametrize(
    "reason", ["ended", "failed with status 1", "was killed by signal 9 (killed)"]
)
def test_a_service_ends_once_however_many_consoles_print_it(reason: str) -> None:
    timeline = Timeline(None)
    milestones = Milestones(machine="m1", timeline=timeline)
    for console in ("ttyS0", "ttyS1"):
        milestones.read(console, f"[   32.115448] hook: service hook-docker {reason}", False)
    (event,) = timeline
    assert event.name == "guest.service.ended"
    assert dict(event.fields) == {"service": "hook-docker", "reason": reason}
