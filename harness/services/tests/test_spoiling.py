"""A body that is corrupted in pieces is corrupted as a whole one would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.faults.deeds import Corrupt
from harness.services.spoiling import Spoiling

DEEDS = st.lists(
    st.builds(
        Corrupt,
        octets=st.integers(1, 400),
        at=st.none() | st.integers(0, 400),
        seed=st.integers(0, 1 << 32),
    ),
    max_size=3,
)


def changed(before: bytes, after: bytes) -> set[int]:
    return {n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}


@given(body=st.binary(max_size=300), deeds=DEEDS, size=st.integers(1, 350))
def test_where_the_pieces_end_makes_no_difference(
    body: bytes, deeds: list[Corrupt], size: int
) -> None:
    spoiling = Spoiling(deeds, len(body))
    whole = spoiling.apply(body, 0)
    pieces = [spoiling.apply(body[at : at + size], at) for at in range(0, len(body), size)]
    assert b"".join(pieces) == whole
    assert Spoiling(deeds, len(body)).apply(body, 0) == whole


@given(octets=st.integers(1, 500), at=st.integers(0, 500), seed=st.integers(0, 1 << 32))
def test_each_octet_from_the_first_on_is_another(octets: int, at: int, seed: int) -> None:
    body = bytes(300)
    after = Spoiling([Corrupt(octets=octets, at=at, seed=seed)], 300).apply(body, 0)
    expected = range(300) if octets >= 300 else range(at, min(300, at + octets))
    assert changed(body, after) == set(expected)


def test_anywhere_is_as_many_octets_as_were_asked_for_at_most() -> None:
    body = bytes(10_000)
    after = Spoiling([Corrupt(octets=40, seed=3)], len(body)).apply(body, 0)
    places = changed(body, after)
    assert 30 < len(places) <= 40
    assert max(places) - min(places) > 5000


def test_a_piece_in_which_nothing_is_changed_is_not_even_copied() -> None:
    spoiling = Spoiling([Corrupt(octets=1 << 18, at=20_000_000, seed=1)], 44 << 20)
    piece = bytes(1 << 16)
    after = [spoiling.apply(piece, at) for at in range(0, 44 << 20, 1 << 16)]
    assert sum(each is not piece for each in after) == 5
