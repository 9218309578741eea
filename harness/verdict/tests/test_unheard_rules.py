"""Clients that say they asked, where nothing of that arrived: the way there is to blame."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict.judge import judge

E18 = "PXE-E18: Server response timeout."
IN_VAIN = "No configuration methods succeeded (https://ipxe.org/040ee119)"
NO_CARD = "dhcpcd-once: no valid interfaces found"
TIMED_OUT = "dhcpcd-once: timed out"


def complains(tape: Tape, pattern: str, *lines: str) -> Tape:
    for line in lines:
        tape.add(tape.events[-1].t + 30, "machine", "guest.error.seen", pattern=pattern, line=line,
                 console="ttyS0")  # fmt: skip
    return tape


@pytest.mark.parametrize(
    ("pattern", "line", "blame"),
    [
        ("firmware found no network", E18, "link"),
        ("ipxe error", IN_VAIN, "link"),
        ("firmware found no network", "PXE-E16: No valid offer received.", "firmware"),
    ],
)
def test_a_firmware_that_asked_for_an_address(pattern: str, line: str, blame: str) -> None:
    found = judge(complains(good_boot().until("machine.powered_on"), pattern, line).events)
    assert (found.failed_in, found.blame) == ("firmware-dhcp", blame)
    assert (line in found.because) == (blame == "link")


@pytest.mark.parametrize(
    ("lines", "blame"),
    [
        ([TIMED_OUT], "link"),
        (["dhcpcd-once: no interfaces have a carrier"], "link"),
        ([NO_CARD, TIMED_OUT], "kernel"),  # it says so without any card, too
    ],
    ids=["timed out", "no carrier", "no card"],
)
def test_a_hook_that_asked_for_an_address(lines: list[str], blame: str) -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "guest.init.started", console="ttyS0")
    found = judge(complains(tape, "no address", *lines).events)
    assert (found.failed_in, found.blame) == ("hook-boot", blame)
    assert lines[0] in found.because


@pytest.mark.parametrize(
    ("line", "blame"),
    [
        (E18, "link"),
        ("Connection timed out (https://ipxe.org/4c126035)", "link"),
        ("PXE-E16: No valid offer received.", "firmware"),
    ],
)
def test_a_firmware_that_asked_for_its_boot_program(line: str, blame: str) -> None:
    tape = good_boot().until("dhcp.ack.sent", stage="firmware")
    found = judge(complains(tape, "firmware found no network", line).events)
    assert (found.failed_in, found.blame) == ("firmware-dhcp", blame)
    assert (line in found.because) == (blame == "link")


def leased(stage: str, address: str) -> Tape:
    """Return a boot up to an ACK that gives ``address``."""
    tape = Tape()
    tape.add(0, "lab", "segment.created", bridge="lab0", kind="bridge", address="192.168.77.1/24")
    good = good_boot().until("dhcp.ack.sent", stage=stage)
    for event in good.events:
        fields = dict(event.fields)
        if event.name == "dhcp.ack.sent" and fields["stage"] == stage:
            fields["address"] = address
        tape.add(event.t, event.source, event.name, **fields)
    return tape


@pytest.mark.parametrize(
    ("stage", "who", "pattern", "line"),
    [
        ("firmware", "the firmware", "firmware found no network", E18),
        ("tinkerbell", "iPXE", "ipxe error", "Connection timed out (https://ipxe.org/4c0a6092)"),
    ],
    ids=["firmware", "iPXE"],
)
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.9.9.9", "10.9.9.9, which is not in this network (192.168.77.0/24)"),
        ("192.168.77.1", "192.168.77.1, which is that of the lab's servers (192.168.77.0/24)"),
        ("192.168.77.10", ""),
    ],
)
def test_an_address_from_which_nobody_is_heard(
    stage: str, who: str, pattern: str, line: str, address: str, words: str
) -> None:
    found = judge(complains(leased(stage, address), pattern, line).events)
    if words:
        assert (found.blame, found.because) == ("dhcp", f"DHCP gave {who} the address {words}")
    else:
        assert found.blame == "link"


def test_a_challenge_of_what_stands_in_the_registrys_place() -> None:
    tape = good_boot().until("guest.docker.started")
    path = "/v2/tink-worker/manifests/v0.12.2"
    tape.add(40, "registry", "registry.request.received", id=1, method="HEAD", path=path)
    tape.add(40, "registry", "registry.request.failed", id=1, method="HEAD", path=path, status=401)
    found = judge(complains(tape, "image pull failure", "daemon: unauthorized").events)
    assert (found.failed_in, found.blame, found.because) == (
        "worker-pull",
        "hook",
        "the registry asked for credentials and Hook came with none",
    )


def pulling(*, asked_at: float | None) -> Tape:
    """Return a boot whose docker greets the registry, connects again at 44.5 s and is not heard."""
    tape = good_boot().until("guest.docker.started")
    peer = "192.168.77.10:54310"
    tape.add(44, "registry", "registry.request.received", id="r1", method="GET", path="/v2/",
             peer="192.168.77.10:54302")  # fmt: skip
    if asked_at is not None:
        tape.add(asked_at, "registry", "registry.request.received", id="r2", method="HEAD",
                 path="/v2/tink-worker/manifests/latest", peer="192.168.77.10:54312")  # fmt: skip
    tape.add(60, "registry", "registry.connection.mute", peer=peer, waited_s=15.5)
    tape.add(120, "run", "run.finished", outcome="deadline")
    return tape


def test_a_machine_that_connects_and_is_not_heard() -> None:
    found = judge(pulling(asked_at=None).events)
    assert (found.failed_in, found.blame) == ("worker-pull", "link")
    assert found.because.startswith(
        "the machine connected to the registry, and nothing that it sends arrives there: not an"
        " octet in 16 s"
    )


def test_a_connection_that_was_not_needed_after_all_proves_nothing() -> None:
    assert "not an octet" not in judge(pulling(asked_at=45).events).because


def test_an_ipxe_that_connects_and_is_not_heard() -> None:
    tape = good_boot().until("dhcp.ack.sent", stage="tinkerbell")
    tape.add(40, "http", "http.connection.mute", peer="192.168.77.10:3000", waited_s=15.0)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "link")
    assert "the machine connected to the HTTP server" in found.because


@pytest.mark.parametrize(
    ("stage", "who"), [("firmware", "the firmware"), ("tinkerbell", "iPXE"), ("guest", "Hook")]
)
@pytest.mark.parametrize("asked", [2, 4])
def test_an_ack_that_never_arrives(stage: str, who: str, asked: int) -> None:
    before = {"firmware": "machine.powered_on", "tinkerbell": "tftp.transfer.finished",
              "guest": "guest.kernel.started"}  # fmt: skip
    tape = good_boot().until(before[stage])
    t = tape.events[-1].t
    known = {"mac": MAC, "xid": "0x1", "stage": stage}
    lease = {"address": "192.168.77.10", "file": "ipxe.efi", "server": "192.168.77.1"}
    tape.add(t + 1, "dhcp", "dhcp.discover.received", **known)
    tape.add(t + 1, "dhcp", "dhcp.offer.sent", **known, **lease)
    for n in range(asked):
        asks = {**known, "server": "192.168.77.1"}
        tape.add(t + 2 + 4 * n, "dhcp", "dhcp.request.received", **asks)
        tape.add(t + 2 + 4 * n, "dhcp", "dhcp.ack.sent", **known, **lease)
    found = judge(tape.events)
    lost = f"{who} asked again, 3 times, for the address that DHCP had acknowledged"
    assert found.because.startswith(lost) == (asked == 4)
    assert (found.blame == "link") == (asked == 4)


def test_a_machine_that_begins_anew_did_not_ask_again() -> None:
    tape = good_boot().until("machine.powered_on")
    known = {"mac": MAC, "xid": "0x1", "stage": "firmware"}  # edk2 may well have the same again
    for t in (5, 15, 25, 35):
        tape.add(t, "dhcp", "dhcp.discover.received", **known)
        tape.add(t, "dhcp", "dhcp.offer.sent", **known, server="192.168.77.1", file="ipxe.efi")
        tape.add(t + 1, "dhcp", "dhcp.request.received", **known, server="192.168.77.1")
        tape.add(t + 1, "dhcp", "dhcp.ack.sent", **known, server="192.168.77.1", file="ipxe.efi")
        tape.add(t + 5, "machine", "machine.reset", machine="m")
    assert "asked again" not in judge(tape.events).because


def test_an_ack_in_the_name_of_another_server() -> None:
    tape = good_boot().until("machine.powered_on")
    known = {"mac": MAC, "xid": "0x1", "stage": "firmware"}
    tape.add(5, "dhcp", "dhcp.offer.sent", **known, server="192.168.77.1", file="ipxe.efi")
    for t in (6, 10, 18):
        tape.add(t, "dhcp", "dhcp.request.received", **known, server="192.168.77.1")
        tape.add(t, "dhcp", "dhcp.ack.sent", **known, server="192.168.77.9", file="ipxe.efi")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("firmware-dhcp", "dhcp")
    assert "192.168.77.9" in found.because


@pytest.mark.parametrize(("last", "blame"), [("udev", "hook"), ("dhcpcd-once", "kernel")])
def test_a_service_that_never_ends_keeps_hook_from_asking(last: str, blame: str) -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(30, "machine", "guest.init.started", program="/init", console="ttyS1")
    for t, service in ((31, "sysctl"), (32, last)):
        tape.add(t, "machine", "guest.service.started", service=service)
    found = judge(tape.events)
    assert found.blame == blame
    assert ("began with udev last" in found.because) == (blame == "hook")


def test_a_script_that_is_there_only_for_some_is_not_to_blame() -> None:
    tape = good_boot().until("tftp.transfer.finished")
    t = tape.events[-1].t
    path = f"/ipxe/binary/{MAC}/autoexec.ipxe"
    tape.add(t + 1, "http", "http.request.received", id="h9", mac=MAC, path=path)
    tape.add(t + 1, "http", "http.response.finished", id="h9", mac=MAC, path=path, status=404)
    for n in range(3):
        tape.add(t + 2 + n, "dhcp", "dhcp.discover.received", mac=MAC, stage="tinkerbell")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("ipxe", "dhcp")
    assert "got no answer" in found.because
