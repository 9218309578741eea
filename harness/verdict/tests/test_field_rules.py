"""What fails in the field, by its number: blame and reason from a recorded timeline."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot, report
from harness.verdict import Verdict, judge

CASES: dict[str, tuple[Callable[[], Tape], str, str, str]] = {}


def case(phase: str, blame: str, because: str) -> Callable[[Callable[[], Tape]], None]:
    """Add a way to fail: a tape, and what the verdict on it must say."""

    def add(make: Callable[[], Tape]) -> None:
        CASES[make.__name__] = (make, phase, blame, because)

    return add


def offers(tape: Tape, *, count: int = 4, stage: str = "firmware", **fields: object) -> Tape:
    for number in range(count):
        t = 8.0 + 4 * number
        tape.add(t, "dhcp", "dhcp.discover.received", mac=MAC, stage=stage, arch=7)
        tape.add(t, "dhcp", "dhcp.offer.sent", mac=MAC, stage=stage, address="192.168.77.10",
                 **fields)  # fmt: skip
    return tape


def complains(tape: Tape, t: float, pattern: str, line: str) -> None:
    tape.add(t, "machine", "guest.error.seen", pattern=pattern, line=line, console="ttyS0")


def start() -> Tape:
    return good_boot().until("machine.powered_on")


@case("firmware-dhcp", "link", "DHCP answered the firmware, 4 times, and none of it arrived")
def f8_offers_lost() -> Tape:
    tape = offers(start(), file="ipxe.efi")
    complains(tape, 70, "firmware found no network", "PXE-E18: Server response timeout.")
    return tape


@case("firmware-dhcp", "link", "DHCP answered the firmware, 4 times, and none of it arrived: it")
def f8_offers_to_a_rom_lost() -> Tape:
    """The iPXE of a network card's ROM takes any OFFER."""
    return offers(start(), file="undionly.kpxe", stage="ipxe")


def served(tape: Tape, t: float, number: int, path: str, length: int, size: int) -> None:
    """Add a download whose answer has ``length`` bytes of a file's ``size``."""
    tape.add(t, "http", "http.request.received", id=number, mac=MAC, method="GET", path=path)
    tape.add(t, "http", "http.response.started", id=number, path=path, status=200, length=length,
             file_bytes=size)  # fmt: skip
    tape.add(t, "http", "http.response.finished", id=number, mac=MAC, path=path, status=200,
             bytes=length)  # fmt: skip


@case("hook-boot", "http", "HTTP sent 26 bytes as the whole of /hook/vmlinuz-x86_64, which has 8")
def a_portal_answers_for_the_kernel() -> Tape:
    tape = good_boot().until("http.script.served")
    served(tape, 15, 12, "/hook/vmlinuz-x86_64", 26, 8_000_000)
    served(tape, 16, 13, "/hook/initramfs-x86_64", 53_000_000, 53_000_000)
    return tape


def initramfs(*lengths: int) -> Tape:
    """Return a panic after an initramfs of 53 MB was sent with these lengths."""
    tape = good_boot().until("http.script.served")
    served(tape, 15, 12, "/hook/vmlinuz-x86_64", 8_000_000, 8_000_000)
    for number, length in enumerate(lengths, 13):
        served(tape, number + 3, number, "/hook/initramfs-x86_64", length, 53_000_000)
    tape.add(18.0, "machine", "guest.kernel.started", version="6.1.0", console="ttyS0")
    tape.add(20.0, "machine", "guest.panicked", console="ttyS0",
             line="Kernel panic - not syncing: VFS: Unable to mount root fs")  # fmt: skip
    return tape


@case("hook-boot", "http", "as the whole of /hook/initramfs-x86_64, which has 53000000, and the ke")
def half_an_initramfs() -> Tape:
    return initramfs(20_000_000)


@case("ipxe", "http", "HTTP sent 7 bytes as the whole of /auto.ipxe, which has 19")
def a_cache_answers_for_the_script() -> Tape:
    tape = good_boot().until("dhcp.ack.sent", stage="tinkerbell")
    text = "#!ipxe\nkernel vmlin"
    tape.add(14, "http", "http.script.served", id=9, mac=MAC, path="/auto.ipxe", script=text)
    tape.add(14, "http", "http.response.started", id=9, path="/auto.ipxe", status=200, length=7)
    tape.add(14, "http", "http.response.finished", id=9, path="/auto.ipxe", status=200, bytes=7)
    tape.add(15, "machine", "firmware.prompt.offered", prompt="iPXE", console="ttyS0")
    return tape


