"""Every way to fail: a boot as its timeline tells it, and the verdict that is right."""

from __future__ import annotations

from collections.abc import Callable

from harness.scenario.tests.samples import MAC, Tape, change, good_boot, report

CASES: dict[str, tuple[Callable[[], Tape], str, str, str]] = {}


def case(phase: str, blame: str, because: str) -> Callable[[Callable[[], Tape]], None]:
    """Add a way to fail: a tape, and what the verdict on it must be."""

    def add(make: Callable[[], Tape]) -> None:
        CASES[make.__name__] = (make, phase, blame, because)

    return add


@case(
    "nbp-download",
    "http",
    "HTTP sent the firmware elsewhere (307) for /ipxe/binary//ipxe.efi, where it did not go",
)
def firmware_redirected() -> Tape:
    tape = good_boot().until("dhcp.ack.sent")
    path = "/ipxe/binary//ipxe.efi"
    tape.add(7, "http", "http.request.received", id=1, mac=MAC, method="HEAD", path=path)
    tape.add(7, "http", "http.response.finished", id=1, mac=MAC, path=path, status=307, bytes=0)
    return tape


URL = f"http://192.168.77.1:7080/iso/{MAC}/hook.iso"


@case(
    "firmware-dhcp",
    "http",
    "the machine's CD drive is empty, its BMC got no ISO: “the server answers 404”",
)
def no_medium() -> Tape:
    tape = Tape()
    tape.add(1, "machine", "machine.medium.refused", url=URL, reason="the server answers 404")
    tape.add(2, "machine", "machine.powered_on", mac=MAC)
    return tape


@case(
    "hook-boot",
    "http",
    "the ISO came to the machine unpatched: its placeholder stands where Hook's kernel arguments "
    "belong, so Hook knows neither worker_id nor grpc_authority",
)
def iso_unpatched() -> Tape:
    tape = Tape()
    tape.add(1, "machine", "machine.medium.inserted", url=URL, bytes=9, placeholder=True)
    tape.add(2, "machine", "machine.powered_on", mac=MAC)
    tape.add(30, "dhcp", "dhcp.discover.received", mac=MAC, stage="guest")
    return tape


@case("firmware-dhcp", "firmware", "the firmware never asked for an address")
def no_discover() -> Tape:
    return good_boot().until("machine.powered_on")


@case(
    "firmware-dhcp",
    "tink",
    f"DHCP did not answer the firmware: no Hardware has this MAC ({MAC})",
)
def ignored() -> Tape:
    tape = good_boot().until("dhcp.discover.received")
    tape.add(5, "dhcp", "dhcp.ignored", mac=MAC, stage="firmware",
             reason="no Hardware has this MAC")  # fmt: skip
    return tape


@case("firmware-dhcp", "dhcp", "the firmware asked twice for an address and got no answer")
def unanswered() -> Tape:
    tape = good_boot().until("dhcp.discover.received")
    tape.add(9, "dhcp", "dhcp.discover.received", mac=MAC, stage="firmware")
    return tape


@case(
    "firmware-dhcp",
    "unknown",
    "the firmware never took the OFFER (once sent): not enough evidence whether it was lost or "
    "refused",
)
def offer_not_taken() -> Tape:
    return good_boot().until("dhcp.offer.sent")


@case("firmware-dhcp", "firmware", "the firmware got ipxe.efi in its ACK, but never asked for it")
def never_fetched() -> Tape:
    return good_boot().until("dhcp.ack.sent")


@case(
    "firmware-dhcp",
    "dhcp",
    "DHCP gave the firmware an address but nothing to boot (file '/netboot-not-allowed')",
)
def not_allowed() -> Tape:
    tape = good_boot().until("dhcp.request.received")
    tape.add(6, "dhcp", "dhcp.ack.sent", mac=MAC, stage="firmware", file="/netboot-not-allowed")
    return tape


@case("nbp-download", "tftp", "TFTP refused ipxe.efi: file does not exist")
def no_boot_program() -> Tape:
    tape = good_boot().until("tftp.request.received")
    text = "file does not exist"
    tape.add(6.2, "tftp", "tftp.error.sent", id=1, file="ipxe.efi", code=1, text=text)
    return tape


