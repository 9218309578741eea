"""Hook's engine and services: what ends, and what they lack, takes the rest of the boot with it."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import MAC, Tape, good_boot
from harness.verdict.judge import judge
from harness.verdict.tests.playing import ended, play, working

FAILED = "failed with status 1"


def ends(tape: Tape, t: float, service: str, reason: str = FAILED) -> Tape:
    tape.add(t, "machine", "guest.service.ended", service=service, reason=reason)
    return tape


def report(tape: Tape, t: float, state: str) -> None:
    tape.add(t, "tink", "tink.action.reported", id=1, workflow_id="w", worker_id=MAC,
             action="print", state=f"STATE_{state}", message="", accepted=True)  # fmt: skip


@pytest.mark.parametrize("first", ["engine", "report"])
def test_an_action_fails_for_want_of_the_engine(first: str) -> None:
    tape = working()
    tape.add(60, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    report(tape, 61, "RUNNING")
    if first == "report":  # a console is slower than the wire
        report(tape, 62, "FAILED")
    ends(tape, 62, "hook-docker")
    if first == "engine":
        report(tape, 62, "FAILED")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("workflow", "docker")
    assert found.because == (
        "Hook's service hook-docker failed with status 1 in workflow: no container runs without"
        " it, and Hook does not start it again"
    )


def test_the_action_that_ran_is_named() -> None:
    tape = working()
    tape.add(60, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    report(tape, 61, "RUNNING")
    tape.add(62, "machine", "machine.power.lost", machine="machine")
    found = judge(tape.events)
    assert found.because == "the machine lost its power in workflow, while action 'print' ran"


def test_what_the_kernel_said_of_memory_belongs_to_it() -> None:
    tape = good_boot().until("guest.docker.started")
    killed = tape.add(41, "machine", "guest.error.seen", pattern="out of memory", console="ttyS1",
                      line="Out of memory: Killed process 300 (dockerd)")  # fmt: skip
    last = ends(tape, 41, "hook-docker", "was killed by signal 9 (killed)").events[-1]
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "machine")
    assert "ran out of memory" in found.because
    assert found.evidence == (killed.seq, last.seq)


def test_nobody_pulls_when_bootkit_ended() -> None:
    tape = ends(good_boot().until("guest.docker.started"), 41, "hook-bootkit")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "hook")
    assert found.because.endswith("Hook's service hook-bootkit failed with status 1")
    assert ended(tape, "service-ended", by=49)


def test_another_kernel_has_services_of_its_own() -> None:
    tape = ends(good_boot().until("guest.docker.started"), 41, "hook-docker")
    tape.add(45, "machine", "guest.kernel.started", version="6.1", console="ttyS1")
    tape.add(60, "machine", "guest.docker.started", console="ttyS1")
    assert "hook-docker" not in judge(tape.events).because
    assert play(tape, until=62) is None


def test_a_machine_that_restarted_itself_ended_its_engine_first() -> None:
    tape = working()
    tape.add(60, "tink", "tink.rpc.received", id=1, rpc="GetWorkflowActions")
    ends(tape, 61, "hook-docker", "was killed by signal 15 (terminated)")
    tape.add(62, "machine", "machine.reset", machine="machine", guest=True)
    found = judge(tape.events)
    assert "hook-docker" not in found.because
    assert "was reset in mid-workflow" in found.because


def test_bootkit_is_done_once_the_worker_runs() -> None:
    tape = ends(working(), 60, "hook-bootkit", "ended")
    assert play(tape, until=70) is None
    assert "bootkit" not in judge(tape.events).because


def test_a_machine_that_shuts_down_ends_its_services_first() -> None:
    tape = ends(working(), 60, "hook-docker", "was killed by signal 15 (terminated)")
    assert ended(tape, "service-ended", by=68)
    tape.add(66, "machine", "machine.reset", machine="machine", guest=True)
    assert play(tape, until=72) is None


def complains(tape: Tape, t: float, pattern: str, line: str) -> None:
    tape.add(t, "machine", "guest.error.seen", pattern=pattern, line=line, console="ttyS1")


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("tells", [False, True])
def test_an_engine_without_runc_says_that_it_is_up_and_ends(up: bool, tells: bool) -> None:
    tape = good_boot().until("guest.docker.started" if up else "guest.kernel.started")
    for t in (41, 52):
        last = "hook-docker: failed to find runc binary"
        text = last if tells else 'hook-docker: time="x" level=info msg="bye"'
        tape.add(t, "machine", "console.line.seen", console="ttyS1", text=f"[    9.9190] {text}")
        line = "[   10.021624] hook-docker: error starting up Docker dockerd: exit status 1"
        tape.add(t, "machine", "console.line.seen", console="ttyS1", text=line)
        complains(tape, t, "docker did not start", line)
        tape.add(t, "machine", "console.line.seen", console="ttyS1",
                 text="[   10.0] hook-docker: will retry in 10 seconds")  # fmt: skip
    found = judge(tape.events)
    assert found.blame == "docker"
    words = last if tells else "hook-docker: error starting up Docker dockerd: exit status 1"
    assert found.because == f"the docker engine ends right after its start: “{words}”"


@pytest.mark.parametrize("asks", [True, False])
def test_an_engine_that_came_up_in_the_end_is_not_to_blame(asks: bool) -> None:
    tape = good_boot().until("guest.docker.started")
    complains(tape, 41, "docker did not start", "hook-docker: error starting up Docker dockerd")
    if asks:
        tape.add(52, "registry", "registry.request.received", id="r1", mac=MAC, path="/v2/")
    else:
        why = "Error response from daemon: dial tcp 192.168.77.1:5000: i/o timeout"
        complains(tape, 52, "image pull failure", f"hook-bootkit: {why}")
    assert judge(tape.events).blame != "docker"


def test_an_engine_without_its_shim_runs_nothing() -> None:
    tape = good_boot().until("registry.blob.served")
    line = (
        "hook-bootkit: bootstrapping tink-worker failed: failed to start shim: failed to resolve"
        ' runtime path: runtime "io.containerd.runc.v2" binary not installed'
    )
    complains(tape, 45, "worker did not start", line)
    found = judge(tape.events)
    assert found.blame == "docker"
    assert found.because.startswith("docker can't run any container, once: “")


def test_tls_that_is_too_old_is_told_and_not_the_try_without_it() -> None:
    tape = good_boot().until("guest.docker.started")
    for t, why in enumerate(("unsupported protocol", *["plain HTTP on the TLS port"] * 3), 41):
        tape.add(t, "registry", "registry.tls.failed", peer="x:1", reason=why)
    found = judge(tape.events)
    assert (found.blame, found.because) == (
        "registry",
        "no TLS connection to the registry came about: unsupported protocol",
    )


@pytest.mark.parametrize(("host", "blame"), [("cdn.lab", "registry"), ("elsewhere.lab", "dns")])
def test_a_storage_whose_name_nobody_knows_is_the_registrys(host: str, blame: str) -> None:
    tape = good_boot().until("guest.docker.started")
    where = f"http://{host}/v2/x"
    tape.add(41, "registry", "registry.request.redirected", id="r1", path="/v2/tink-worker/x",
             status=302, location=where)  # fmt: skip
    tape.add(42, "dns", "dns.query.received", name="cdn.lab", type="A")
    tape.add(42, "dns", "dns.answer.sent", name="cdn.lab", rcode="NXDOMAIN")
    why = "dial tcp: lookup cdn.lab on 192.168.77.1:53: no such host"
    complains(tape, 43, "image pull failure", f'Get "http://cdn.lab/": {why}')
    found = judge(tape.events)
    assert found.blame == blame
    assert found.because.startswith(f"the registry sends docker to {where}") is (host == "cdn.lab")


def test_a_registry_that_resets_connections_is_to_blame() -> None:
    tape = good_boot().until("guest.docker.started")
    why = "dial tcp 192.168.77.1:5000: connect: connection reset by peer"
    complains(tape, 43, "image pull failure", f'Get "http://192.168.77.1:5000/v2/": {why}')
    assert judge(tape.events).blame == "registry"


@pytest.mark.parametrize(
    ("scheme", "why", "blame"),
    [
        ("http", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
         "registry"),
        ("http", "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
         "registry"),
        ("https", "net/http: TLS handshake timeout", "registry"),
        ("http", "EOF", "registry"),
        ("https", "net/http: request canceled while waiting for connection"
         " (Client.Timeout exceeded while awaiting headers)", "link"),
    ],
)  # fmt: skip
def test_a_registry_that_does_not_answer(scheme: str, why: str, blame: str) -> None:
    tape = good_boot().until("guest.docker.started")
    url = f"{scheme}://192.168.77.1:5000/v2/"
    for t in (60, 80):
        error = f'Error response from daemon: Get \\"{url}\\": {why}","imageName":"x/y:v1"'
        line = f'hook-bootkit: {{"level":"error","error":"{error}}}'
        complains(tape, t, "image pull failure", line)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", blame)
    assert url in found.because
    assert ", twice: " in found.because


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('exec: "containerd": executable file not found in $PATH', "container of this Hook whole"),
        ("failed to start daemon: invalid mirror", "wrong value"),
    ],
)
def test_an_engine_that_does_not_start_for_want_of_a_program(line: str, hint: str) -> None:
    tape = good_boot().until("guest.kernel.started")
    for t in (30, 40, 50):
        tape.add(t, "machine", "guest.error.seen", pattern="docker did not start",
                 console="ttyS1", line=f"hook-docker: error starting up Docker {line}")  # fmt: skip
    found = judge(tape.events)
    assert found.blame == "docker"
    assert hint in (found.hint or "")