@case("hook-boot", "kernel", "the guest's kernel panicked: Kernel panic - not syncing: VFS")
def a_whole_initramfs_after_half_of_one() -> Tape:
    return initramfs(20_000_000, 53_000_000)


@case("firmware-dhcp", "dhcp", "the firmware found none of the OFFERs of 192.168.77.1 valid")
def f8_offers_of_no_use() -> Tape:
    tape = offers(start(), file="ipxe.efi", server="192.168.77.1")
    complains(tape, 70, "firmware found no network", "PXE-E16: No valid offer received.")
    return tape


@case("firmware-dhcp", "dhcp", "an address, 4 times, but never a boot file")
def f13_no_boot_file() -> Tape:
    return offers(start())


@case("firmware-dhcp", "dhcp", "asked once for the address it was offered and got no ACK")
def no_ack() -> Tape:
    tape = offers(start(), count=1, file="ipxe.efi")
    tape.add(12, "dhcp", "dhcp.request.received", mac=MAC, stage="firmware")
    return tape


@case("firmware-dhcp", "dhcp", "DHCP sends the firmware to 192.168.77.99 for ipxe.efi")
def wrong_next_server() -> Tape:
    tape = good_boot().until("dhcp.request.received")
    tape.add(7, "dhcp", "dhcp.ack.sent", mac=MAC, stage="firmware", file="ipxe.efi",
             next_server="192.168.77.99", server="192.168.77.1")  # fmt: skip
    return tape


E18 = "PXE-E18: Server response timeout."


def asks_tftp(*peers: str, answered: bool = True, says: str = E18) -> Tape:
    tape = good_boot().until("dhcp.ack.sent")
    for number, peer in enumerate(peers):
        tape.add(7 + 4 * number, "tftp", "tftp.request.received", id=number, mac=MAC, peer=peer,
                 file="ipxe.efi", opcode="RRQ")  # fmt: skip
        if answered:
            tape.add(7 + 4 * number, "tftp", "tftp.oack.sent", id=number, options={})
    complains(tape, 40, "firmware found no network", says)
    return tape


@case("nbp-download", "link", "what TFTP sends from ports of its own is lost on the way")
def f16_new_ports_lost() -> Tape:
    return asks_tftp("192.168.77.10:1339", "192.168.77.10:1339", "192.168.77.10:1339")


@case("nbp-download", "tftp", "asked once for ipxe.efi, and TFTP sent it nothing (PXE-E18)")
def f2_tftp_says_nothing() -> Tape:
    return asks_tftp("192.168.77.10:1339", answered=False)


@case("nbp-download", "link", "TFTP answered, and nothing of that arrived (Connection timed out)")
def f2_answers_lost() -> Tape:
    return asks_tftp("x:1", says=".. Connection timed out (http://ipxe.org/4c126035)")


def ipxe(file: str) -> Tape:
    tape = good_boot().until("tftp.transfer.finished")
    who = {"mac": MAC, "stage": "tinkerbell"}
    tape.add(9, "dhcp", "dhcp.discover.received", **who)
    tape.add(9, "dhcp", "dhcp.offer.sent", file=file, **who)
    tape.add(10, "dhcp", "dhcp.request.received", **who)
    tape.add(10, "dhcp", "dhcp.ack.sent", file=file, **who)
    return tape


@case("ipxe", "dhcp", "(architecture 0) x/snp-arm64.efi, and a BIOS starts no EFI program")
def f4_program_of_a_pi() -> Tape:
    tape = start()
    tape.add(5, "dhcp", "dhcp.discover.received", mac=MAC, stage="ipxe", arch=0)
    tape.add(6, "dhcp", "dhcp.ack.sent", mac=MAC, stage="ipxe", file="tftp://x/snp-arm64.efi")
    tape.add(9, "tftp", "tftp.transfer.finished", id=1, mac=MAC, file="x/snp-arm64.efi", bytes=9)
    return tape