@case(
    "nbp-download",
    "unknown",
    "the firmware went silent after 500 kB of ipxe.efi: not enough evidence whether it or the "
    "network stopped",
)
def silent_firmware() -> Tape:
    tape = good_boot().until("tftp.transfer.progressed")
    tape.add(60, "tftp", "tftp.transfer.timed_out", id=2, file="ipxe.efi", bytes=500_000)
    return tape


@case("nbp-download", "firmware", "the firmware broke off ipxe.efi: disk full")
def broken_off() -> Tape:
    tape = good_boot().until("tftp.transfer.progressed")
    fields = {"file": "ipxe.efi", "code": 3, "text": "disk full", "bytes": 500_000}
    tape.add(7, "tftp", "tftp.transfer.aborted", id=2, **fields)
    return tape


@case("ipxe", "ipxe", "iPXE never asked for an address")
def ipxe_without_dhcp() -> Tape:
    return good_boot().until("tftp.transfer.finished")


@case("ipxe", "ipxe", "iPXE has an address, but never asked for its script")
def no_script_asked() -> Tape:
    return good_boot().until("dhcp.ack.sent", stage="tinkerbell")


@case("ipxe", "http", "HTTP answered 404 for /ipxe/script/auto.ipxe")
def no_script() -> Tape:
    tape = good_boot().until("dhcp.ack.sent", stage="tinkerbell")
    path = "/ipxe/script/auto.ipxe"
    tape.add(14, "http", "http.request.received", id=1, path=path)
    tape.add(14, "http", "http.response.finished", id=1, path=path, status=404, bytes=0)
    return tape


@case("ipxe", "ipxe", "iPXE got its script, but asked for nothing that it names")
def script_without_consequence() -> Tape:
    return good_boot().until("http.script.served")


@case("kernel-initramfs", "http", "HTTP answered 404 for /vmlinuz-x86_64, twice")
def no_kernel() -> Tape:
    tape = good_boot().until("http.request.received", path="/vmlinuz-x86_64")
    for t in (15, 17):
        path = "/vmlinuz-x86_64"
        tape.add(t, "http", "http.response.finished", id=t, path=path, status=404, bytes=0)
    return tape


@case(
    "kernel-initramfs",
    "unknown",
    "iPXE left after 27 MB of 53 MB of /initramfs-x86_64: not enough evidence why",
)
def left_early() -> Tape:
    tape = good_boot().until("http.transfer.progressed", path="/initramfs-x86_64")
    fields = {"path": "/initramfs-x86_64", "bytes": 26_900_000, "length": 53_000_000}
    tape.add(17, "http", "http.response.aborted", id=3, **fields)
    return tape


@case(
    "kernel-initramfs",
    "unknown",
    "initramfs-x86_64 was not through in time: 26 MB of 53 MB; not enough evidence whether the"
    " server is slow or the way to it",
)
def too_slow() -> Tape:
    return good_boot().until("http.transfer.progressed", path="/initramfs-x86_64")


def slowly(waiting: int) -> Tape:
    """Return a download at 1 MB/s, with so many octets that wait to be acknowledged."""
    tape = good_boot().until("http.transfer.progressed", path="/initramfs-x86_64")
    for second in range(10):
        tape.add(
            *(17 + second, "http", "http.transfer.progressed"),
            id=3,
            path="/initramfs-x86_64",
            bytes=27_000_000 + second * 1_000_000,
            length=53_000_000,
            waiting=waiting,
        )
    return tape


@case(
    "kernel-initramfs",
    "link",
    "initramfs-x86_64 was not through in time: 36 MB of 53 MB; what was sent waits on its way",
)
def slow_link() -> Tape:
    return slowly(60_000)


@case(
    "kernel-initramfs",
    "http",
    "initramfs-x86_64 was not through in time: 36 MB of 53 MB; nothing that was sent waits on its"
    " way, so that it is the server which is slow",
)
def slow_server() -> Tape:
    return slowly(0)


