"""A pull that nothing can save ends its run, and one that takes its time does not."""

from __future__ import annotations

import pytest

from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict.tests.playing import ended, play


def pulling() -> Tape:
    return good_boot().until("guest.docker.started")


def said(tape: Tape, t: float, pattern: str, line: str, times: int = 1) -> None:
    tape.add(t, "machine", "guest.error.seen", pattern=pattern, line=line, console="ttyS1",
             times=times)  # fmt: skip


def test_a_registry_without_tls() -> None:
    """The times are those of a real boot."""
    tape = pulling()
    line = "image pull failure: http: server gave HTTP response to HTTPS client"
    for number, t in enumerate((55.2, 56.1, 56.9, 58.7, 61.4), 1):
        tape.add(t, "registry", "registry.tls.failed", reason="TLS on the plain HTTP port")
        said(tape, t, "image pull failure", line, number)
    assert ended(tape, "pull-refused", by=58.5)


def test_an_insecure_registry_is_asked_with_tls_first() -> None:
    tape = pulling()
    for t in range(40, 60, 2):
        tape.add(t, "registry", "registry.tls.failed", reason="TLS on the plain HTTP port")
        tape.add(t + 0.1, "registry", "registry.request.received", id=t, path="/v2/")
    assert play(tape, until=65) is None


def test_a_registry_whose_tls_is_too_old() -> None:
    """The times are those of a real boot: after each handshake docker tries it without, thrice."""
    tape = pulling()
    line = "image pull failure: error parsing HTTP 400 response body: Client sent an HTTP request"
    for number, t in enumerate((36.7, 37.9, 39.0, 40.7, 42.6, 45.0), 1):
        tape.add(t, "registry", "registry.tls.failed", reason="unsupported protocol")
        for _ in range(3):
            tape.add(t + 0.1, "registry", "registry.tls.failed",
                     reason="plain HTTP on the TLS port")  # fmt: skip
        said(tape, t + 0.3, "image pull failure", line, number)
    assert ended(tape, "pull-refused", by=40.7)


def test_a_docker_that_knows_of_no_tls() -> None:
    tape = pulling()
    for t in (40, 41, 42, 44):
        tape.add(t, "registry", "registry.tls.failed", reason="plain HTTP on the TLS port")
    assert ended(tape, "pull-refused", by=44)


def test_a_certificate_that_only_the_clock_refuses_has_time() -> None:
    tape = pulling()
    line = "image pull failure: x509: certificate has expired or is not yet valid: current time …"
    for number, t in enumerate((40, 41, 42, 44, 47, 52, 60, 75, 110, 140, 145), 1):
        tape.add(t, "registry", "registry.tls.failed", reason="bad certificate")
        said(tape, t, "image pull failure", line, number)
    assert ended(tape, "pull-refused", by=140)


@pytest.mark.parametrize(
    ("says", "by"),
    [
        ("current time 2026-11-22T18:17:31Z is after 2026-11-21T18:17:31Z", 42.7),
        ("current time 2026-11-22T18:17:31Z is before 2026-11-24T18:17:31Z", 42.7),
        # valid in a while, and by a clock that is wrong
        ("current time 2026-11-22T18:17:31Z is before 2026-11-22T18:18:31Z", 139.7),
        ("current time 1970-01-01T00:00:31Z is before 2026-11-21T18:17:31Z", 139.7),
        ("current time 2031-01-01T00:00:31Z is after 2027-11-21T18:17:31Z", 139.7),
    ],
)
def test_a_certificate_that_the_true_time_refuses_has_none(says: str, by: float) -> None:
    """The times are those of a real boot, which began at 18:16:52."""
    tape = pulling()
    tape.add(35, "lab", "lab.resumed", wall="2026-11-22T18:16:52+00:00", point="hook-up")
    line = f"image pull failure: x509: certificate has expired or is not yet valid: {says}"
    times = (39.7, 40.4, 41.4, 42.7, 44.4, 47.1, 49.8, 56.9, 67.4, 84.5, 100.7, 118.6, 141.7, 143)
    for number, t in enumerate(times, 1):
        tape.add(t - 0.1, "registry", "registry.tls.failed", reason="bad certificate")
        said(tape, t, "image pull failure", line, number)
    assert ended(tape, "pull-refused", by=by)


def test_a_registry_that_is_not_there_yet_has_time() -> None:
    tape = pulling()
    line = "image pull failure: dial tcp 192.168.77.1:5000: connect: connection refused"
    for number, t in enumerate((40, 41, 42, 44, 47, 52, 60), 1):
        said(tape, t, "image pull failure", line, number)
    assert play(tape, until=69) is None
    said(tape, 69.5, "image pull failure", line, 8)
    said(tape, 70.5, "image pull failure", line, 9)
    assert ended(tape, "pull-fails", by=70)


@pytest.mark.parametrize(("interfaces", "by"), [(False, 103.1), (True, 129.5)])
def test_a_hook_without_a_network_card(interfaces: bool, by: float) -> None:
    """The times are those of a real boot without a driver."""
    tape = pulling()
    if not interfaces:
        said(tape, 79.8, "no address", "dhcpcd-daemon: no valid interfaces found")
    line = "image pull failure: dial tcp 192.168.77.1:5000: connect: network is unreachable"
    times = (99.5, 100.3, 101.3, 103.0, 104.4, 107.9, 113.8, 121.1, 132)
    for number, t in enumerate(times, 1):
        said(tape, t, "image pull failure", line, number)
    assert ended(tape, "pull-fails" if interfaces else "pull-refused", by=by)


def test_pulls_that_take_long_to_fail_need_not_be_so_many() -> None:
    """The times are those of a real boot, whose name server was mute."""
    tape = pulling()
    line = "image pull failure: dial tcp: lookup r on 10.0.0.9:53: read udp …: i/o timeout"
    for number, t in enumerate((80.7, 111.4, 142.6, 174.4, 205.6), 1):
        said(tape, t, "image pull failure", line, number)
    assert ended(tape, "pull-fails", by=174.4)


def test_an_image_that_nobody_has() -> None:
    tape = pulling()
    path = "/v2/tink-worker/manifests/v0.12.9"
    for t in (40, 41, 42, 44):
        tape.add(t, "registry", "registry.request.received", id=t, path=path)
        tape.add(t, "registry", "registry.request.failed", id=t, path=path, status=404)
    assert ended(tape, "pull-refused", by=44)


def test_layers_that_are_broken_off_by_turns() -> None:
    tape = pulling()
    for number in range(20):
        tape.add(40 + 2 * number, "registry", "registry.response.cut", id=number,
                 path=f"/v2/tink-worker/blobs/sha256:{number % 2}")  # fmt: skip
    assert ended(tape, "pull-fails", by=70)


def test_an_engine_that_does_not_start() -> None:
    tape = good_boot().until("dhcp.ack.sent", stage="guest")
    for number, t in enumerate((40, 50, 60), 1):
        said(tape, t, "docker did not start", "error starting up Docker", number)
    assert ended(tape, "docker-does-not-start", by=60)