@case("ipxe", "dhcp", "DHCP gave iPXE ipxe.efi again instead of its script")
def f18_no_script() -> Tape:
    return ipxe("ipxe.efi")


SCRIPT = "://192.168.77.1:7080/ipxe/script/auto.ipxe"


@case("ipxe", "http", "iPXE could not fetch its script from http")
def script_refused() -> Tape:
    tape = ipxe(f"http{SCRIPT}")
    complains(tape, 11, "ipxe error", f"http{SCRIPT}... Connection refused (https://ipxe.org/0)")
    return tape


@case("ipxe", "link", "iPXE could not reach its script at http")
def script_unreached() -> Tape:
    tape = ipxe(f"http{SCRIPT}")
    complains(tape, 31, "ipxe error", f"http{SCRIPT}... Connection timed out (https://ipxe.org/4)")
    return tape


@case("ipxe", "tls", "iPXE made no TLS connection for https")
def f26_no_tls() -> Tape:
    tape = ipxe(f"https{SCRIPT}")
    complains(
        tape, 11, "ipxe error", f"https{SCRIPT}... Operation not permitted (https://ipxe.org)"
    )
    return tape


@case("ipxe", "boot-script", "iPXE got its script and could not do what it says")
def script_names_another_place() -> Tape:
    tape = good_boot().until("http.script.served")
    line = "http://10.0.0.9/vmlinuz-x86_64... Connection timed out (https://ipxe.org/4c0a6092)"
    complains(tape, 44, "ipxe error", line)
    return tape


@case("kernel-initramfs", "http", "HTTP broke off /vmlinuz-x86_64 after 4.0 MB of 8.2 MB, twice")
def f20_broken_off() -> Tape:
    tape = good_boot().until("http.request.received", path="/vmlinuz-x86_64")
    for t in (15, 17):
        tape.add(t, "http", "http.response.cut", id=t, path="/vmlinuz-x86_64", bytes=4_000_000,
                 length=8_200_000, how="reset")  # fmt: skip
    return tape


@case("kernel-initramfs", "http", "HTTP sent nothing more of /initramfs-x86_64 for 70 s, after 26")
def f20_stands_still() -> Tape:
    tape = good_boot().until("http.transfer.progressed", path="/initramfs-x86_64")
    tape.add(tape.events[-1].t + 70, "run", "run.decided", rule="silence", because="x", hang=True)
    tape.add(99, "http", "http.response.aborted", id=3, path="/initramfs-x86_64", bytes=1)
    return tape


@case("hook-boot", "kernel", "iPXE could not start what it fetched: “Failed to boot”")
def script_failed_to_boot() -> Tape:
    tape = good_boot().until("http.response.finished", path="/initramfs-x86_64")
    complains(tape, 20, "boot script failed", "Failed to boot")
    return tape


def linux(cmdline: str = "console=ttyS1") -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(18.1, "machine", "guest.cmdline.seen", cmdline=cmdline)
    tape.add(20, "machine", "guest.init.started", console="ttyS0")
    return tape


@case("hook-boot", "kernel", "Hook runs, and its network card was never heard of")
def f32_no_driver() -> Tape:
    return linux()


@case("hook-boot", "guest-network", "Hook was told interface=eth7, and asked for no address")
def f37_no_such_interface() -> Tape:
    return linux("interface=eth7")


@case("hook-boot", "guest-network", "Hook can't set up the static address it was told")
def f40_static_address() -> Tape:
    tape = linux("ipam=52-54-00-12-34-56::")
    complains(tape, 21, "address refused", "static-network: ipam=52-54:: lacks the IP address")
    return tape


@case("worker-pull", "guest-network", "docker never reached the registry, once: dial tcp")
def f40_static_address_of_another_network() -> Tape:
    tape = linux("ipam=52-54-00-12-34-56::192.168.99.10:255.255.255.0:192.168.99.1::192.168.99.1")
    tape.add(35, "machine", "guest.docker.started", console="ttyS0")
    line = 'hook-bootkit: {"error":"dial tcp 192.168.77.1:5000: connect: no route to host","x":1}'
    tape.add(40, "machine", "guest.error.seen", line=line, console="ttyS1")
    return tape