@case("kernel-initramfs", "ipxe", "iPXE got /vmlinuz-x86_64 and asked for nothing after it")
def no_initramfs_asked() -> Tape:
    return good_boot().until("http.response.finished", path="/vmlinuz-x86_64")


@case(
    "hook-boot",
    "kernel",
    "kernel and initramfs were fetched, but no kernel spoke on a console; the console said last: "
    "“EFI stub: failed”",
)
def silent_kernel() -> Tape:
    tape = good_boot().until("http.response.finished", path="/initramfs-x86_64")
    tape.add(20, "machine", "console.line.seen", console="ttyS0", text="EFI stub: failed")
    return tape


@case(
    "hook-boot",
    "kernel",
    "kernel and initramfs were fetched, and the CPU stopped for good, halted with interrupts off, "
    "before a kernel spoke on a console; the console said last: “Probing EDD”",
)
def damaged_kernel() -> Tape:
    tape = good_boot().until("http.response.finished", path="/initramfs-x86_64")
    tape.add(20, "machine", "console.line.seen", console="ttyS0", text="Probing EDD")
    tape.add(24, "machine", "machine.cpu.halted", machine="machine", at="0000000004f3df19")
    return tape


@case("firmware-dhcp", "firmware", "the machine halted for good in firmware dhcp")
def halted_firmware() -> Tape:
    tape = good_boot().until("machine.powered_on")
    tape.add(4, "machine", "machine.cpu.halted", machine="machine", at="0000000000007c02")
    return tape


@case("hook-boot", "kernel", "the guest's kernel panicked: VFS: Unable to mount root fs")
def panicked() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "guest.panicked", line="VFS: Unable to mount root fs", console="ttyS0")
    return tape


@case("hook-boot", "hook", "Hook never asked for an address")
def hook_without_dhcp() -> Tape:
    return good_boot().until("guest.kernel.started")


@case(
    "hook-boot",
    "hook",
    "Hook has an address, but its docker engine never came up: “overlay: module not found”",
)
def no_docker() -> Tape:
    tape = good_boot().until("dhcp.ack.sent", stage="guest")
    tape.add(30, "machine", "guest.error.seen", line="overlay: module not found", console="ttyS0")
    return tape


@case("hook-boot", "hook", "the machine switched itself off in hook boot")
def switched_off() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "machine.shutdown", reason="guest-shutdown", guest=True)
    return tape


@case("ipxe", "link", "the machine's link has no carrier since 12.0 s")
def link_lost() -> Tape:
    tape = good_boot().until("http.script.served")
    tape.add(5, "switch", "link.lost", mac=MAC)
    tape.add(6, "switch", "link.restored", mac=MAC, duration_s=1.0)
    tape.add(12, "switch", "link.lost", mac=MAC)
    tape.add(13, "switch", "link.blocked", mac="52:54:00:ff:ff:ff")
    return tape


@case("firmware-dhcp", "link", "the switch's port forwards nothing since 0.1 s")
def port_blocked() -> Tape:
    tape = good_boot().until("machine.powered_on")
    tape.add(0.1, "switch", "link.blocked", mac=MAC)
    return tape


@case(
    "firmware-dhcp",
    "link",
    "the switch's port forwarded nothing for 45.0 s and swallowed 9 frames;"
    " the firmware asked no more after it",
)
def port_blocked_too_long() -> Tape:
    tape = good_boot().until("machine.powered_on")
    tape.add(0.1, "switch", "link.blocked", mac=MAC)
    tape.add(45.1, "switch", "link.forwarding", mac=MAC, duration_s=45.0, lost_frames=9)
    return tape


@case("hook-boot", "machine", "the machine lost its power in hook boot")
def power_lost() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "machine.power.lost", machine="machine")
    return tape


@case("hook-boot", "host", "QEMU ended with status 1: cannot allocate memory")
def qemu_died() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "machine", "machine.exited", status=1, last_lines=["cannot allocate memory"])
    return tape


@case("worker-pull", "hook", "docker is up, but nobody asked the registry for the worker")
def nobody_pulled() -> Tape:
    return good_boot().until("guest.docker.started")


HTTP_TO_HTTPS = "http: server gave HTTP response to HTTPS client"


