"""Actions that fail: what they say of it themselves, and what was answered to them."""

from __future__ import annotations

import json

import pytest

from harness.scenario.tests.samples import MAC, Tape, change, good_boot, report
from harness.verdict import judge

CONTAINER = "bcb21df25f96"
WORKER = "82c02a48c9bd"


def says(tape: Tape, t: float, tag: str, message: str) -> None:
    tape.add(t, "syslog", "syslog.message.received", mac=MAC, tag=tag, message=message)


def failed(*words: str, state: str = "STATE_FAILED") -> Tape:
    """Return a tape on which action 'write' says this and fails."""
    tape = good_boot().until("tink.action.reported", action="print")
    says(tape, 50, WORKER, "hello")
    report(tape, 51, "write", "STATE_RUNNING")
    says(tape, 52, WORKER, '{"level":"info","msg":"starting container"}')
    for word in words:
        says(tape, 53, CONTAINER, word)
    says(tape, 54, WORKER, '{"level":"error","msg":"x","error":"action failed: exit 1"}')
    report(tape, 55, "write", state)
    return tape


@pytest.mark.parametrize(
    ("words", "blame"),
    [
        ("write: open /dev/vda1: no such file or directory", "disk"),  # F73
        ("disk: open /dev/disk/by-id/virtio-ROOT: no such file or directory (…)", "disk"),  # F74
        ("disk: write /dev/vda: input/output error", "disk"),
        ("exec /run: exec format error", "template"),  # F72
        ("fetch: Get “http://x/”: dial tcp: lookup x: no such host", "dns"),  # F71
        ("write: open /etc/none: no such file or directory", "template"),
        ("asked to end with status 3", "action"),  # F77
    ],
)
def test_the_last_words_of_an_action_are_the_reason(words: str, blame: str) -> None:
    verdict = judge(failed("first it says this", words).events)
    assert (verdict.failed_in, verdict.blame) == ("workflow", blame)
    assert verdict.because == f"action 'write' failed: {words}"


def test_a_mute_action_has_its_workers_words() -> None:
    verdict = judge(failed().events)
    assert verdict.because == "action 'write' failed: action failed: exit 1"


NO_IMAGE = "error creating container: Error response from daemon: No such image: r:5000/write:v1"


def agent_says(*, broken_off: bool) -> Tape:
    """Return a tape of tink-agent, which says why only in its log; the times of a real boot."""
    tape = good_boot().until("tink.action.reported", action="print")
    report(tape, 80.3, "write", "STATE_RUNNING")
    if broken_off:
        line = (
            'hook-docker: level=error msg="Not continuing with pull after error: error pulling'
            ' image configuration: image config verification failed for digest sha256:511a"'
        )
        tape.add(80.6, "machine", "guest.error.seen", pattern="layer refused", console="ttyS1",
                 line=line)  # fmt: skip
    says(tape, 80.7, WORKER, f'{{"msg":"error executing action","error":"{NO_IMAGE}"}}')
    report(tape, 80.8, "write", "STATE_FAILED")
    return tape


def test_an_image_that_docker_gave_up_in_mid_pull() -> None:
    verdict = judge(agent_says(broken_off=True).events)
    assert (verdict.failed_in, verdict.blame, verdict.conclusive) == ("workflow", "registry", True)
    assert verdict.because == (
        "action 'write' failed, docker gave up the pull of its image: error pulling image"
        " configuration: image config verification failed for digest sha256:511a"
    )


def test_an_image_that_is_not_there_and_nobody_says_why() -> None:
    verdict = judge(agent_says(broken_off=False).events)
    assert (verdict.blame, verdict.because) == ("registry", f"action 'write' failed: {NO_IMAGE}")


def test_f80_metadata_that_is_refused() -> None:
    tape = failed("fetch: http://x/2009-04-04/meta-data/hostname answered 500")
    answered = Tape()
    for event in tape.events:
        answered.add(event.t, event.source, event.name, **event.fields)
        if event.t == 53:
            answered.add(53, "http", "http.response.finished", id=9, mac=MAC, status=500, bytes=0,
                         path="/2009-04-04/meta-data/hostname")  # fmt: skip
    verdict = judge(answered.events)
    assert verdict.blame == "http"
    assert "metadata service had answered 500 for /2009-04-04/meta-data/host" in verdict.because


@pytest.mark.parametrize(
    ("caller", "blame"), [("192.168.77.99", "link"), ("192.168.77.10", "tink")]
)
def test_f25_a_script_that_is_looked_up_by_address(caller: str, blame: str) -> None:
    tape = good_boot().until("dhcp.ack.sent", stage="tinkerbell")
    path, reason = "/auto.ipxe", f"no Hardware has the address the request comes from ({caller})"
    tape.add(14, "http", "http.request.received", id=1, mac=MAC, method="GET", path=path)
    tape.add(14, "http", "http.script.refused", id=1, path=path, caller=caller, reason=reason)
    tape.add(14, "http", "http.response.finished", id=1, mac=MAC, path=path, status=404, bytes=0)
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == ("ipxe", blame)
    assert reason in verdict.because