@case("hook-boot", "docker", "failed to set log opts: parse")
def f44_docker_ends() -> Tape:
    tape = good_boot().until("dhcp.ack.sent", stage="guest")
    for t in (30, 40, 50):
        complains(tape, t, "docker did not start",
                  "hook-docker: failed to start daemon: failed to set log opts: parse")  # fmt: skip
        complains(tape, t, "docker did not start", "hook-docker: error starting up Docker")
    return tape


@case(
    "hook-boot",
    "machine",
    "the guest's kernel panicked: Kernel panic - System is deadlocked on mem",
)
def too_little_memory() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "guest.panicked", console="ttyS0",
             line="Kernel panic - System is deadlocked on memory")  # fmt: skip
    return tape


def docker(cmdline: str = "docker_registry=192.168.77.1:5000") -> Tape:
    tape = good_boot().until("guest.docker.started")
    tape.add(36, "machine", "guest.cmdline.seen", cmdline=cmdline)
    return tape


@case("worker-pull", "boot-script", "names neither docker_registry nor tink_worker_image")
def f28_no_registry() -> Tape:
    return docker("console=ttyS1")


@case("worker-pull", "boot-script", "docker can't reach the proxy it was told to use, once")
def f43_proxy() -> Tape:
    tape = docker("HTTP_PROXY=http://192.168.77.7:3128 docker_registry=r:5000")
    line = "Get https://r:5000/v2/: proxyconnect tcp: dial tcp 192.168.77.7:3128: i/o timeout"
    complains(tape, 40, "image pull failure", line)
    return tape


CLOCK = (
    "image pull failure: x509: certificate has expired or is not yet valid: current time"
    " 2001-01-01T00:00:41Z is before 2026-11-20T10:00:00Z"
)


@case(
    "worker-pull", "clock", "Hook's clock says 2001-01-01 where it is 2026-11-21 and asked no time"
)
def f35_clock() -> Tape:
    tape = docker()
    tape.events[0] = tape.events[0].__class__(
        seq=1, t=0.01, source="run", name="run.started",
        fields={"wall": "2026-11-21T14:00:00+00:00"},
    )  # fmt: skip
    tape.add(40, "registry", "registry.tls.failed", reason="bad certificate")
    complains(tape, 40, "image pull failure", CLOCK)
    return tape


@case(
    "workflow", "clock", "and what a time server answered did not arrive: to it the certificate is"
)
def f35_answers_lost() -> Tape:
    tape = good_boot().until("guest.worker.started")
    tape.events[0] = CASES["f35_clock"][0]().events[0]
    for t in (42, 43):
        tape.add(t, "ntp", "ntp.request.received", mac=MAC, peer="x:1", version=4, mode=3)
        tape.add(t, "ntp", "ntp.answer.sent", peer="x:1", stratum=1)
        complains(tape, t + 0.9, "clock not set", "ntp call to 192.168.77.1 failed: i/o timeout")
    bad = "the client sent alert: bad certificate"
    tape.add(44, "tink", "tink.connection.failed", id=1, peer="x:2", reason=bad)
    tape.add(44, "syslog", "syslog.message.received", mac=MAC, message=CLOCK, tag="x")
    return tape


def lookup(why: str) -> Tape:
    tape = docker()
    line = f"image pull failure: dial tcp: lookup registry.lab on 192.168.77.1:53: {why}"
    tape.add(39, "dns", "dns.query.received", id=1, name="registry.lab", type="A")
    if why == "no such host":
        tape.add(39, "dns", "dns.answer.sent", id=1, name="registry.lab", rcode="NXDOMAIN")
    complains(tape, 40, "image pull failure", line)
    return tape


@case("worker-pull", "dns", "the name server answers NXDOMAIN for registry.lab, once")
def f48_name_unknown() -> Tape:
    return lookup("no such host")


@case("worker-pull", "dns", "the name server was asked once for registry.lab and never answered")
def f48_name_server_mute() -> Tape:
    return lookup("read udp 192.168.77.10:4000->192.168.77.1:53: i/o timeout")


