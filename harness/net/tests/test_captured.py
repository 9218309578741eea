"""A capture is read from any moment on as it is from its begin."""

from __future__ import annotations

from itertools import dropwhile
from pathlib import Path

import pytest

from harness.net import pcapng
from harness.net.captured import CapturedFrames

TIMES_S = [5, 7, 6, 9, 9, 8, 12]
"""Stamps of frames, of which some are earlier than the one before: a clock that was set."""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "c.pcapng"
    with path.open("wb") as file:
        file.write(pcapng.section(application="hooklab") + pcapng.interface("hook0"))
        for n, time_s in enumerate(TIMES_S):
            file.write(pcapng.packet(time_s * 10**9, bytes([n]) * (60 + n)))
    return path


@pytest.mark.parametrize("since_s", range(4, 14))
def test_what_comes_before_is_passed_over_and_counted(capture: Path, since_s: int) -> None:
    with CapturedFrames(capture) as frames:
        every = list(frames)
        assert [frame.number for frame in every] == list(range(1, len(TIMES_S) + 1))
        assert [frame.time_ns for frame in every] == [time_s * 10**9 for time_s in TIMES_S]
        since_ns = since_s * 10**9
        assert list(frames.since(since_ns)) == list(
            dropwhile(lambda frame: frame.time_ns < since_ns, every)
        )
