"""What is written is what Wireshark and scapy read."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from harness.net import pcapng

NANOSECOND_TIMES = st.integers(min_value=0, max_value=2**63 - 1)
FRAMES = st.lists(st.tuples(NANOSECOND_TIMES, st.binary(min_size=14, max_size=1600)), max_size=8)


@given(frames=FRAMES)
def test_scapy_reads_every_frame_and_time(frames: list[tuple[int, bytes]]) -> None:
    data = pcapng.section(application="hooklab") + pcapng.interface("hook0")
    data += b"".join(pcapng.packet(time_ns, frame) for time_ns, frame in frames)
    data += pcapng.statistics(1, received=len(frames), dropped=0)
    reader: Any = RawPcapNgReader(io.BytesIO(data))  # type: ignore[arg-type]
    found = []
    for frame, meta in reader:
        assert meta.tsresol == 10**9
        found.append(((meta.tshigh << 32) + meta.tslow, frame))
    assert found == frames


def test_tshark_reads_comments_times_and_statistics(tmp_path: Path) -> None:
    frame = bytes.fromhex("ffffffffffff02000000000188b5") + bytes(47)
    path = tmp_path / "a.pcapng"
    path.write_bytes(
        pcapng.section(application="hooklab", comment="a run")
        + pcapng.interface("hook0", comment="the segment")
        + pcapng.packet(1_700_000_000_123_456_789, frame, comment="dropped by fault F2")
        + pcapng.packet(1_700_000_000_123_456_790, frame[:60], length=61)
        + pcapng.statistics(1_700_000_001_000_000_000, received=2, dropped=7)
    )
    fields = ("frame.comment", "frame.time_epoch", "frame.len", "frame.cap_len")
    argv = ["tshark", "-r", str(path), "-T", "json", *(w for f in fields for w in ("-e", f))]
    layers = [
        packet["_source"]["layers"]
        for packet in json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    ]
    assert layers[0]["frame.comment"] == ["dropped by fault F2"]
    assert layers[0]["frame.time_epoch"] == ["1700000000.123456789"]
    assert layers[1]["frame.time_epoch"] == ["1700000000.123456790"]
    assert (layers[1]["frame.len"], layers[1]["frame.cap_len"]) == (["61"], ["60"])
    about = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True)
    assert "hook0" in about.stdout