@case(
    "worker-pull",
    "registry",
    "the registry has no TLS and Hook was not told: "
    "http: server gave HTTP response to HTTPS client",
)
def plain_http() -> Tape:
    tape = good_boot().until("guest.docker.started")
    tape.add(40, "machine", "guest.error.seen", line=HTTP_TO_HTTPS, console="ttyS1")
    return tape


@case(
    "worker-pull",
    "registry",
    "no TLS connection to the registry came about: unknown certificate authority",
)
def strange_certificate() -> Tape:
    tape = good_boot().until("guest.docker.started")
    tape.add(40, "registry", "registry.tls.failed", reason="unknown certificate authority")
    return tape


@case("worker-pull", "registry", "the registry refused the credentials for /v2/")
def wrong_password() -> Tape:
    tape = good_boot().until("guest.docker.started")
    tape.add(40, "registry", "registry.auth.challenged", id=1, path="/v2/", scheme="Basic")
    tape.add(40, "registry", "registry.auth.refused", id=2, path="/v2/", user="hook")
    return tape


def unreached(why: str) -> Tape:
    """Return a boot whose docker can't reach the registry."""
    tape = good_boot().until("guest.docker.started")
    line = f'hook-bootkit: {{"error":"Get \\"http://192.168.77.1:5000/v2/\\": {why}","x":1}}'
    tape.add(40, "machine", "guest.error.seen", line=line, console="ttyS1")
    return tape


UNREACHED = "docker never reached the registry, once: "
NO_ROUTE = "dial tcp 192.168.77.1:5000: connect: network is unreachable"
REFUSED = "dial tcp 192.168.77.1:5000: connect: connection refused"
SILENT = "dial tcp 192.168.77.1:5000: i/o timeout"
NO_NAME = "lookup registry.lab on 192.168.77.1:53: no such host"


@case("worker-pull", "guest-network", UNREACHED + NO_ROUTE)
def no_route() -> Tape:
    return unreached(NO_ROUTE)


@case("worker-pull", "registry", UNREACHED + REFUSED)
def refused() -> Tape:
    return unreached(REFUSED)


@case("worker-pull", "link", UNREACHED + SILENT)
def syn_unanswered() -> Tape:
    return unreached(SILENT)


@case("worker-pull", "dns", "registry.lab is not a name that the machine's name server knows")
def no_name() -> Tape:
    return unreached(NO_NAME)


@case("worker-pull", "hook", "the registry asked for credentials and Hook came with none")
def no_password() -> Tape:
    tape = good_boot().until("guest.docker.started")
    tape.add(40, "registry", "registry.request.received", id=1, path="/v2/")
    tape.add(40, "registry", "registry.auth.challenged", id=1, path="/v2/", scheme="Basic")
    return tape


@case(
    "worker-pull",
    "registry",
    "the registry answered 404 MANIFEST_UNKNOWN for /v2/tink-worker/manifests/v0.12.9, twice",
)
def no_manifest() -> Tape:
    tape = good_boot().until("guest.docker.started")
    path = "/v2/tink-worker/manifests/v0.12.9"
    for t in (40, 41):
        tape.add(t, "registry", "registry.request.received", id=t, path=path)
        tape.add(t, "registry", "registry.request.failed", id=t, path=path, status=404,
                 code="MANIFEST_UNKNOWN")  # fmt: skip
    return tape


@case(
    "worker-pull",
    "unknown",
    "the worker's image was served, but no worker started and none called Tinkerbell: not enough "
    "evidence why",
)
def worker_never_started() -> Tape:
    return good_boot().until("registry.blob.served")


@case("workflow", "worker", "the worker was started, but never called Tinkerbell")
def worker_silent() -> Tape:
    return good_boot().until("guest.worker.started")


@case("workflow", "tink", "the worker's connection never became gRPC: TLS handshake on plain text")
def tls_to_plain() -> Tape:
    tape = good_boot().until("guest.worker.started")
    tape.add(45, "tink", "tink.connection.failed", reason="TLS handshake on plain text")
    return tape


