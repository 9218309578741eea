"""Whose fault a failed pull is."""

from __future__ import annotations

import pytest

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


def test_tls_on_a_plain_port_is_none_when_the_engine_goes_on_by_a_proxy() -> None:
    """The times are those of a real boot."""
    tape = docker_up()
    why = "TLS on the plain HTTP port"
    for t in (42.88, 43.51, 44.46):
        tape.add(t, "registry", "registry.tls.failed", peer="x:1", reason=why)
        said(
            tape,
            PULL + 'Get "http://192.168.77.1:5000/v2/": proxyconnect tcp: dial tcp'
            " 192.168.77.1:3128: connect: connection refused",
        )
    found = judge(tape.events)
    assert found.blame == "boot-script"
    assert found.because.startswith("docker can't reach the proxy it was told to use, 3 times")


PULL = "image pull failure Error response from daemon: "


def said(tape: Tape, line: str) -> None:
    tape.add(44, "machine", "guest.error.seen", line=line, console="ttyS1", pattern="x")


def test_a_certificate_that_docker_refuses_is_named() -> None:
    tape = docker_up()
    reason = "the client sent alert: bad certificate"
    tape.add(41, "registry", "registry.tls.failed", peer="x:1", reason=reason)
    said(tape, PULL + 'Get "https://r:5000/v2/": x509: certificate signed by unknown authority')
    found = judge(tape.events)
    assert found.blame == "registry"
    assert found.because.endswith("certificate: x509: certificate signed by unknown authority")


@pytest.mark.parametrize(
    ("limit", "renew"),
    [("after 2026-11-21T18:17:31Z", True), ("before 2026-11-22T18:17:39Z", False)],
)
def test_a_certificate_is_to_be_renewed_when_no_clock_is_to_blame(limit: str, renew: bool) -> None:
    tape = docker_up()
    tape.add(35, "lab", "lab.resumed", wall="2026-11-22T18:16:52+00:00", point="hook-up")
    why = "x509: certificate has expired or is not yet valid"
    said(tape, f"{PULL}{why}: current time 2026-11-22T18:17:33Z is {limit}")
    found = judge(tape.events)
    assert why in found.because
    assert found.hint is not None
    assert ("renew the certificate" in found.hint) == renew
    assert ("see the clock" in found.hint) != renew


def test_a_certificate_that_was_refused_once_and_then_served_is_no_failure() -> None:
    tape = docker_up()
    said(tape, PULL + "x509: certificate has expired or is not yet valid")
    tape.add(45, "registry", "registry.manifest.served", method="GET", reference="v1")
    assert "x509" not in judge(tape.events).because


def challenged(tape: Tape) -> None:
    path = "/v2/tink-worker/manifests/v1"
    tape.add(42, "registry", "registry.request.received", id="r1", method="HEAD", path=path)
    tape.add(42, "registry", "registry.auth.challenged", id="r1", path=path, scheme="Bearer")
    tape.add(42, "registry", "registry.request.failed", id="r1", path=path, status=401)


def test_a_realm_that_is_not_reached_is_the_registrys_fault() -> None:
    tape = docker_up()
    challenged(tape)
    said(
        tape,
        PULL + 'Head "http://r:5000/v2/tink-worker/manifests/v1": Get "http://10.0.0.9:5001/token'
        '?scope=repository%3Atink-worker%3Apull&service=hooklab": dial tcp 10.0.0.9:5001: '
        "connect: no route to host",
    )
    found = judge(tape.events)
    assert found.blame == "registry"
    assert "dial tcp 10.0.0.9:5001: connect: no route to host" in found.because


def test_a_client_without_credentials_is_hooks_fault() -> None:
    tape = docker_up()
    challenged(tape)
    assert judge(tape.events).blame == "hook"


BLOB = "sha256:" + "1" * 64


def cut(tape: Tape) -> None:
    path = f"/v2/tink-worker/blobs/{BLOB}"
    tape.add(42, "registry", "registry.request.received", id="r1", method="GET", path=path)
    tape.add(
        *(43, "registry", "registry.response.cut"),
        id="r1",
        method="GET",
        path=path,
        bytes=10,
        length=99,
        how="close",
    )


def test_a_blob_that_never_comes_whole_is_the_registrys_fault() -> None:
    tape = docker_up()
    cut(tape)
    cut(tape)
    found = judge(tape.events)
    assert found.blame == "registry"
    path = f"/v2/tink-worker/blobs/{BLOB}"
    assert found.because == f"the registry broke off {path} after 10 of 99 octets, twice"


def test_a_blob_that_came_whole_later_is_no_failure() -> None:
    tape = docker_up()
    cut(tape)
    tape.add(45, "registry", "registry.blob.served", digest=BLOB, bytes=99, length=99)
    assert "broke off" not in judge(tape.events).because


def test_what_a_mirror_lacked_and_another_had_is_no_reason() -> None:
    tape = docker_up()
    path = "/v2/tink-worker/manifests/v1"
    tape.add(42, "registry", "registry.request.received", id="r1", method="HEAD", path=path)
    tape.add(42, "registry", "registry.request.failed", id="r1", path=path, status=404)
    lacking = judge(tape.events).because
    assert "404" in lacking
    tape.add(43, "registry", "registry.manifest.served", repository="tink-worker", reference="v2")
    assert judge(tape.events).because == lacking
    tape.add(44, "registry", "registry.manifest.served", repository="tink-worker", reference="v1")
    assert "404" not in judge(tape.events).because


