"""Which lane of the picture something is drawn in."""

from __future__ import annotations

from harness.phases import Phase
from harness.report.lanes import Bar, Drawing, draw
from harness.scenario.tests.samples import Tape, good_boot
from harness.verdict import PhaseTracker


def drawn(tape: Tape) -> Drawing:
    tracker = PhaseTracker()
    for event in tape.events:
        tracker.feed(event)
    return draw(tape.events, tracker, end_s=tape.events[-1].t)


def lane_of(drawing: Drawing, note: str) -> str:
    return next(mark.lane for mark in drawing.marks if note in mark.note)


def bars(drawing: Drawing, lane: str, text: str) -> list[Bar]:
    return [bar for bar in drawing.bars if (bar.lane, bar.text) == (lane, text)]


def test_what_a_console_says_is_wrong_is_the_firmwares_until_linux_speaks() -> None:
    tape = good_boot().until("tftp.request.received")
    tape.add(7, "console", "guest.error.seen", line="PXE-E16: No valid offer", console="ttyS0")
    assert lane_of(drawn(tape), "PXE-E16") == "firmware"
    tape = good_boot().until("guest.kernel.started")
    tape.add(18, "console", "guest.error.seen", line="Out of memory", console="ttyS0")
    tape.add(19, "console", "guest.error.seen", line="hook-docker: no space", console="ttyS0")
    tape.add(20, "machine", "machine.reset", machine="machine", reason="guest-reset", guest=True)
    tape.add(21, "console", "guest.error.seen", line="PXE-E18: timeout", console="ttyS0")
    drawing = drawn(tape)
    assert lane_of(drawing, "Out of memory") == "kernel"
    assert lane_of(drawing, "no space") == "docker"
    assert lane_of(drawing, "PXE-E18") == "firmware"


def test_a_connection_that_never_became_grpc_is_seen() -> None:
    tape = good_boot().until("tink.rpc.received")
    tape.add(50, "tink", "tink.connection.accepted", id=8, peer="192.168.77.10:4000")
    tape.add(60, "tink", "tink.connection.failed", id=8, peer="192.168.77.10:4000", reason="closed")
    tape.add(60, "tink", "tink.connection.accepted", id=9, peer="192.168.77.10:4002")
    tape.add(70, "run", "run.finished", outcome="decided")
    failed, silent = bars(drawn(tape), "gRPC", "connected")
    assert (failed.kind, failed.note) == ("soft", "never became gRPC")
    assert (silent.kind, silent.note) == ("open", "did not end")


def test_one_that_did_is_a_thin_line() -> None:
    tape = good_boot().until("tink.rpc.received")
    tape.add(50, "tink", "tink.connection.accepted", id=8, peer="192.168.77.10:4000")
    tape.add(50, "tink", "tink.connection.opened", id=8, peer="192.168.77.10:4000")
    drawing = drawn(tape)
    assert not bars(drawing, "gRPC", "connected")
    assert [bar.kind for bar in bars(drawing, "gRPC", "")][-1] == "thin"


def test_the_worker_runs_when_it_calls_whatever_the_console_says() -> None:
    tape = good_boot()
    tracker = PhaseTracker()
    for event in tape.events:
        tracker.feed(event)
    workflow = next(span for span in tracker.spans if span.phase is Phase.WORKFLOW)
    assert tracker.power_on_s is not None
    (worker,) = bars(drawn(tape), "docker", "worker")
    assert worker.start_s <= workflow.start_s