@case("worker-pull", "guest-network", "Hook can't ask anybody for registry.lab")
def f41_no_name_server() -> Tape:
    tape = docker()
    line = "lookup registry.lab on [::1]:53: read udp [::1]:40->[::1]:53: read: connection refused"
    complains(tape, 40, "image pull failure", line)
    return tape


@case("worker-pull", "hook", "docker is up, but nobody asked the registry")
def a_time_server_that_has_no_name_is_not_to_blame() -> Tape:
    tape = docker()
    line = "ntp call to pool.ntp.org failed: lookup pool.ntp.org on 192.168.77.1:53: no such host"
    complains(tape, 40, "clock not set", line)
    return tape


@case("workflow", "worker", "the worker ends within three seconds of its start")
def worker_ends() -> Tape:
    tape = good_boot().until("registry.blob.served")
    complains(tape, 45, "worker did not start",
              "bootstrapping tink-worker failed: tink-worker container is not running")  # fmt: skip
    return tape


@case("worker-pull", "registry", "docker got a layer of the worker's image that is not what it")
def f57_layer_corrupt() -> Tape:
    tape = good_boot().until("registry.blob.served")
    complains(tape, 45, "layer refused", "filesystem layer verification failed for digest sha256:1")
    return tape


def worker(cmdline: str = "grpc_authority=192.168.77.1:42113") -> Tape:
    tape = docker(f"{cmdline} worker_id={MAC}")
    tape.add(0.2, "tink", "service.started", service="tink", address="192.168.77.1", port=42113)
    tape.add(42, "machine", "guest.worker.started", console="ttyS0")
    return tape


def logs(tape: Tape, t: float, message: str) -> None:
    tape.add(t, "syslog", "syslog.message.received", mac=MAC, tag="abc", message=message)


@case("workflow", "boot-script", "the kernel command line has no grpc_authority")
def f28_no_authority() -> Tape:
    return worker("console=ttyS1")


@case(
    "workflow", "boot-script", "told to call 192.168.77.9:42113, and Tinkerbell listens at 192.16"
)
def wrong_authority() -> Tape:
    return worker("grpc_authority=192.168.77.9:42113")


@case("workflow", "worker", "never called Tinkerbell: rpc error: connection refused")
def f60_what_the_worker_says() -> Tape:
    tape = worker()
    logs(tape, 50, '{"level":"error","msg":"x","error":"rpc error: connection refused"}')
    return tape


@case("workflow", "tink", "accepts connections, twice, and does not begin to speak HTTP/2 on them")
def f62_no_preface() -> Tape:
    tape = worker()
    for t in (45, 66):
        tape.add(t, "tink", "tink.connection.opened", id=t, peer="x:1")
        logs(tape, t + 20, '{"level":"error","error":"error reading server preface: timeout"}')
    return tape


@case("workflow", "link", "the worker reports action 'write', and nothing of that arrives")
def f62_half_open_in_mid_action() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    words = '{"level":"info","msg":"reporting Action Status","actionName":"write","x":"y"}'
    logs(tape, 58, words)
    tape.add(200, "machine", "console.line.seen", console="ttyS0", text="still here")
    return tape


@case(
    "workflow", "unknown", "reset in mid-workflow, once, and its worker was not heard again: “No b"
)
def a_reset_in_mid_action_and_nothing_to_boot() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    tape.add(60, "machine", "machine.reset", machine="machine", guest=True)
    tape.add(160, "machine", "firmware.gave_up", line="No bootable device.", console="ttyS0")
    return tape


@case("workflow", "action", "action 'write' was still running")
def a_long_action_whose_report_was_told_of_late() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    t = tape.events[-1].t
    tape.add(t, "tink", "tink.rpc.received", id=9, rpc="ReportActionStatus", peer="x:1")
    report(tape, t, "write", "STATE_RUNNING", id=9)
    tape.add(t, "tink", "tink.rpc.finished", id=9, rpc="ReportActionStatus", code="OK")
    logs(tape, t + 0.01, '{"level":"info","msg":"reporting Action Status","actionName":"write"}')
    tape.add(200, "machine", "console.line.seen", console="ttyS0", text="still here")
    return tape


