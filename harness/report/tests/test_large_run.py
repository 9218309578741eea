"""A long run's page: made in 3 s, no larger than 3 MB."""

from __future__ import annotations

import time
from pathlib import Path

from harness.report.html import write_report
from harness.report.tests.captures import BEGAN, CLIENT, SERVER, tcp, udp, write_capture
from harness.report.tests.folders import make_run
from harness.report.tests.test_packets import DISCOVER
from harness.scenario.tests.samples import Tape, good_boot

_FRAMES = 200_000
_MOST_S = 3.0
_MOST_BYTES = 3_000_000


def test_a_page_of_200_000_frames(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(0.0, "run", "run.started", wall=BEGAN.isoformat())
    tape.add(0.1, "http", "service.started", service="http", port=7080)
    for event in good_boot().events[:-1]:
        tape.add(event.t, event.source, event.name, **event.fields)
    for n in range(20_000):
        tape.add(
            20 + n / 500, "machine", "console.line.seen", console="ttyS0", text=f"line {n} " * 6
        )
    for n in range(6_000):
        tape.add(
            30 + n / 200, "registry", "registry.request.failed", path=f"/v2/{n}", status=404, id=n
        )
    tape.add(70, "run", "run.finished", outcome="ended")
    folder = make_run(tmp_path, tape)
    (folder / "serial-ttyS1.log").write_bytes(b"[    1.0] <kernel> & more of it\r\n" * 60_000)
    web = (SERVER, 7080)
    bulk, answer = tcp(web, CLIENT, bytes(1000)), tcp(CLIENT, web)
    ask = tcp(CLIENT, web, b"GET /x HTTP/1.1\r\nHost: lab\r\n\r\n")
    discover = udp(("0.0.0.0", 68), ("255.255.255.255", 67), DISCOVER)
    rest = (discover, ask, *[bulk] * 60, *[answer] * 38)
    frames = ((n * 60 / _FRAMES, rest[n % len(rest)]) for n in range(_FRAMES))
    capture = write_capture(folder / "capture.pcapng", frames)
    began_s = time.process_time()
    page = write_report(folder)
    took_s = time.process_time() - began_s
    capture.unlink()
    size = page.stat().st_size
    print(f"{_FRAMES} frames: {took_s:.2f} s of CPU, {size / 1e6:.2f} MB")
    assert took_s <= _MOST_S
    assert size <= _MOST_BYTES
