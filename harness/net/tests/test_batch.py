"""Frames go through a batch whole, in order, and no more of them than there is room for."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness.net.batch import FRAMES, Batch

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    made = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    for end in (end for pair in made for end in pair):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    yield made[0], made[1]
    for end in (end for pair in made for end in pair):
        end.close()


def _fill(sock: socket.socket, frames: list[bytes]) -> list[bytes]:
    """Send as many of ``frames`` as the receiver's queue takes; return those."""
    sent = []
    for frame in frames:
        try:
            sock.send(frame)
        except BlockingIOError:
            break
        sent.append(frame)
    return sent


def test_frames_of_every_size_come_out_as_they_went_in(pairs: tuple[Pair, Pair]) -> None:
    (left, right), (there, end) = pairs
    batch = Batch()
    for sizes in ((60, 1514, 1), (65_000, 14), (1514, 60, 9000)):  # the longer after the shorter
        frames = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
        assert _fill(left, frames) == frames
        assert batch.receive(right.fileno()) == len(frames)
        assert [batch.frame(number) for number in range(len(frames))] == frames
        assert batch.send(there.fileno(), len(frames)) == len(frames)
        assert [end.recv(1 << 16) for _ in frames] == frames


def test_what_does_not_fit_is_told_and_still_there(pairs: tuple[Pair, Pair]) -> None:
    (left, right), (there, end) = pairs
    batch = Batch()
    room = len(_fill(there, [b"full"] * 5000))
    end.recv(10)  # room for one
    frames = _fill(left, [b"first", b"second", b"third"])
    assert batch.receive(right.fileno()) == 3
    assert batch.send(there.fileno(), 3) == 1
    with pytest.raises(BlockingIOError):
        batch.send(there.fileno(), 3)
    assert [batch.frame(number) for number in range(3)] == frames
    assert [end.recv(10) for _ in range(room)][-1] == b"first"


def test_nothing_to_take_and_nobody_to_send_to_are_errors(pairs: tuple[Pair, Pair]) -> None:
    (left, right), (there, end) = pairs
    batch = Batch()
    with pytest.raises(BlockingIOError):
        batch.receive(right.fileno())
    left.send(b"x")
    batch.receive(right.fileno())
    end.close()
    with pytest.raises(ConnectionRefusedError):
        batch.send(there.fileno(), 1)


def test_a_batch_takes_no_more_than_it_holds(pairs: tuple[Pair, Pair]) -> None:
    (left, right), _ = pairs
    batch = Batch()
    sent = _fill(left, [b"%d" % number for number in range(2 * FRAMES)])
    got = batch.receive(right.fileno())
    assert got == min(FRAMES, len(sent))
    assert [batch.frame(number) for number in range(got)] == sent[:got]
