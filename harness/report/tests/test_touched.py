"""The frames of an event: what a fault struck, what proves a verdict."""

from __future__ import annotations

from pathlib import Path

from harness.net.captured import CapturedFrames
from harness.report.contents import proofs
from harness.report.record import read_run
from harness.report.tests.captures import BEGAN, CLIENT, SERVER, Frame, tcp, udp, write_capture
from harness.report.tests.folders import make_run
from harness.report.tests.test_packets import DISCOVER, OFFER
from harness.report.touched import Peers, asked_by, comment_on_faults, find_frames
from harness.scenario.tests.samples import MAC, Tape
from harness.timeline import Event

ASK, TELL = ("0.0.0.0", 68), ("255.255.255.255", 67)
REGISTRY = (SERVER, 5000)
ANSWER = udp((SERVER, 67), ("255.255.255.255", 68), OFFER)


def numbers(tmp_path: Path, frames: list[Frame], tape: Tape, event: Event) -> list[int]:
    """Return the numbers of the frames that belong to ``event``."""
    question = asked_by(event, Peers(tape.events))
    if question is None:
        return []
    with CapturedFrames(write_capture(tmp_path / "c.pcapng", frames)) as capture:
        find_frames(capture, [question], began_ns=int(BEGAN.timestamp()) * 10**9)
    return question.numbers


def test_an_answer_that_was_dropped_is_told_by_its_request(tmp_path: Path) -> None:
    frames = [(1.0, udp(ASK, TELL, DISCOVER)), (3.0, udp(ASK, TELL, DISCOVER)), (3.01, ANSWER)]
    tape = Tape()
    fired = tape.add(1.0005, "faults", "fault.fired", place="dhcp", deed="drop", mac=MAC, facts={})
    assert numbers(tmp_path, frames, tape, fired) == [1]


def test_an_answer_that_came_late_is_found(tmp_path: Path) -> None:
    frames = [(1.0, udp(ASK, TELL, DISCOVER)), (6.0, ANSWER)]
    tape = Tape()
    fired = tape.add(1.001, "faults", "fault.fired", place="dhcp", deed="delay", mac=MAC, facts={})
    assert numbers(tmp_path, frames, tape, fired) == [1, 2]


def test_another_machine_s_frames_are_not_touched(tmp_path: Path) -> None:
    frames = [(1.0, udp(ASK, TELL, DISCOVER))]
    tape = Tape()
    other = "52:54:00:00:00:99"
    fired = tape.add(1.0, "faults", "fault.fired", place="dhcp", deed="drop", mac=other, facts={})
    assert numbers(tmp_path, frames, tape, fired) == []


def test_a_request_is_found_by_its_path_and_port(tmp_path: Path) -> None:
    one, two = ("192.168.77.10", 40001), ("192.168.77.10", 40002)
    frames = [
        (5.0, tcp(one, REGISTRY, b"GET /v2/a HTTP/1.1\r\n\r\n")),
        (5.0, tcp(two, REGISTRY, b"GET /v2/b HTTP/1.1\r\n\r\n")),
        (5.02, tcp(REGISTRY, two, b"HTTP/1.1 429 Slow\r\n\r\n")),
    ]
    tape = Tape()
    for number, (client, path) in enumerate(((one, "/v2/a"), (two, "/v2/b"))):
        peer = f"{client[0]}:{client[1]}"
        tape.add(5.001, "registry", "registry.request.received", id=number, path=path, peer=peer)
    fired = tape.add(
        5.002, "faults", "fault.fired", place="registry", deed="status", facts={"path": "/v2/b"}
    )
    assert numbers(tmp_path, frames, tape, fired) == [2, 3]


def test_an_event_without_a_frame_has_no_question() -> None:
    tape = Tape()
    event = tape.add(1.0, "machine", "guest.error.seen", line="x", console="ttyS0")
    assert asked_by(event, Peers(tape.events)) is None


def test_the_proof_names_console_lines_and_frames(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(0.0, "run", "run.started", wall=BEGAN.isoformat())
    tape.add(1.0, "machine", "machine.powered_on", mac=MAC, firmware="uefi", accel="tcg", cpus=1)
    peer = f"{CLIENT[0]}:{CLIENT[1]}"
    for t in (20.0, 22.0):
        tape.add(t, "registry", "registry.tls.failed", peer=peer, reason="TLS on the plain port")
    tape.add(30.0, "run", "run.finished", outcome="deadline")
    folder = make_run(tmp_path / "run", tape)
    frames = [(20.0, tcp(CLIENT, REGISTRY, b"\x16\x03\x01")), (22.0, tcp(CLIENT, REGISTRY, b"x"))]
    write_capture(folder / "capture.pcapng", frames)
    told = {proof.event.t: proof.frames for proof in proofs(read_run(folder))}
    assert told.items() >= {20.0: (1,), 22.0: (2,)}.items()


def test_the_capture_says_which_frames_a_fault_touched(tmp_path: Path) -> None:
    frames = [
        (1.0, udp(ASK, TELL, DISCOVER)),
        (2.0, udp(ASK, TELL, DISCOVER)),
        (2.01, ANSWER),
    ]
    path = write_capture(tmp_path / "capture.pcapng", frames)
    tape = Tape()
    tape.add(0.0, "run", "run.started", wall=BEGAN.isoformat())
    fields = {"fault": 1, "place": "dhcp", "deed": "drop", "text": "at dhcp do drop", "mac": MAC}
    tape.add(1.001, "faults", "fault.fired", facts={}, **fields)
    assert comment_on_faults(path, tape.events) == 1
    with CapturedFrames(path) as capture:
        texts = [
            capture.data[frame.options_at : frame.options_at + frame.options_bytes]
            for frame in capture
        ]
    assert b"hooklab fault 1 (at dhcp do drop): struck here, event 2" in texts[0]
    assert texts[1:] == [b"", b""]


def test_a_capture_no_fault_touched_is_left_alone(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "capture.pcapng", [(1.0, ANSWER)])
    before = path.stat().st_mtime_ns, path.read_bytes()
    tape = Tape()
    tape.add(0.0, "run", "run.started", wall=BEGAN.isoformat())
    assert comment_on_faults(path, tape.events) == 0
    tape.add(9.0, "faults", "fault.fired", place="link", deed="down", facts={})
    assert comment_on_faults(path, tape.events) == 0
    assert comment_on_faults(tmp_path / "none.pcapng", tape.events) == 0
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