def test_f43_a_proxy_that_is_not_there() -> None:
    tape = good_boot().until("guest.worker.started")
    line = "HTTPS_PROXY=http://192.168.77.1:3128 grpc_authority=192.168.77.1:42113 worker_id=x"
    tape.add(43, "machine", "guest.cmdline.seen", cmdline=line)
    words = "dial tcp 192.168.77.1:3128: connect: connection refused"
    says(tape, 44, WORKER, f'{{"level":"error","error":"rpc error: code = Unavailable: {words}"}}')
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == ("workflow", "boot-script")
    assert "can't reach the HTTPS_PROXY" in verdict.because
    assert words in verdict.because


def test_f65_a_kernel_that_an_action_starts() -> None:
    tape = good_boot().until("tink.action.reported", action="write")
    tape.add(60, "machine", "guest.kernel.started", version="6.1.0", console="ttyS0")
    tape.add(60, "machine", "guest.cmdline.seen", cmdline="console=ttyS0")
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == ("workflow", "action")
    assert verdict.because.startswith("action 'write' was running when another kernel was started")


@pytest.mark.parametrize(
    ("words", "logged", "conclusive"),
    [
        ("", '{"msg":"action container exited","status":4}', True),  # tink-worker
        ("got non 0 exit status, see the logs for more information", "", True),  # tink-agent
        ("exit status 3", "", True),
        ("curl: (28) Connection timed out", '{"msg":"action container exited"}', False),
        ("context deadline exceeded", "", False),
        ("", "", False),  # its image may never have come
        ("", '{"msg":"action container exited with success","status":2}', False),
    ],
)
def test_a_status_proves_that_an_action_failed_by_itself(
    words: str, logged: str, conclusive: bool
) -> None:
    tape = good_boot().until("tink.action.reported", action="print")
    says(tape, 50, WORKER, "hello")
    report(tape, 51, "write", "STATE_RUNNING")
    report(tape, 55, "write", "STATE_FAILED", message=words)
    says(tape, 55.1, WORKER, logged)
    verdict = judge(tape.events)
    assert verdict.blame == "action"
    assert verdict.conclusive is conclusive


@pytest.mark.parametrize("words", ["", "pull print:v1: read tcp: i/o timeout", "exit status 3"])
def test_a_cable_that_comes_and_goes_fails_what_waits_for_the_network(words: str) -> None:
    tape = good_boot().until("tink.action.reported", action="print")
    report(tape, 51, "write", "STATE_RUNNING")
    for t in (52, 58):
        tape.add(t, "switch", "link.lost", mac=MAC)
        tape.add(t + 3, "switch", "link.restored", mac=MAC, duration_s=3.0)
    if words:
        says(tape, 64, WORKER, f'{{"level":"error","msg":"x","error":"{words}"}}')
    report(tape, 65, "write", "STATE_FAILED")
    tape.add(65, "tink", "tink.workflow.changed", workflow_id="w", state="STATE_FAILED")
    tape.add(66, "switch", "link.lost", mac=MAC)  # after it was over
    found = judge(tape.events)
    assert "since" not in found.because
    if "status" in words:
        assert (found.blame, found.because) == ("action", f"action 'write' failed: {words}")
    else:
        assert found.blame == "link"
        assert "meanwhile the machine's link lost its carrier, twice" in found.because


@pytest.mark.parametrize(
    ("operations", "waited_s", "blame"),
    [(31, 118.0, "disk"), (31, 40.0, "action"), (3000, 118.0, "action"), (0, 0.0, "action")],
    ids=["crawls", "is slow for a while", "has much to do", "is not used"],
)
def test_an_action_that_times_out_on_a_disk(operations: int, waited_s: float, blame: str) -> None:
    tape = good_boot().until("tink.action.reported", action="disk")
    report(tape, 180, "disk", "STATE_TIMEOUT")
    change(tape, 180, "STATE_TIMEOUT", "STATE_RUNNING")
    tape.add(180.1, "run", "run.decided", because="the workflow ended", rule="x", evidence=[])
    tape.add(181, "machine", "disk.measured", disk="vda", operations=operations, failed=0,
             read_bytes=0, written_bytes=240_000, waited_s=waited_s)  # fmt: skip
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("workflow", blame)
    assert found.because == "action 'disk' timed out" + (
        ", and disk vda took 3.8 s for each of its 31 operations (240 kB in all)"
        if blame == "disk"
        else ""
    )


def told(tape: Tape, t: float, error: str, words: str) -> None:
    line = {"msg": words, "agentID": MAC, "error": error}
    says(tape, t, WORKER, json.dumps(line, separators=(",", ":")))


