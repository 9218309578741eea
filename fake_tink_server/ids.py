"""ULIDs, as Tinkerbell's controller draws them for tasks and actions."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32."""


class Ulids:
    """Draws ids: 48 bits of milliseconds, 80 of chance, as 26 characters."""

    def __init__(self, chance: Callable[[int], bytes] = os.urandom) -> None:
        """``chance`` returns so many random octets."""
        self._chance = chance

    def new(self, now_s: float) -> str:
        """Return a new id; ``now_s`` is wall-clock seconds, 0 or more."""
        value = int(now_s * 1000) << 80 | int.from_bytes(self._chance(10), "big")
        return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