@case("workflow", "tink", "Tinkerbell's server accepts connections and never says a word, twice")
def tink_accepts_only() -> Tape:
    tape = good_boot().until("guest.worker.started")
    for number in (1, 2):
        tape.add(45, "tink", "tink.connection.accepted", id=number, peer="192.168.77.50:4000")
    return tape


@case(
    "workflow",
    "tink",
    "Tinkerbell's server speaks HTTP/2, but answered none of the worker's calls, once",
)
def tink_is_silent_after_settings() -> Tape:
    tape = good_boot().until("guest.worker.started")
    peer = "192.168.77.50:4000"
    tape.add(45, "tink", "tink.connection.accepted", id=1, peer=peer)
    tape.add(45, "tink", "tink.connection.opened", id=1, peer=peer, transport="grpc")
    tape.add(45, "tink", "tink.call.ignored", id=1, peer=peer, stream=1)
    return tape


@case("workflow", "tink", "Tinkerbell's server never answered the worker's GetWorkflowActions")
def tink_never_answers_a_call() -> Tape:
    tape = good_boot().until("guest.worker.started")
    tape.add(45, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions", peer="x:1")
    tape.add(80, "console", "console.line.seen", console="serial", line=1, text="still here")
    return tape


@case("workflow", "tink", f"there is no workflow for worker {MAC}")
def no_work() -> Tape:
    tape = good_boot().until("tink.rpc.received")
    tape.add(45, "tink", "tink.contexts.sent", id=1, worker_id=MAC, workflows=[])
    return tape


@case("workflow", "action", "action 'write' failed: exit status 3")
def action_failed() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    report(tape, 60, "write", "STATE_FAILED", message="exit status 3")
    change(tape, 60, "STATE_FAILED", "STATE_RUNNING")
    return tape


@case("workflow", "action", "action 'write' timed out")
def action_timed_out() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    report(tape, 60, "write", "STATE_TIMEOUT")
    return tape


@case(
    "workflow",
    "registry",
    "action 'write' failed, its image could not be pulled: 404 for /v2/write/manifests/v1",
)
def action_image_missing() -> Tape:
    tape = good_boot().until("tink.action.reported", action="write")
    path = "/v2/write/manifests/v1"
    tape.add(55, "registry", "registry.request.failed", id=9, path=path, status=404)
    report(tape, 60, "write", "STATE_FAILED", message="image pull")
    return tape


@case("workflow", "action", "action 'write' failed: exit status 1")
def action_failed_whose_image_the_mirror_lacked() -> Tape:
    tape = good_boot().until("tink.action.reported", action="print")
    path = "/v2/print/manifests/v1"  # another action's, long ago
    tape.add(47, "registry", "registry.request.failed", id=9, path=path, status=404)
    report(tape, 48, "print", "STATE_SUCCESS")
    report(tape, 49, "write", "STATE_RUNNING")
    path = "/v2/write/manifests/v1"
    tape.add(50, "registry", "registry.request.failed", id=9, path=path, status=404)
    tape.add(51, "registry", "registry.manifest.served", id=10, repository="write", reference="v1")
    report(tape, 60, "write", "STATE_FAILED", message="exit status 1")
    return tape


@case("workflow", "action", "action 'write' was still running when the run was given up")
def action_hangs() -> Tape:
    return good_boot().until("tink.action.reported", action="write")


@case(
    "workflow",
    "worker",
    "the worker did nothing more after action 'print'; its last call: GetWorkflowContexts",
)
def worker_stops() -> Tape:
    return good_boot().until("tink.action.reported", action="print", state="STATE_SUCCESS")


@case("hook-boot", "lab", "the lab's registry service crashed: KeyError: 'x'")
def service_crashed() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "lab", "service.crashed", service="registry", error="KeyError: 'x'")
    return tape


@case("hook-boot", "host", "the lab failed: No space left on device")
def lab_failed() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "lab", "lab.failed", error="No space left on device", kind="OSError")
    return tape


@case("hook-boot", "unknown", "the run was stopped: Ctrl-C")
def interrupted() -> Tape:
    tape = good_boot().until("guest.kernel.started")
    tape.add(20, "run", "run.interrupted", reason="Ctrl-C")
    return tape
