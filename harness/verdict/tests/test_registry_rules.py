"""Whose fault a failed pull is."""

from __future__ import annotations

from harness.scenario.tests.samples import MAC, Tape
from harness.verdict.judge import judge


def docker_up() -> Tape:
    tape = Tape()
    tape.add(0, "machine", "machine.powered_on", machine="m", mac=MAC)
    tape.add(30, "machine", "guest.kernel.started", version="6.1")
    tape.add(40, "machine", "guest.docker.started", console="ttyS0")
    return tape


def unknown_manifest(tape: Tape) -> None:
    path = "/v2/tink-worker/manifests/latest"
    tape.add(42, "registry", "registry.request.received", id="r1", method="GET", path=path)
    tape.add(
        *(42, "registry", "registry.request.failed"),
        id="r1",
        method="GET",
        path=path,
        status=404,
        code="MANIFEST_UNKNOWN",
    )


def test_tls_on_a_plain_port_is_a_failure_when_nothing_follows() -> None:
    tape = docker_up()
    tape.add(41, "registry", "registry.tls.failed", peer="x:1", reason="TLS on the plain HTTP port")
    assert "TLS on the plain HTTP port" in judge(tape.events).because


def test_tls_on_a_plain_port_is_none_when_the_engine_falls_back() -> None:
    tape = docker_up()
    tape.add(41, "registry", "registry.tls.failed", peer="x:1", reason="TLS on the plain HTTP port")
    unknown_manifest(tape)
    assert "404 MANIFEST_UNKNOWN" in judge(tape.events).because