def without_its_image(*, whole: bool) -> Tape:
    """Return a tape on which a layer of an action's image broke off, for good or not."""
    tape = good_boot().until("tink.action.reported", action="print")
    report(tape, 51, "write", "STATE_RUNNING")
    digest = "sha256:57fe"
    tape.add(52, "registry", "registry.response.cut", id=9, how="close", mac=MAC, method="GET",
             path=f"/v2/write/blobs/{digest}", bytes=1000, length=739_017)  # fmt: skip
    if whole:
        tape.add(53, "registry", "registry.blob.served", id=10, mac=MAC, repository="write",
                 digest=digest, bytes=739_017)  # fmt: skip
    told(tape, 60, "daemon: No such image: write:v1", "error executing action")
    report(tape, 61, "write", "STATE_FAILED")
    told(tape, 61, "code = Canceled desc = CANCELLED", "error reading/retrieving action")
    return tape


def test_the_layer_that_broke_off_is_named() -> None:
    found = judge(without_its_image(whole=False).events)
    assert found.blame == "registry"
    assert found.because == (
        "action 'write' failed, its image could not be pulled: the registry broke off"
        " /v2/write/blobs/sha256:57fe after 1000 of 739017 octets, once"
    )


def test_that_a_worker_asks_for_more_work_is_not_why_its_action_failed() -> None:
    found = judge(without_its_image(whole=True).events)
    assert found.because.endswith("No such image: write:v1")


def test_a_workers_own_line_that_comes_late_is_not_what_its_action_said() -> None:
    tape = good_boot().until("tink.action.reported", action="print")
    report(tape, 51, "write", "STATE_RUNNING")
    says(tape, 52, WORKER, '{"msg":"starting container","workerID":"' + MAC + '"}')
    says(tape, 52, CONTAINER, "the disk is too small")
    says(tape, 53, WORKER, '{"msg":"starting container","workerID":"' + MAC + '"}')
    report(tape, 54, "write", "STATE_FAILED")
    assert judge(tape.events).because == "action 'write' failed: the disk is too small"


def pulls(*, what: str, ends: str | None = None) -> Tape:
    """Return a tape on which docker asks for a part of an action's image."""
    tape = good_boot().until("tink.action.reported", action="print")
    report(tape, 51, "write", "STATE_RUNNING")
    tape.add(51, "tink", "tink.rpc.finished", id=1, rpc="GetWorkflowContexts", code="OK")
    path = f"/v2/write/{what}"
    tape.add(52, "registry", "registry.request.received", id=9, mac=MAC, method="GET", path=path)
    if ends:
        tape.add(53, "registry", ends, id=9, mac=MAC, repository="write", digest="sha256:57fe",
                 bytes=1)  # fmt: skip
    return tape


@pytest.mark.parametrize("state", ["RUNNING", "TIMEOUT"])
@pytest.mark.parametrize(
    ("what", "ends", "blame"),
    [
        ("manifests/v1", None, "registry"),
        ("blobs/sha256:57fe", None, "registry"),
        ("manifests/v1", "registry.manifest.served", "action"),
        ("blobs/sha256:57fe", "registry.blob.served", "action"),
    ],
    ids=["manifest", "blob", "manifest that came", "blob that came"],
)
def test_an_action_whose_image_does_not_come(
    state: str, what: str, ends: str | None, blame: str
) -> None:
    tape = pulls(what=what, ends=ends)
    if state == "TIMEOUT":
        report(tape, 200, "write", "STATE_TIMEOUT")
    tape.add(200, "run", "run.decided", because="nothing was heard", rule="x", evidence=[])
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("workflow", blame)
    assert ("for its image" in found.because) == (blame == "registry")


DOCKER = "docker: Error response from daemon: "
NO_MANIFEST = "error unmarshalling content: invalid character '<' looking for beginning of value"


@pytest.mark.parametrize(
    ("error", "blame"),
    [
        (f"{DOCKER}{NO_MANIFEST}", "registry"),
        (f"{DOCKER}no matching manifest for linux/amd64 in the manifest list entries", "registry"),
        (
            "pull image: DOCKER PULL: no matching manifest for linux/amd64 in the manifest list"
            " entries",
            "registry",
        ),
        (
            'pull image: DOCKER PULL: Error response from daemon: Get "http://192.0.2.1:5000/v2/":'
            " read tcp 192.0.2.10:41330->192.0.2.1:5000: read: connection reset by peer",
            "registry",
        ),
        ("config: invalid character 'x' after object key", "action"),
    ],
)
def test_the_last_of_an_agents_attempts_is_the_reason(error: str, blame: str) -> None:
    told = "\n".join(["All attempts fail:", "#1: a\nb", f"#2: {error}"])
    tape = good_boot().until("tink.action.reported", action="print")
    report(tape, 80.3, "write", "STATE_RUNNING")
    line = json.dumps({"msg": "error executing action", "error": told}, separators=(",", ":"))
    says(tape, 80.7, WORKER, line)
    report(tape, 80.8, "write", "STATE_FAILED")
    found = judge(tape.events)
    assert (found.blame, found.because) == (blame, f"action 'write' failed: {error}")
