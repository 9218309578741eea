"""The frame splitter, whatever the pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server.frames import END_HEADERS, Frame, FrameSplitter, FrameType, goaway

FRAMES = st.builds(
    Frame,
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**31 - 1),
    st.binary(max_size=300),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_any_cut_gives_the_same_frames(frames: list[Frame], sizes: list[int]) -> None:
    octets = b"".join(frame.encode() for frame in frames)
    splitter, found, turn = FrameSplitter(), [], 0
    while octets:
        size = sizes[turn % len(sizes)]
        found += splitter.feed(octets[:size])
        octets, turn = octets[size:], turn + 1
    assert found == frames


@given(st.binary(max_size=500))
def test_any_octets_do_no_harm(data: bytes) -> None:
    encoded = b"".join(frame.encode() for frame in FrameSplitter().feed(data))
    assert len(encoded) <= len(data)


def test_a_header_block_is_not_torn() -> None:
    splitter = FrameSplitter()
    splitter.feed(Frame(FrameType.HEADERS, 0, 1, b"x").encode())
    assert not splitter.between
    splitter.feed(Frame(FrameType.CONTINUATION, END_HEADERS, 1, b"y").encode())
    assert splitter.between


def test_goaway_is_as_rfc_9113_draws_it() -> None:
    assert goaway(5, 11, b"why").hex() == "00000b070000000000000000050000000b" + (b"why".hex())
