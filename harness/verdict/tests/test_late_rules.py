"""What comes too late, or is given up: whose fault that is, and that the run ends for it."""

from __future__ import annotations

import pytest

from harness.phases import Party, Phase
from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict import judge
from harness.verdict.tests.playing import ended


def blocks(until: int, *, resent_each: int = 0, server_s: float | None = None) -> Tape:
    """Return a boot program that comes with 512 octets each two seconds.

    Of so many of them one was sent twice; the server took so long for each.
    """
    tape = good_boot().until("tftp.request.received", id=2)
    for number in range(1, until // 2):
        tape.add(
            *(7 + 2 * number, "tftp", "tftp.transfer.progressed"),
            id=2,
            file="ipxe.efi",
            bytes=512 * number,
            length=1_040_000,
            **({"resends": number // resent_each} if resent_each else {}),
            **({"server_s": number * server_s} if server_s is not None else {}),
        )
    return tape


def test_a_boot_program_that_comes_by_drops() -> None:
    tape = blocks(60)
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == (Phase.NBP_DOWNLOAD, Party.UNKNOWN)
    assert verdict.because == (
        "ipxe.efi was not through in time: 15 kB of 1.0 MB, 256 octets a second; not enough"
        " evidence whether TFTP is slow or the way to it"
    )
    assert "256 octets a second" in ended(blocks(100), "too-slow", by=39).because


def test_one_that_is_sent_twice_again_and_again_is_lost_on_its_way() -> None:
    verdict = judge(blocks(60, resent_each=4).events)
    assert verdict.blame is Party.LINK
    assert verdict.because.endswith(
        "; 7 times no ACK came in time, and a block was sent again: packets are lost"
    )
    assert judge(blocks(200, resent_each=25).events).blame is Party.UNKNOWN


@pytest.mark.parametrize(
    ("server_s", "blame", "because"),
    [
        (1.9, Party.TFTP, "for 53 of 56 s an acknowledged block waited for the next one"),
        (0.0, Party.LINK, "for 56 of 56 s the server waited for acknowledgements"),
    ],
)
def test_who_holds_up_a_boot_program(server_s: float, blame: Party, because: str) -> None:
    verdict = judge(blocks(60, server_s=server_s).events)
    assert verdict.blame is blame
    assert verdict.because.endswith(f"256 octets a second; {because}")


def test_one_that_stopped_is_not_slow() -> None:
    tape = blocks(60)
    tape.add(120, "run", "run.finished", outcome="deadline")
    assert "not through in time" not in judge(tape.events).because


@pytest.mark.parametrize(("timeout", "blame"), [(0, Party.TEMPLATE), (30, Party.ACTION)])
def test_a_workflow_that_tinkerbell_gave_up(timeout: int, blame: Party) -> None:
    tape = good_boot().until("tink.rpc.received")
    tape.add(45, "tink", "tink.rpc.finished", id=1, rpc="GetWorkflowContexts", code="OK")
    known = {"workflow_id": "default/hello"}
    tape.add(
        50, "tink", "tink.actions.sent", id=2, actions=["print"], timeouts_s=[timeout], **known
    )
    about = {"task": "hello", "action": "print", "state": "STATE_RUNNING", "accepted": True}
    tape.add(51, "tink", "tink.action.reported", id=3, worker_id=MAC, **about, **known)
    tape.add(51 + timeout, "tink", "tink.workflow.changed", state="STATE_TIMEOUT", **known)
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == (Phase.WORKFLOW, blame)
    assert verdict.because == (
        f"Tinkerbell gave the workflow up after {timeout} s of action 'print'; its timeout is"
        f" {timeout} s"
    )


@pytest.mark.parametrize(
    ("words", "blame"),
    [("registry_username=hook registry_password=secret", Party.REGISTRY), ("quiet", Party.HOOK)],
)
def test_a_challenge_that_docker_does_not_take_up(words: str, blame: Party) -> None:
    tape = good_boot().until("guest.docker.started")
    tape.add(40, "machine", "guest.cmdline.seen", cmdline=words)
    for number in range(3):
        path = "/v2/tink-worker/manifests/latest"
        t = 41.0 + number
        tape.add(t, "registry", "registry.request.received", id=number, method="GET", path=path)
        tape.add(t, "registry", "registry.auth.challenged", id=number, path=path, scheme="bearer")
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == (Phase.WORKER_PULL, blame)


def asks_again(*, offers: bool) -> Tape:
    """Return a Hook whose lease is not renewed; the times are those of a real dhcpcd."""
    tape = good_boot().until("tink.rpc.received")
    tape.add(45, "tink", "tink.rpc.finished", id=1, rpc="GetWorkflowContexts", code="OK")
    mac = {"mac": MAC, "stage": "guest"}
    tape.add(46, "dhcp", "dhcp.ack.sent", address="192.168.77.10", **mac)
    for t in (75, 78, 85, 102, 134):
        tape.add(t, "dhcp", "dhcp.discover.received", xid="0x1", **mac)
        if offers:
            tape.add(t, "dhcp", "dhcp.offer.sent", xid="0x1", address="192.168.77.10", **mac)
    return tape


@pytest.mark.parametrize(
    ("offers", "blame", "what"),
    [
        (False, Party.DHCP, "it got no answer"),
        (True, Party.LINK, "the OFFERs that it was sent, 5 times, were not taken"),
    ],
)
def test_a_lease_that_ran_out(offers: bool, blame: Party, what: str) -> None:
    tape = asks_again(offers=offers)
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == (Phase.WORKFLOW, blame)
    assert verdict.because == (
        "Hook's lease of 192.168.77.10 ran out: it asked for an address again, 5 times, and " + what
    )
    assert ended(tape, "lease-lost", by=105)


def test_a_hook_that_is_heard_has_an_address() -> None:
    tape = asks_again(offers=False)
    tape.add(135, "syslog", "syslog.message.received", mac=MAC, message="still here")
    assert "ran out" not in judge(tape.events).because
    renewed = asks_again(offers=False)
    renewed.add(134.5, "dhcp", "dhcp.ack.sent", mac=MAC, stage="guest", address="192.168.77.10")
    assert "ran out" not in judge(renewed.events).because


def test_a_report_that_never_gets_through() -> None:
    tape = good_boot().until("tink.rpc.received")
    tape.add(45, "tink", "tink.rpc.finished", id=1, rpc="GetWorkflowContexts", code="OK")
    for number in range(2, 10):
        about = {"id": number, "rpc": "ReportActionStatus"}
        tape.add(45.0 + 3 * number, "tink", "tink.rpc.received", worker_id=MAC, **about)
        tape.add(
            *(45.0 + 3 * number, "tink", "tink.rpc.finished"),
            code="PERMISSION_DENIED",
            details="agent not allowed",
            **about,
        )
    verdict = judge(tape.events)
    assert verdict.blame is Party.TINK
    assert verdict.because == (
        "Tinkerbell answered the worker's ReportActionStatus with PERMISSION_DENIED, 8 times:"
        " agent not allowed"
    )


@pytest.mark.parametrize(
    ("line", "blame"),
    [
        ("imed out (http://ipxe.org/4c126035)", "link"),  # the rest is in the line before
        ("PXE-E18: Server response timeout.", "link"),
        ("PXE-E23: Client received TFTP error.", "unknown"),
    ],
)
def test_a_boot_program_of_which_the_rest_never_comes(line: str, blame: str) -> None:
    tape = good_boot().until("tftp.request.received")
    asked = tape.events[-1]
    tape.add(asked.t + 10, "tftp", "tftp.transfer.progressed", id=asked.get("id"),
             file="undionly.kpxe", bytes=51200, length=97782, resends=1)  # fmt: skip
    tape.add(asked.t + 16, "machine", "guest.error.seen", pattern="ipxe error", line=line,
             console="ttyS0")  # fmt: skip
    tape.add(asked.t + 18, "machine", "firmware.gave_up", line="No bootable device.",
             console="ttyS0")  # fmt: skip
    found = judge(tape.events)
    assert found.blame == blame
    assert ("stood still after 51 kB of 98 kB" in found.because) == (blame == "link")


@pytest.mark.parametrize(
    ("asks_again", "acknowledged", "blame"),
    [(False, 0, "link"), (True, 0, None), (False, 512, None)],
)
def test_a_port_that_forwards_late_in_mid_boot(
    asks_again: bool, acknowledged: int, blame: str | None
) -> None:
    tape = good_boot().until("tftp.request.received")
    t = tape.events[-1].t
    tape.add(t + 1, "switch", "link.blocked", mac=MAC)
    for n in range(4):  # a block that is sent again, and perhaps comes through
        tape.add(t + 11 + 10 * n, "tftp", "tftp.transfer.progressed", id="t1", file="ipxe.efi",
                 bytes=9000 + n * acknowledged, length=90_000, resends=n)  # fmt: skip
    tape.add(t + 41, "switch", "link.forwarding", mac=MAC, duration_s=40.0, lost_frames=27)
    if asks_again:
        tape.add(t + 42, "tftp", "tftp.request.received", id="t9", mac=MAC, file="ipxe.efi")
    found = judge(tape.events)
    said = "the switch's port forwarded nothing for 40.0 s and swallowed 27 frames"
    assert (said in found.because) == (blame == "link")
    assert blame in (None, found.blame)
