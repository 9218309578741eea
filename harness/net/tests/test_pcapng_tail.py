"""The last frames of a capture, whole or still being written."""

from __future__ import annotations

from pathlib import Path

from harness.net import pcapng
from harness.net.pcapng_tail import last_frames


def capture(count: int) -> bytes:
    blocks = [pcapng.section(application="test", comment="x"), pcapng.interface("hook0")]
    blocks += [pcapng.packet(1_000_000_000 * n, bytes([n]) * (60 + n)) for n in range(count)]
    return b"".join(blocks)


def test_the_last_ones_come_in_order(tmp_path: Path) -> None:
    file = tmp_path / "c.pcapng"
    file.write_bytes(capture(9))
    frames = last_frames(file, 3)
    assert [time_ns // 1_000_000_000 for time_ns, _ in frames] == [6, 7, 8]
    assert frames[-1][1] == bytes([8]) * 68


def test_fewer_than_asked_for_and_a_closing_block(tmp_path: Path) -> None:
    file = tmp_path / "c.pcapng"
    file.write_bytes(capture(2) + pcapng.statistics(5, received=2, dropped=0))
    assert len(last_frames(file, 10)) == 2


def test_a_block_that_is_not_complete(tmp_path: Path) -> None:
    file = tmp_path / "c.pcapng"
    for cut in range(1, 40):
        file.write_bytes(capture(3)[:-cut])
        assert len(last_frames(file, 10)) <= 2
    file.write_bytes(b"")
    assert last_frames(file, 10) == []
