"""A registry's layers and manifests that do not come, come slowly, or are none."""

from __future__ import annotations

from harness.scenario.tests.samples import MAC, Tape
from harness.verdict.judge import judge
from harness.verdict.rules.case import quoted
from harness.verdict.tests.playing import play

LAYER = "sha256:ee0b" + "0" * 60
PATH = f"/v2/tink-worker/blobs/{LAYER}"
LENGTH = 6_000_000


def pulling() -> Tape:
    tape = Tape()
    tape.add(0, "machine", "machine.powered_on", machine="m", mac=MAC)
    tape.add(30, "machine", "guest.kernel.started", version="6.1")
    tape.add(40, "machine", "guest.docker.started", console="ttyS0")
    tape.add(42, "registry", "registry.request.received", id="r4", mac=MAC, method="GET",
             path=PATH, peer="192.168.77.10:4000")  # fmt: skip
    return tape


def some(tape: Tape, t: float, size: int, waiting: int = 0) -> None:
    tape.add(t, "registry", "registry.blob.progressed", id="r4", digest=LAYER, bytes=size,
             length=LENGTH, waiting=waiting)  # fmt: skip


def given_up(tape: Tape, t: float) -> None:
    tape.add(t, "run", "run.finished", outcome="ended")


def complains(tape: Tape, t: float, pattern: str, line: str) -> None:
    tape.add(t, "machine", "guest.error.seen", console="ttyS0", pattern=pattern, line=line)


def test_a_layer_that_stands_still() -> None:
    tape = pulling()
    some(tape, 43, 1_000_000)
    over = play(tape)
    assert over is not None
    assert over[1].rule == "layer-stands-still"
    assert 132 <= over[0] <= 135
    given_up(tape, 133)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "registry")
    assert found.because == (
        f"the registry sent nothing more of {PATH} for 90 s, after 1.0 MB of 6.0 MB, on a"
        " connection that stays open"
    )


def test_a_layer_that_came_is_none_that_stands_still() -> None:
    tape = pulling()
    some(tape, 43, 1_000_000)
    tape.add(44, "registry", "registry.blob.served", id="r4", digest=LAYER, bytes=LENGTH)
    assert play(tape, until=170) is None
    given_up(tape, 170)
    assert "nothing more" not in judge(tape.events).because


def test_a_layer_that_nobody_acknowledges_is_the_links() -> None:
    tape = pulling()
    some(tape, 43, 1_000_000, waiting=200_000)
    tape.add(50, "registry", "registry.answer.unheard", peer="192.168.77.10:4000", bytes=200_000,
             times=6)  # fmt: skip
    given_up(tape, 133)
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "link")
    assert f"what the registry sends of {PATH} does not arrive: 200000 octets" in found.because


def test_a_layer_that_was_acknowledged_after_all_is_not() -> None:
    tape = pulling()
    where = "192.168.77.10:4000"
    tape.add(50, "registry", "registry.answer.unheard", peer=where, bytes=2000, times=6)
    tape.add(53, "registry", "registry.answer.heard", peer=where)
    some(tape, 54, 1_000_000)
    given_up(tape, 133)
    assert judge(tape.events).blame == "registry"


def test_a_layer_that_comes_slowly() -> None:
    for waiting, blame in ((0, "registry"), (90_000, "link")):
        tape = pulling()
        for second in range(30):
            some(tape, 43 + second, second * 2000, waiting)
        given_up(tape, 73)
        found = judge(tape.events)
        assert (found.failed_in, found.blame) == ("worker-pull", blame)
        assert f"{PATH} was not through in time: 58 kB of 6.0 MB; " in found.because


def served(tape: Tape) -> None:
    tape.add(43, "registry", "registry.blob.served", id="r4", digest=LAYER, bytes=LENGTH)


def test_a_worker_for_another_processor() -> None:
    tape = pulling()
    served(tape)
    line = "bootstrapping tink-worker failed: Error response from daemon: failed to create shim"
    for t in (45, 50):
        complains(tape, t, "worker did not start", f"{line} task: exec format error: unknown")
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "worker")
    assert found.because == (
        "docker has the worker's image and can't run it, twice: exec format error"
    )
    assert found.conclusive


def test_a_manifest_that_is_a_page() -> None:
    tape = pulling()
    served(tape)
    complains(tape, 45, "image pull failure",
              "image pull failure Error response from daemon: invalid character '<' looking for"
              " beginning of value")  # fmt: skip
    found = judge(tape.events)
    assert (found.failed_in, found.blame) == ("worker-pull", "registry")
    assert "manifest, once: invalid character '<'" in found.because


def test_a_worker_that_cannot_be_started_for_another_reason() -> None:
    tape = pulling()
    served(tape)
    line = (
        '[   60.6] hook-bootkit: {"level":"error","error":"starting tink-worker container failed:'
        " Error response from daemon: failed to create shim task: OCI runtime create failed: runc"
        " create failed: unable to start container process: error during container init: error"
        ' mounting \\"/host_root/run\\" to rootfs at \\"/run\\": not a directory",'
        '"time":"2026-11-22T03:18:49Z","message":"bootstrapping tink-worker failed"}'
    )
    complains(tape, 45, "worker did not start", line)
    found = judge(tape.events)
    assert found.blame == "worker"
    assert found.because == (
        "docker has the worker's image and can't run it, once: “error mounting"
        ' "/host_root/run" to rootfs at "/run": not a directory”'
    )


def test_a_quoted_line_begins_with_what_was_said() -> None:
    assert quoted("[   52.956036] hook-bootkit: failed") == "“hook-bootkit: failed”"
    assert quoted("[ok] hook-bootkit") == "“[ok] hook-bootkit”"
    log = '{"level":"info","logs":{"error":"layer verification failed"},"message":"pull"}'
    assert quoted(f"[   52.9] bootkit: {log}") == "“bootkit: layer verification failed”"
    assert quoted(f"bootkit: {log[:-2]}") == f"“bootkit: {log[:-2]}”"
    assert quoted('{"a": 1}') == '“{"a": 1}”'
