"""Comments on frames of a capture, as tshark reads them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.net import pcapng
from harness.net.annotation import annotate
from harness.net.captured import CapturedFrames
from harness.tests.programs import needs


def capture(path: Path, frames: int = 6, *, comment: str | None = None) -> Path:
    """Write a capture of frames of every length modulo 4."""
    with path.open("wb") as file:
        file.write(pcapng.section(application="hooklab") + pcapng.interface("hook0"))
        for n in range(1, frames + 1):
            octets = bytes([n]) * (60 + n)
            file.write(pcapng.packet(n * 10**9, octets, comment=comment))
        file.write(pcapng.statistics(10**12, received=frames, dropped=0))
    return path


def told(path: Path) -> list[tuple[int, list[str]]]:
    """Return number of octets and comments of each frame, as tshark sees them."""
    argv = ["tshark", "-r", str(path), "-T", "json", "-e", "frame.len", "-e", "frame.comment"]
    output = subprocess.run(argv, capture_output=True, check=True).stdout
    layers = [one["_source"]["layers"] for one in json.loads(output)]
    return [(int(one["frame.len"][0]), whole(one.get("frame.comment", []))) for one in layers]


def whole(comments: list[str]) -> list[str]:
    """Return ``comments`` without lines of another one: tshark 4.4 tells those by themselves."""
    lines = {line for comment in comments if "\n" in comment for line in comment.split("\n")}
    return [comment for comment in comments if comment not in lines]


@needs("tshark")
def test_tshark_reads_the_comments(tmp_path: Path) -> None:
    path = capture(tmp_path / "c.pcapng")
    annotate(path, {2: "fault 1: dropped", 5: "ümlaut\nand a second line"})
    assert told(path) == [
        (61, []),
        (62, ["fault 1: dropped"]),
        (63, []),
        (64, []),
        (65, ["ümlaut\nand a second line"]),
        (66, []),
    ]
    assert not list(tmp_path.glob("*.new"))


def test_annotated_twice_is_annotated_once(tmp_path: Path) -> None:
    path, before = capture(tmp_path / "c.pcapng"), capture(tmp_path / "b.pcapng").read_bytes()
    annotate(path, {1: "one", 6: "six"})
    once = path.read_bytes()
    assert once != before
    annotate(path, {1: "one", 6: "six"})
    assert path.read_bytes() == once
    annotate(path, {})
    assert path.read_bytes() == before


def test_a_comment_that_is_too_long_is_cut(tmp_path: Path) -> None:
    path = capture(tmp_path / "c.pcapng", 1)
    annotate(path, {1: "x" * 100_000})
    with CapturedFrames(path) as captured:
        assert [frame.options_bytes for frame in captured] == [60_008]


def test_a_file_that_is_none_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.pcapng"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="no little-endian pcapng"):
        annotate(path, {1: "x"})
    assert path.read_bytes() == b"something else"
    assert [file.name for file in tmp_path.iterdir()] == ["c.pcapng"]
