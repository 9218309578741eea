"""A whole segment, with its capture, as somebody without any privileges."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.tests.nobody import NOBODY, SYSTEM_PYTHON, needs_root, open_dir, open_sources

__all__ = ["open_dir"]

pytestmark = [pytest.mark.service, needs_root]

# What runs here needs the standard library only: it is the system's Python.
INNER = """
import sys
from harness.seal import PRIVATE_DIR, settle_in
settle_in()
import asyncio, socket
from pathlib import Path
from harness.net.capture import Capture
from harness.net.segment import Segment, SegmentKind
from harness.tasks import TaskKeeper
from harness.timeline import Timeline

async def main(run_dir):
    timeline, tasks = Timeline(None), TaskKeeper()
    lan = Segment(timeline=timeline, tasks=tasks, kind=SegmentKind.WIRE, private_dir=PRIVATE_DIR)
    await lan.start()
    capture = Capture(timeline=timeline, tasks=tasks, interface=lan.bridge,
                      path=run_dir / "capture.pcapng")
    await capture.start()
    port = await lan.plug_in("m1")
    await port.ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as machine, \\
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5)) as server:
        server.bind((lan.bridge, 0x88b5))
        server.setblocking(False)
        machine.connect(str(PRIVATE_DIR / "port0-lab"))
        machine.send(b"\\xff" * 6 + bytes.fromhex("52540000000188b5") + b"from the machine")
        frame = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(server, 2000), 10)
        print(frame[14:].decode(), flush=True)
    await capture.stop()
    await lan.stop()
    await tasks.close()

asyncio.run(main(Path(sys.argv[1])))
"""

OUTER = """
import asyncio, sys
from pathlib import Path
from harness.seal import seal
async def main():
    sealed = await seal([sys.executable, "-c", sys.argv[2], sys.argv[1]], run_dir=Path(sys.argv[1]),
                        on_line=lambda line: print(line, flush=True))
    return await sealed.wait()
sys.exit(asyncio.run(main()))
"""


def test_nobody_has_a_lab(open_dir: Path) -> None:
    done = subprocess.run(
        [*NOBODY, SYSTEM_PYTHON, "-c", OUTER, str(open_dir), INNER],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(open_sources())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + (open_dir / "lab.log").read_text()
    assert done.stdout == "from the machine\n"
    path = open_dir / "capture.pcapng"
    assert path.stat().st_uid == 65534
    argv = ["tshark", "-r", str(path), "-Y", "eth.type == 0x88b5"]
    assert len(subprocess.run(argv, capture_output=True, check=True).stdout.splitlines()) == 1
