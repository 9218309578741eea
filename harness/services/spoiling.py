"""Which octets of a long body are changed: ``Corrupt``, for what is sent in pieces."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from harness.faults.deeds import Corrupt

_NO_ZERO: Final = bytes.maketrans(b"\0", b"\xff")
"""An octet that is combined with 0 stays what it is."""


class Spoiling:
    """What ``deeds`` make of a body of ``length`` octets; the same for the same seeds."""

    def __init__(self, deeds: Sequence[Corrupt], length: int) -> None:
        self._runs: list[tuple[int, bytes]] = []
        scattered: dict[int, int] = {}
        for deed in deeds:
            chance = random.Random(deed.seed)
            start = 0 if deed.octets >= length else deed.at
            if start is not None:
                octets = max(0, min(deed.octets, length - start))
                self._runs.append((start, chance.randbytes(octets).translate(_NO_ZERO)))
                continue
            for _ in range(deed.octets):
                scattered[chance.randrange(length)] = chance.randrange(1, 256)
        self._places = sorted(scattered)
        self._masks = bytes(scattered[place] for place in self._places)

    def apply(self, piece: bytes, at: int) -> bytes:
        """Return what becomes of ``piece``, which begins at the body's octet ``at``."""
        end = at + len(piece)
        for start, masks in self._runs:
            first, last = max(at, start), min(end, start + len(masks))
            if first < last:
                changed = _combined(
                    piece[first - at : last - at], masks[first - start : last - start]
                )
                piece = piece[: first - at] + changed + piece[last - at :]
        first, last = bisect_left(self._places, at), bisect_left(self._places, end)
        if first == last:
            return piece
        spoilt = bytearray(piece)
        for place, mask in zip(self._places[first:last], self._masks[first:last], strict=True):
            spoilt[place - at] ^= mask
        return bytes(spoilt)


def _combined(data: bytes, masks: bytes) -> bytes:
    number = int.from_bytes(data, "big") ^ int.from_bytes(masks, "big")
    return number.to_bytes(len(data), "big")
