"""Whose fault it is when iPXE and an HTTPS server can't agree."""

from __future__ import annotations

from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict.judge import judge

URL = "https://192.168.77.1:7443/ipxe/script/auto.ipxe"
SAID = "Permission denied (https://ipxe.org/0216eb8f)"


def refused() -> Tape:
    tape = good_boot().until("dhcp.ack.sent", stage="tinkerbell")
    reason = "the client closed the connection during the handshake"
    tape.add(tape.events[-1].t + 1, "https", "http.tls.failed", peer="x:1", reason=reason)
    line = f"{URL}... {SAID}"
    tape.add(tape.events[-1].t, "machine", "guest.error.seen", line=line, console="ttyS0")
    return tape


def test_ipxe_says_why_it_left() -> None:
    verdict = judge(refused().events)
    assert (verdict.failed_in, verdict.blame) == ("ipxe", "http")
    assert verdict.because.endswith(
        f"closed the connection during the handshake; iPXE said: {SAID}"
    )


def test_a_server_that_was_asked_later_was_trusted_in_the_end() -> None:
    tape = refused()
    tape.add(tape.events[-1].t + 1, "https", "http.request.received", id=9, path="/x", method="GET")
    assert "come to terms" not in judge(tape.events).because
