"""Phases begin when the wire shows them, follow each other, and say what was in them."""

from __future__ import annotations

from harness.phases import Phase
from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict import PhaseTracker, track

LINES = [
    ("firmware-dhcp", 0.0, 5.1, "192.168.77.10, ipxe.efi from 192.168.77.1"),
    ("nbp-download", 5.1, 6.0, "ipxe.efi 1.0 MB by TFTP"),
    ("ipxe", 6.0, 13.8, "auto.ipxe for this MAC"),
    ("kernel-initramfs", 13.8, 15.2, "61 MB by HTTP"),
    ("hook-boot", 15.2, 34.9, "Linux 6.1.0, docker up at 34.9"),
    ("worker-pull", 34.9, 41.0, "tink-worker@sha256:8348… once"),
    ("workflow", 41.0, 66.4, "print ✓  write ✓  read ✓  disk ✓"),
    ("done", 66.4, 66.4, ""),
]


def test_a_good_boot_goes_through_all_of_them() -> None:
    tracker = track(good_boot().events)
    found = [
        (span.phase.value, round(span.start_s, 1), round(span.end_s or 0, 1), span.detail)
        for span in tracker.spans
    ]
    assert found == LINES
    assert tracker.phase is Phase.DONE


def test_a_connection_to_tinkerbell_shows_a_worker_that_no_console_tells_of() -> None:
    tape = good_boot().until("guest.worker.started")
    tape.events = [event for event in tape.events if event.name != "guest.worker.started"]
    assert track(tape.events).phase is Phase.WORKER_PULL
    tape.add(45, "tink", "tink.connection.accepted", id=1, peer="192.168.77.10:40000")
    assert track(tape.events).phase is Phase.WORKFLOW


def test_durations_add_up_to_the_whole() -> None:
    durations = track(good_boot().events).durations()
    assert list(durations) == [name for name, *_ in LINES[:-1]]
    assert round(sum(durations.values()), 1) == 66.4


def test_before_power_on_there_is_no_phase() -> None:
    tracker = track(good_boot().until("lab.started").events)
    assert (tracker.phase, tracker.spans, tracker.durations()) == (Phase.POWER_ON, [], {})


def test_the_phase_a_run_ended_in_counts_up_to_its_last_event() -> None:
    tape = good_boot().until("guest.docker.started")
    tape.add(95.9, "run", "run.interrupted", reason="Ctrl-C")
    tracker = track(tape.events)
    assert tracker.phase is Phase.WORKER_PULL
    assert tracker.durations()["worker-pull"] == 60.0
    assert tracker.spans[-1].end_s is None


def test_no_way_back() -> None:
    """A guest that asks for its address again is not in iPXE again."""
    tape = good_boot()
    before = track(tape.events).phase
    tape.add(80, "dhcp", "dhcp.request.received", mac=MAC, stage="firmware")
    assert track(tape.events).phase is before


def test_what_the_console_shows_is_enough_when_the_wire_is_silent() -> None:
    tape = Tape()
    tape.add(0, "machine", "machine.powered_on", mac=MAC)
    tape.add(5, "machine", "guest.kernel.started", version="6.1.0")
    tracker = track(tape.events)
    assert [span.phase for span in tracker.spans] == [Phase.FIRMWARE_DHCP, Phase.HOOK_BOOT]


def test_uefi_http_boot() -> None:
    tape = Tape()
    tape.add(0, "machine", "machine.powered_on", mac=MAC)
    path = f"/ipxe/binary/{MAC}/ipxe.efi"
    tape.add(3, "http", "http.request.received", id=1, path=path)
    assert track(tape.events).phase is Phase.NBP_DOWNLOAD
    tape.add(4, "http", "http.response.finished", id=1, path=path, status=404, bytes=9)
    assert track(tape.events).phase is Phase.NBP_DOWNLOAD
    # OVMF's first question is a HEAD
    tape.add(4, "http", "http.response.finished", id=1, path=path, status=200, bytes=0)
    assert track(tape.events).phase is Phase.NBP_DOWNLOAD
    tape.add(5, "http", "http.response.finished", id=1, path=path, status=200, bytes=1_000_000)
    tracker = track(tape.events)
    assert tracker.phase is Phase.IPXE
    assert tracker.spans[1].detail == "ipxe.efi 1.0 MB by HTTP"


def test_a_boot_from_an_iso() -> None:
    tape = Tape()
    tape.add(0, "machine", "machine.medium.inserted", url="http://x/iso/m/hook.iso", bytes=9)
    tape.add(1, "machine", "machine.powered_on", mac=MAC)
    tape.add(9, "machine", "guest.kernel.started", version="6.1.0")
    tracker = track(tape.events)
    assert [span.phase for span in tracker.spans] == [Phase.FIRMWARE_DHCP, Phase.HOOK_BOOT]
    assert tracker.spans[0].detail == "hook.iso in the CD drive"


def test_an_aborted_size_question_is_no_download() -> None:
    tape = good_boot().until("tftp.transfer.aborted")
    assert track(tape.events).phase is Phase.NBP_DOWNLOAD


def test_transfers_are_followed_while_they_last() -> None:
    tracker = PhaseTracker()
    seen = []
    for event in good_boot().events:
        tracker.feed(event)
        if event.name.endswith(".progressed"):
            transfer = tracker.transfer
            assert transfer
            seen.append((transfer.name, transfer.done_bytes, transfer.length_bytes))
    assert seen == [
        ("ipxe.efi", 500_000, None),
        ("vmlinuz-x86_64", 4_000_000, 8_000_000),
        ("initramfs-x86_64", 26_500_000, 53_000_000),
    ]
    assert tracker.transfer is None


def test_a_running_action_is_shown_as_running() -> None:
    tape = good_boot().until("tink.action.reported", action="write", state="STATE_RUNNING")
    tracker = track(tape.events)
    assert tracker.spans[-1].detail == "print ✓  write …"
    assert tracker.actions == {
        "print": "SUCCESS",
        "write": "RUNNING",
        "read": "PENDING",
        "disk": "PENDING",
    }


def test_feeding_says_which_phase_ended() -> None:
    tracker = PhaseTracker()
    ended = [span for event in good_boot().events if (span := tracker.feed(event))]
    assert [span.phase.value for span in ended] == [name for name, *_ in LINES[:-1]]