def test_f37_an_interface_that_is_not_there() -> None:
    tape = docker_up()
    tape.add(31, "machine", "guest.cmdline.seen", cmdline="x interface=enp1s0")
    tape.add(32, "machine", "guest.init.started", console="ttyS0")
    said(tape, "dial tcp 192.168.77.1:5000: connect: network is unreachable")
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == ("worker-pull", "guest-network")
    assert verdict.because == "Hook was told interface=enp1s0, and asked for no address"


def test_f43_a_proxy_that_wants_to_know_who_asks() -> None:
    tape = docker_up()
    tape.add(31, "machine", "guest.cmdline.seen", cmdline="x HTTP_PROXY=http://192.168.77.1:3128")
    for number in (1, 2):
        tape.add(44, "proxy", "proxy.request.refused", id=f"p{number}", mac=MAC, method="GET",
                 target="192.168.77.1:5000", reason="no credentials")  # fmt: skip
    said(tape, "Proxy Authentication Required")
    verdict = judge(tape.events)
    assert (verdict.failed_in, verdict.blame) == ("worker-pull", "boot-script")
    assert "docker through to 192.168.77.1:5000, twice: no credentials" in verdict.because
    assert "HTTP_PROXY=http://192.168.77.1:3128" in (verdict.hint or "")


BROKEN_OFF = (
    '[   39.788951] hook-docker: time="2026-11-21T23:08:57Z" level=error msg="Not continuing with'
    " pull after error: error pulling image configuration: download failed after attempts=6: dial"
    ' tcp 192.168.77.1:9: connect: connection refused"'
)
ELSEWHERE = "/v2/tink-worker/blobs/sha256:2f95"


def broke_off(tape: Tape, t: float) -> None:
    tape.add(t - 4, "registry", "registry.request.received", id=t, method="GET", path=ELSEWHERE)
    tape.add(t, "machine", "guest.error.seen", line=BROKEN_OFF, console="ttyS1",
             pattern="pull broken off")  # fmt: skip
    line = "bootstrapping tink-worker failed: No such image: 192.168.77.1:5000/tink-worker:v0.12.2"
    tape.add(t + 0.2, "machine", "guest.error.seen", line=line, console="ttyS1",
             pattern="worker did not start")  # fmt: skip


def test_blobs_that_are_elsewhere_where_nobody_is() -> None:
    """A registry in front of a storage, which the machine's network has no way to."""
    tape = docker_up()
    for t in (50, 60):
        tape.add(t, "registry", "registry.request.redirected", id=f"r{t}", path=ELSEWHERE,
                 method="GET", status=307, location="http://192.168.77.1:9/blob")  # fmt: skip
        broke_off(tape, t + 4)
    found = judge(tape.events)
    assert found.blame == "registry"
    assert found.because.startswith(
        "the registry sends docker to http://192.168.77.1:9/blob (307), twice, and docker gets"
        " nothing there: error pulling image configuration: download failed"
    )


def test_a_pull_that_docker_gave_up_is_told_with_dockers_reason() -> None:
    """Hook itself says that the pull went well."""
    tape = docker_up()
    broke_off(tape, 50)
    assert judge(tape.events).because.startswith(
        "docker gave up the pull of the worker's image, once: error pulling image configuration"
    )


def lookup_at(server: str, *, known: str = "0.0.0.0", arrow: str = "->") -> Tape:
    tape = docker_up()
    tape.add(
        0.1, "lab", "segment.created", bridge="hook0", kind="bridge", address="192.168.77.1/24"
    )
    tape.add(0.2, "dns", "service.started", service="dns", address=known, port=53, transport="udp")
    line = (
        f"image pull failure: dial tcp: lookup r.lab on {server}:53: read udp"
        f" 192.168.77.10:35526{arrow}{server}:53: i/o timeout"
    )
    tape.add(80, "machine", "guest.error.seen", line=line, console="ttyS1",
             pattern="image pull failure")  # fmt: skip
    return tape


def test_a_name_server_that_is_another_than_there_is() -> None:
    tape = lookup_at("192.168.77.99", arrow="\\u003e")  # as it stands on the console, in JSON
    assert judge(tape.events).blame == "guest-network"  # nobody gave it an address
    tape.add(81, "dhcp", "dhcp.ack.sent", stage="guest", address="192.168.77.10")
    found = judge(tape.events)
    assert found.blame == "dhcp"
    assert found.because == (
        "Hook was given 192.168.77.99 as its name server, and nobody answers there for r.lab: the"
        " name server is at 192.168.77.1"
    )


def test_a_name_server_that_hears_nothing() -> None:
    found = judge(lookup_at("10.0.0.1", known="10.0.0.1").events)
    assert (found.blame, found.because) == (
        "link",
        "nothing that Hook asks the name server 10.0.0.1 for r.lab arrives there",
    )


def test_a_lab_without_a_name_server() -> None:
    tape = Tape([e for e in lookup_at("10.0.0.1").events if e.get("service") != "dns"])
    found = judge(tape.events)
    assert (found.blame, found.because) == (
        "dns",
        "nobody answers at 10.0.0.1, which Hook asks for r.lab",
    )
