"""What a boot script told the kernel, found at the bottom of what fails much later."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict.judge import judge
from harness.verdict.tests.playing import working
from harness.verdict.tests.test_misled_rules import fails, pulling

OTHER = "02:00:00:00:00:99"
ROOT_FS = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"


def told(tape: Tape, cmdline: str) -> Tape:
    tape.add(tape.events[-1].t, "machine", "guest.cmdline.seen", cmdline=f"vmlinuz {cmdline}")
    return tape


def culprit(tape: Tape) -> tuple[str | None, str]:
    found = judge(tape.events)
    return found.blame, found.because


@pytest.mark.parametrize(
    ("worker_id", "blame"),
    [
        (OTHER, "boot-script"),
        (OTHER.replace(":", "-"), "boot-script"),
        (MAC, "tink"),
        (MAC.replace(":", "-"), "tink"),
        ("a-hardware-id", "tink"),
    ],
)
def test_a_worker_that_is_told_the_id_of_another_machine(worker_id: str, blame: str) -> None:
    tape = told(working(), f"worker_id={worker_id}")
    tape.add(50, "tink", "tink.contexts.sent", id=1, worker_id=worker_id, workflows=[])
    found = culprit(tape)
    assert found[0] == blame
    assert found[1].startswith(f"there is no workflow for worker {worker_id}")


def test_an_agent_that_is_told_the_id_of_another_machine() -> None:
    tape = told(working(), f"worker_id={OTHER}")
    tape.add(50, "tink", "tink.rpc.received", id=1, rpc="GetAction")
    tape.add(50, "tink", "tink.rpc.finished", id=1, rpc="GetAction", code="NOT_FOUND",
             details="no workflow")  # fmt: skip
    assert culprit(tape)[0] == "boot-script"


def test_each_card_of_a_machine_is_its_own() -> None:
    tape = told(working(), f"worker_id={OTHER}")
    powered = next(event for event in tape.events if event.name == "machine.powered_on")
    assert isinstance(powered.fields, dict)
    powered.fields["nics"] = [{"mac": MAC}, {"mac": OTHER}]
    tape.add(50, "tink", "tink.contexts.sent", id=1, worker_id=OTHER, workflows=[])
    assert culprit(tape)[0] == "tink"


@pytest.mark.parametrize(
    ("cmdline", "line", "blame"),
    [
        ("rdinit=/bin/nothing", ROOT_FS, "boot-script"),
        ("noinitrd", ROOT_FS, "boot-script"),
        ("init=/bin/nothing", "Kernel panic - not syncing: Requested init failed", "boot-script"),
        ("console=ttyS1", ROOT_FS, "kernel"),
        ("rdinit=/init", "Kernel panic - not syncing: Fatal exception in interrupt", "kernel"),
    ],
)
def test_a_first_program_that_is_not_hooks(cmdline: str, line: str, blame: str) -> None:
    tape = told(good_boot().until("guest.kernel.started"), cmdline)
    tape.add(20, "machine", "guest.panicked", line=line, console="ttyS1")
    found = culprit(tape)
    assert found[0] == blame
    assert line in found[1]


@pytest.mark.parametrize(
    ("cmdline", "blame"),
    [
        ("pci=off", "boot-script"),
        ("modprobe.blacklist=virtio_net", "boot-script"),
        ("pci=nocrs acpi=force", "kernel"),
    ],
)
def test_a_network_card_that_the_kernel_may_not_use(cmdline: str, blame: str) -> None:
    tape = told(good_boot().until("guest.kernel.started"), cmdline)
    tape.add(20, "machine", "guest.init.started", console="ttyS0")
    found = culprit(tape)
    assert found[0] == blame
    assert "never heard of" in found[1]
    assert (cmdline in found[1]) == (blame == "boot-script")


@pytest.mark.parametrize("service", ["dhcpcd-daemon", "dhcp"])
def test_a_dhcp_client_that_does_not_run(service: str) -> None:
    tape = told(good_boot().until("guest.kernel.started"), "console=ttyS1")
    tape.add(20, "machine", "guest.init.started", console="ttyS0")
    tape.add(22, "machine", "guest.service.ended", service=service, reason="failed with status 1")
    found = culprit(tape)
    assert found == (
        "hook",
        f"nothing in Hook asks for an address: Hook's service {service} failed with status 1",
    )


def test_a_dhcp_client_that_is_not_there_says_so() -> None:
    line = 'dhcpcd-once: dhcpcd -1: exec: "dhcpcd": executable file not found in $PATH'
    tape = told(good_boot().until("guest.kernel.started"), "console=ttyS1")
    tape.add(20, "machine", "guest.init.started", console="ttyS0")
    tape.add(21, "machine", "guest.error.seen", pattern="program missing", console="ttyS1",
             line=line)  # fmt: skip
    tape.add(22, "machine", "guest.service.ended", service="dhcpcd-daemon", reason="failed")
    assert culprit(tape) == ("hook", f"nothing in Hook asks for an address: “{line}”")


def image_from_nowhere(cmdline: str, name: str) -> Tape:
    """Return a boot whose action fails for a registry's name that the name server denies."""
    tape = told(working(), cmdline)
    tape.add(50, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    fields = {"task": "hello", "action": "print", "workflow_id": "default/hello"}
    tape.add(51, "tink", "tink.action.reported", state="STATE_RUNNING", accepted=True, **fields)
    tape.add(52, "dns", "dns.query.received", id=1, name=name, type="A", transport="udp")
    tape.add(52, "dns", "dns.answer.sent", id=1, name=name, type="A", rcode="NXDOMAIN", answers=[])
    tape.add(53, "tink", "tink.action.reported", state="STATE_FAILED", accepted=True,
             message=f"pull image: dial tcp: lookup {name} on 10.0.0.1:53: no such host",
             **fields)  # fmt: skip
    return tape


@pytest.mark.parametrize(
    ("cmdline", "source"),
    [
        ("docker_registry=registry.example.tset", "docker_registry=registry.example.tset"),
        ("docker_registry=registry.example.tset:5000/x y=1", "docker_registry=registry.example"),
        ("tink_worker_image=a.registry.example.tset/w", None),
        ("docker_registry=registry.example.tset.org", None),
    ],
)
def test_where_the_name_of_an_actions_registry_comes_from(cmdline: str, source: str | None) -> None:
    name = "registry.example.tset"
    found = judge(image_from_nowhere(cmdline, name).events)
    assert (found.blame, found.because) == (
        "dns",
        f"action 'print' failed, and the name server answers NXDOMAIN for {name}, once",
    )
    assert (source or "") in (found.hint or "")
    assert ("kernel command line" in (found.hint or "")) == bool(source)


@pytest.mark.parametrize(
    ("cmdline", "blame"),
    [("tink_worker_image=192.168.77.1:5000/w", "boot-script"), ("docker_registry=10.1.1.1", "dns")],
)
def test_docker_hub_is_asked_where_nobody_said_otherwise(cmdline: str, blame: str) -> None:
    found = judge(image_from_nowhere(cmdline, "registry-1.docker.io").events)
    assert found.blame == blame
    assert ("the kernel is told no docker_registry" in found.because) == (blame == "boot-script")


@pytest.mark.parametrize(
    ("cmdline", "blame", "says"),
    [
        ("docker_registry=http://10.0.0.1:5000", "boot-script", "http://10.0.0.1:5000, with a sch"),
        ("docker_registry=10.0.0.1:5000/", "boot-script", "with a slash too many"),
        ("docker_registry=10.0.0.1:5000/mirror", "action", "invalid reference format"),
    ],
)
def test_a_registry_that_makes_no_image_name(cmdline: str, blame: str, says: str) -> None:
    tape = told(working(), cmdline)
    fields = {"task": "hello", "action": "print", "workflow_id": "default/hello"}
    tape.add(51, "tink", "tink.action.reported", state="STATE_RUNNING", accepted=True, **fields)
    tape.add(52, "tink", "tink.action.reported", state="STATE_FAILED", accepted=True,
             message="pull image: DOCKER PULL: invalid reference format", **fields)  # fmt: skip
    found = judge(tape.events)
    assert found.blame == blame
    assert found.because.startswith("action 'print' failed: ")
    assert says in found.because


ABSENT = "dial tcp 192.168.77.99:5000: connect: no route to host"
SCHEME = "tink_worker_image=http://192.168.77.1:5000/w"


@pytest.mark.parametrize(
    ("cmdline", "why", "blame", "says"),
    [
        (SCHEME, "invalid reference format", "boot-script", f"says {SCHEME}, with a scheme, and"),
        ("docker_registry=192.168.77.99:5000", ABSENT, "boot-script", "nobody has that address: "),
        ("docker_registry=192.168.77.1:5000", ABSENT, "link", "docker never reached the registry"),
        ("docker_registry=10.9.9.9:5000", ABSENT.replace("192.168.77.99", "10.9.9.9"), "link", ""),
    ],
)
def test_a_worker_that_is_pulled_from_nowhere(
    cmdline: str, why: str, blame: str, says: str
) -> None:
    tape = told(pulling(), cmdline)
    tape.add(40, "machine", "guest.docker.started", console="ttyS1")
    for t in range(42, 52, 2):
        fails(tape, t, why)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", blame)
    assert says in found.because


def test_an_action_whose_registry_is_a_neighbour_that_nobody_is() -> None:
    tape = told(pulling(), "docker_registry=192.168.77.99:5000")
    fields = {"task": "hello", "action": "print", "workflow_id": "default/hello"}
    tape.add(50, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    tape.add(51, "tink", "tink.action.reported", state="STATE_RUNNING", accepted=True, **fields)
    tape.add(52, "tink", "tink.action.reported", state="STATE_FAILED", accepted=True,
             message=f"pull image: {ABSENT}", **fields)  # fmt: skip
    blame, because = culprit(tape)
    assert blame == "boot-script"
    assert "the registry is at 192.168.77.1, port 5000" in because


@pytest.mark.parametrize(("port", "blame"), [(42113, "boot-script"), (443, "worker")])
def test_a_server_that_is_named_without_its_port(port: int, blame: str) -> None:
    tape = told(pulling(), "grpc_authority=192.168.77.1 worker_id=" + MAC)
    tape.add(0, "tink", "service.started", service="tink", address="192.168.77.1", port=port,
             transport="grpc")  # fmt: skip
    tape.add(40, "machine", "guest.worker.started", console="ttyS1")
    found = judge(tape.events)
    assert found.blame == blame
    assert ("which without a port is port 443" in found.because) == (port != 443)


@pytest.mark.parametrize(
    ("key", "hook", "blame"),
    [("rdinit", False, "boot-script"), ("init", False, "boot-script"), ("rdinit", True, "kernel")],
)
def test_a_kernel_that_runs_something_else_than_hook(key: str, hook: bool, blame: str) -> None:
    tape = told(good_boot().until("guest.kernel.started"), f"{key}=/bin/sh")
    tape.add(32, "machine", "guest.init.started", program="/bin/sh", console="ttyS1")
    if hook:  # a wrapper that went on with it
        tape.add(33, "machine", "guest.service.started", service="dhcpcd-once")
    found = culprit(tape)
    assert found[0] == blame
    assert (f"{key}=/bin/sh" in found[1]) != hook


@pytest.mark.parametrize(("cmdline", "blame"), [("ro", "kernel"), ("ro quiet", "hook")])
def test_a_kernel_that_stops_before_its_first_program(cmdline: str, blame: str) -> None:
    tape = told(good_boot().until("guest.kernel.started"), cmdline)
    line = "[    1.5] ACPI: Added _OSI(Processor Device)"
    tape.add(20, "machine", "console.line.seen", console="ttyS1", text=line)
    found = culprit(tape)
    assert found[0] == blame
    assert ("Processor Device" in found[1]) == (blame == "kernel")