@case("workflow", "tink", "Tinkerbell's server speaks HTTP/2, but answered no call any more, once")
def f62_silent_in_mid_action() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    tape.add(58, "tink", "tink.call.ignored", id=1, peer="x:1", stream=9)
    return tape


@case("workflow", "tink", "got none: Workflow is in preparing state")
def f67_preparing() -> Tape:
    tape = worker()
    for t in (45, 105):
        tape.add(t, "tink", "tink.rpc.received", id=t, rpc="GetAction")
        tape.add(t + 60, "tink", "tink.rpc.finished", id=t, rpc="GetAction",
                 code="FAILED_PRECONDITION", details="Workflow is in preparing state")  # fmt: skip
    return tape


def fails(words: str) -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    logs(tape, 55, f'{{"level":"error","msg":"execute workflow","error":"{words}"}}')
    report(tape, 56, "write", "STATE_FAILED")
    return tape


@case("workflow", "hook", "pull image: 127.0.0.1/embedded/image2disk: connection refused")
def f55_embedded_image() -> Tape:
    return fails("pull image: 127.0.0.1/embedded/image2disk: connection refused")


@case("workflow", "template", "bind source path does not exist: /nowhere")
def f71_volume() -> Tape:
    return fails("create container: DOCKER CREATE: bind source path does not exist: /nowhere")


@case("workflow", "action", "action 'write' failed: wait container: exit 3")
def what_the_worker_says_of_an_action() -> Tape:
    return fails("wait container: exit 3")


@case("workflow", "disk", "action 'write' failed, and the disk does: “I/O error, dev vda")
def disk_fails() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    complains(tape, 55, "disk error", "I/O error, dev vda, sector 2048")
    report(tape, 56, "write", "STATE_FAILED")
    return tape


@case("firmware-dhcp", "firmware", "the machine booted from vda instead of the network")
def f1_from_disk() -> Tape:
    tape = start()
    tape.add(30, "machine", "guest.disk.booted", disk="vda", console="ttyS0")
    return tape


def installed() -> Tape:
    tape = Tape()
    for event in good_boot().until("tink.workflow.changed", state="STATE_SUCCESS").events:
        tape.add(event.t, event.source, event.name, **event.fields)
        if event.name == "machine.powered_on":
            tape.add(event.t, "run", "run.awaits.disk")
    return tape


def restarted() -> Tape:
    tape = installed()
    tape.add(80, "machine", "machine.reset", reason="guest-reset", guest=True)
    return tape


@case("disk-boot", "action", "the machine was not restarted after it")
def f65_never_restarted() -> Tape:
    return installed()


@case("disk-boot", "disk", "found nothing to boot: “No bootable device.”")
def f75_nothing_on_disk() -> Tape:
    tape = restarted()
    tape.add(99, "machine", "firmware.gave_up", line="No bootable device.", console="ttyS0")
    return tape


@case("disk-boot", "tink", "was booted from the network again, once")
def f5_netboots_again() -> Tape:
    tape = restarted()
    tape.add(99, "http", "http.script.served", id=9, mac=MAC, path="/auto.ipxe", script="#!ipxe")
    return tape


def test_the_first_boot_from_disk_is_the_end() -> None:
    tape = restarted()
    tape.add(99, "machine", "guest.disk.booted", disk="vda", console="ttyS0")
    verdict = judge(tape.events)
    assert verdict.passed
    assert verdict.because == "workflow default/hello ended SUCCESS; the machine booted from vda"


@pytest.mark.parametrize("name", CASES)
def test_it_is_named(name: str) -> None:
    make, phase, blame, because = CASES[name]
    verdict = judge(make().events)
    assert (verdict.failed_in, verdict.blame) == (phase, blame), verdict.because
    assert because in verdict.because
    assert verdict.evidence


def test_what_comes_of_looking_is_no_evidence() -> None:
    tape = f20_stands_still_tape()
    before: Verdict = judge(tape.events)
    complains(tape, 120, "soft lockup", "BUG: soft lockup - CPU#0 stuck for 26s!")
    tape.add(121, "machine", "guest.panicked", line="sysrq triggered crash", console="ttyS0")
    assert judge(tape.events).because == before.because


def f20_stands_still_tape() -> Tape:
    return CASES["f20_stands_still"][0]()
