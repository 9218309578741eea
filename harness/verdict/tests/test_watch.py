"""A run ends as soon as nothing can save it any more, and never before."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict import Watch
from harness.verdict.tests.playing import ended, play, working
from harness.verdict.watch import RULES


def test_a_good_boot_is_left_alone() -> None:
    tape = good_boot()
    assert play(tape, until=tape.events[-1].t) is None


@pytest.mark.parametrize("times", [1.5, 2.0])
def test_a_good_boot_on_a_busy_host_is_left_alone(times: float) -> None:
    tape = Tape()
    for event in good_boot().events:
        tape.add(event.t * times, event.source, event.name, **event.fields)
    assert play(tape, until=tape.events[-1].t) is None


def firmware() -> Tape:
    return good_boot().until("machine.powered_on")


def discover(tape: Tape, *times: float, stage: str = "firmware") -> Tape:
    for t in times:
        tape.add(t, "dhcp", "dhcp.discover.received", mac=MAC, stage=stage)
    return tape


def way_failed(tape: Tape, t: float, way: str) -> None:
    tape.add(t, "machine", "firmware.boot.failed", way=f"UEFI {way} (MAC:x)", reason="Not Found")


@pytest.mark.parametrize("line", ["No bootable device.", "No bootable option or device was found."])
def test_a_firmware_that_gave_up(line: str) -> None:
    tape = firmware()
    tape.add(30, "machine", "firmware.gave_up", line=line, console="ttyS0")
    assert ended(tape, "firmware-gave-up", by=30).hang
    assert ended(tape, "firmware-gave-up", by=30, workflow=False)


def test_a_prompt_that_nobody_answers() -> None:
    tape = firmware()
    tape.add(30, "machine", "firmware.prompt.offered", prompt="iPXE", console="ttyS0")
    assert "iPXE" in ended(tape, "firmware-gave-up", by=30).because


def test_a_reset_gives_the_firmware_another_chance() -> None:
    tape = firmware()
    tape.add(30, "machine", "firmware.gave_up", line="No bootable device.", console="ttyS0")
    tape.add(30, "machine", "machine.reset", reason="host-qmp-system-reset", guest=False)
    tape.add(31, "machine", "console.line.seen", console="ttyS0", text="SeaBIOS")
    assert play(tape, until=100) is None


def test_a_machine_that_nobody_knows_ends_when_its_firmware_gives_up() -> None:
    tape = firmware()
    for t in (5, 9, 17, 33):
        discover(tape, t)
        tape.add(t, "dhcp", "dhcp.ignored", mac=MAC, stage="firmware", reason="no hardware")
    way_failed(tape, 67, "PXEv4")
    assert "no hardware" in ended(tape, "nobody-knows-it", by=67).because
    assert ended(tape, "nobody-knows-it", by=67, workflow=False)
    assert play(tape, workflow=False, disk=True, until=120) is None  # its disk comes later


def test_a_firmware_that_has_only_ipv6_left() -> None:
    tape = good_boot().until("dhcp.offer.sent")
    way_failed(tape, 70, "PXEv4")
    way_failed(tape, 137, "PXEv6")
    tape.add(138, "machine", "firmware.boot.tried", way="HTTP Boot over IPv4", console="ttyS0")
    way_failed(tape, 200, "HTTPv4")
    tape.add(201, "machine", "firmware.boot.tried", way="HTTP Boot over IPv6", console="ttyS0")
    assert ended(tape, "only-ipv6-left", by=201)


def test_a_program_for_another_firmware() -> None:
    tape = Tape()
    tape.add(0, "machine", "machine.powered_on", mac=MAC, firmware="bios", accel="tcg", cpus=1)
    tape.add(5, "dhcp", "dhcp.discover.received", mac=MAC, stage="ipxe", arch=0)
    file = f"{MAC}/snp-arm64.efi"
    tape.add(9, "tftp", "tftp.transfer.finished", id="t1", mac=MAC, file=file, bytes=285696)
    tape.add(
        9, "machine", "console.line.seen", console="ttyS0", text="snp-arm64.efi : 285696 bytes"
    )
    assert play(tape, until=18) is None
    assert ended(tape, "unfit-program", by=19)


@pytest.mark.parametrize(("line", "over"), [("console=ttyS0", True), ("worker_id=x", False)])
def test_a_kernel_that_an_action_starts(line: str, over: bool) -> None:
    tape = good_boot().until("tink.action.reported", action="write")
    tape.add(60, "machine", "guest.kernel.started", version="6.1.0", console="ttyS0")
    tape.add(60, "machine", "guest.cmdline.seen", cmdline=line)
    if over:
        assert ended(tape, "another-kernel", by=60)
    else:
        assert play(tape, until=70) is None


@pytest.mark.parametrize(
    ("reason", "over"), [("no credentials", True), ("192.168.77.1:5000: no answer", False)]
)
def test_a_proxy_that_lets_nobody_through(reason: str, over: bool) -> None:
    tape = good_boot().until("guest.docker.started")
    for t in (36, 37, 38, 39):
        target = "192.168.77.1:5000"
        tape.add(t, "proxy", "proxy.request.refused", mac=MAC, target=target, reason=reason)
    if over:
        assert ended(tape, "pull-refused", by=39)
    else:
        assert play(tape, until=60) is None


@pytest.mark.parametrize("speaks", [False, True])
def test_nobody_who_pulls_the_worker(speaks: bool) -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(25, "machine", "guest.service.started", service="hook-docker")
    tape.add(25, "machine", "guest.service.started", service="hook-bootkit")
    if speaks:
        tape.add(26, "machine", "guest.bootkit.started", console="ttyS1")
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    if speaks:
        assert play(tape, until=80) is None
    else:
        assert ended(tape, "nobody-pulls", by=55)


@pytest.mark.parametrize("program", ["/bin/sh", "/init"])
@pytest.mark.parametrize("speaks", [False, True])
def test_a_shell_in_the_place_of_init(program: str, speaks: bool) -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(32, "machine", "guest.init.started", program=program, console="ttyS1")
    if speaks:  # sh -c "… exec /init"
        tape.add(33, "machine", "console.line.seen", console="ttyS1", text="hook: init started")
    if program == "/bin/sh" and not speaks:
        assert ended(tape, "shell-is-init", by=47)
    else:
        assert play(tape, until=100) is None


def test_what_servers_tell_of_a_silent_machine_is_silence_too() -> None:
    tape = good_boot().until("guest.kernel.started")
    began = tape.events[-1].t
    tape.add(began + 60, "http", "http.answer.unheard", peer="192.168.77.10:5", bytes=9, times=6)
    assert ended(tape, "silence", by=began + 180)


@pytest.mark.parametrize(("placeholder", "pulls"), [(True, False), (True, True), (False, False)])
def test_an_iso_that_nobody_patched(placeholder: bool, pulls: bool) -> None:
    tape = Tape()
    tape.add(1, "machine", "machine.medium.inserted", url="http://x/a.iso", placeholder=placeholder)
    tape.add(2, "machine", "machine.powered_on", mac=MAC)
    tape.add(20, "dhcp", "dhcp.ack.sent", mac=MAC, stage="guest", address="192.168.77.10")
    if pulls:  # somebody wrote into it what it needs
        tape.add(40, "registry", "registry.request.received", id="r1", mac=MAC, path="/v2/")
    if placeholder and not pulls:
        assert ended(tape, "unpatched-medium", by=80)
    else:
        assert play(tape, until=100) is None


def test_dhcp_that_answers_nobody() -> None:
    tape = good_boot().until("tftp.transfer.finished")
    discover(tape, 9, 10, 12, 16, 24, 40, 60, stage="tinkerbell")
    assert play(tape, until=68) is None
    assert ended(tape, "dhcp-in-vain", by=69)


def test_a_machine_with_another_card_tries_that_next() -> None:
    tape = good_boot().until("tftp.transfer.finished")
    discover(tape, 9, 10, 12, 16, 24, 40, 60, stage="tinkerbell")
    assert play(tape, ways=2, until=90) is None


def test_a_machine_that_switched_itself_off() -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "machine.shutdown", reason="guest-shutdown", guest=True)
    tape.add(20, "machine", "qmp.event.seen", event="STOP", data={})
    assert ended(tape, "switched-off", by=20)


def test_a_machine_that_lost_its_power() -> None:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "machine.power.lost", machine="machine")
    tape.add(21, "machine", "machine.exited", machine="machine", status=0)
    assert ended(tape, "switched-off", by=20)


def test_a_machine_that_halted_for_good() -> None:
    tape = good_boot().until("http.response.finished", path="/initramfs-x86_64")
    tape.add(60, "machine", "machine.cpu.halted", machine="machine", at="0000000004f3df19")
    assert ended(tape, "halted", by=60)


def test_a_machine_that_was_reset_halts_no_more() -> None:
    tape = good_boot().until("http.response.finished", path="/initramfs-x86_64")
    tape.add(60, "machine", "machine.cpu.halted", machine="machine", at="0000000004f3df19")
    tape.add(60, "machine", "machine.reset", reason="host-qmp-system-reset", guest=False)
    assert play(tape, until=70) is None


def test_a_machine_that_boots_its_disk_instead() -> None:
    tape = firmware()
    tape.add(20, "machine", "guest.disk.booted", disk="vda", console="ttyS0")
    assert ended(tape, "booted-from-disk", by=20)
    assert play(tape, workflow=False, until=60) is None


def test_a_cable_that_somebody_pulled() -> None:
    tape = good_boot().until("guest.docker.started")
    t = tape.events[-1].t + 1
    tape.add(t, "switch", "link.lost", mac=MAC)
    assert ended(tape, "cable-is-out", by=t + 20)
    assert play(tape, unsettled=lambda now: ["link"] if now < t + 40 else (), until=t + 59) is None
    tape.add(t + 15, "switch", "link.restored", mac=MAC, duration_s=15)
    assert play(tape, until=t + 60) is None


def test_a_machine_that_goes_in_circles() -> None:
    tape = good_boot().until("guest.kernel.started")
    for t in (25, 45, 65):
        tape.add(t, "machine", "machine.reset", reason="guest-reset", guest=True)
    assert ended(tape, "goes-in-circles", by=65)


def test_a_machine_that_gets_further_each_time_does_not() -> None:
    tape = firmware()
    for t, stage in ((10, "firmware"), (20, "tinkerbell"), (30, "guest")):
        discover(tape, t, stage=stage)
        tape.add(t + 1, "machine", "machine.reset", reason="guest-reset", guest=True)
    assert play(tape, until=60) is None


def test_a_download_that_stands_still() -> None:
    tape = good_boot().until("http.transfer.progressed", path="/initramfs-x86_64")
    at = tape.events[-1].t
    assert ended(tape, "silence", by=at + 90).hang


def test_a_download_that_trickles() -> None:
    tape = good_boot().until("http.request.received", path="/initramfs-x86_64")
    for second in range(60):
        tape.add(16 + second, "http", "http.transfer.progressed", id=3, path="/initramfs-x86_64",
                 bytes=1000 * second, length=53_000_000)  # fmt: skip
    ending = ended(tape, "too-slow", by=46)
    assert "1 kB a second" in ending.because


def test_a_download_that_is_merely_slow_is_left_alone() -> None:
    tape = good_boot().until("http.request.received", path="/initramfs-x86_64")
    for second in range(120):
        tape.add(16 + second, "http", "http.transfer.progressed", id=3, path="/initramfs-x86_64",
                 bytes=200_000 * second, length=53_000_000)  # fmt: skip
    assert play(tape, until=136) is None


def test_what_is_to_change_by_itself_is_waited_for() -> None:
    tape = working()
    for t in range(45, 145, 6):
        tape.add(t, "tink", "tink.contexts.sent", id=t, worker_id=MAC, workflows=[])
    found = play(tape, unsettled=lambda now: {"tink"} if now < 100 else ())
    assert found is not None
    assert 112 <= found[0] <= 120


def test_a_firmware_that_gave_up_is_not_saved_by_a_server() -> None:
    tape = firmware()
    tape.add(30, "machine", "firmware.gave_up", line="No bootable device.", console="ttyS0")
    assert play(tape, unsettled=lambda now: {"http"}) is not None
    assert play(tape, unsettled=lambda now: {"machine"}) is None


def test_no_time_passes_while_the_machine_is_held() -> None:
    tape = firmware()
    tape.add(2, "machine", "qmp.event.seen", event="STOP", data={})
    assert play(tape, until=500) is None


def test_a_host_that_was_asleep_has_not_waited() -> None:
    watch = Watch(deadline_s=600, workflow=True)
    for event in firmware().events:
        watch.feed(event)
    assert watch.look(2.0) is None
    assert watch.look(5000.0) is None


def test_every_rule_has_a_name_and_a_source_of_its_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.source and rule.__doc__ for rule in RULES)


def says(tape: Tape, t: float, words: str) -> None:
    tape.add(t, "syslog", "syslog.message.received", mac=MAC, message=f'{{"msg":"{words}"}}')


@pytest.mark.parametrize("words", ["reporting Action Status", "executed action"])
def test_a_report_that_never_arrives(words: str) -> None:
    tape = good_boot().until("tink.action.reported", action="write")
    says(tape, 58, words)
    assert ended(tape, "report-unheard", by=118).hang


def test_a_report_that_arrives_is_no_end() -> None:
    tape = good_boot().until("tink.action.reported", action="write")
    says(tape, 58, "reporting Action Status")
    tape.add(60, "tink", "tink.rpc.received", id=9, rpc="ReportActionStatus", peer="x:1")
    tape.add(60, "tink", "tink.rpc.finished", id=9, rpc="ReportActionStatus", code="OK")
    assert play(tape, until=150) is None


def test_a_reset_after_a_long_action_is_no_silence() -> None:
    tape = good_boot().until("tink.action.reported", action="write")
    tape.add(400, "machine", "machine.reset", machine="machine", guest=True)
    discover(tape, 405, 409)
    assert play(tape, until=409 + 149) is None
    assert ended(tape, "silence", by=409 + 150).hang


def test_words_that_come_after_their_report_tell_of_no_other() -> None:
    tape = good_boot().until("tink.action.reported", action="write")
    call(tape, tape.events[-1].t, "ReportActionStatus")
    says(tape, tape.events[-1].t + 0.01, "reporting Action Status")  # as it was seen with QEMU
    assert play(tape, until=300) is None
    says(tape, 300, "reporting Action Status")
    assert ended(tape, "report-unheard", by=360).hang


def call(tape: Tape, t: float, rpc: str) -> None:
    tape.add(t, "tink", "tink.rpc.received", id=9, rpc=rpc, worker_id=MAC, peer="x:1")
    tape.add(t, "tink", "tink.rpc.finished", id=9, rpc=rpc, code="OK")


def test_once_nothing_is_waited_for_all_rules_hold() -> None:
    watch = Watch(deadline_s=600, workflow=False)
    tape = good_boot().until("dhcp.offer.sent")
    way_failed(tape, 70, "PXEv4")
    way_failed(tape, 200, "HTTPv4")
    tape.add(201, "machine", "firmware.boot.tried", way="HTTP Boot over IPv6", console="ttyS0")
    for event in tape.events:
        watch.feed(event)
    assert watch.look(202) is None
    watch.expect_nothing_more()
    assert watch.look(203) is not None
