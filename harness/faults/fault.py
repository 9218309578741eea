"""One declared fault, in normal form: plain data that can be locked, pickled and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Wanted = tuple[Any, ...]
"""What a fact may be for a fault to fire: one of these texts (globs), numbers or flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``at`` this place, ``when`` a moment is like this, ``do`` that."""

    place: str
    """``dhcp``, ``http``, …: a name of ``harness.faults.vocabulary``."""
    occasion: str
    """Which kind of moment of that place: ``request``, ``reply``, …"""
    facts: Mapping[str, Any]
    """Fact → list of wanted values; all must fit. Texts are globs, ``> 5`` compares numbers."""
    nth: tuple[int, ...] = ()
    """Only the moments with these numbers, counted from 1 among those that fit otherwise."""
    first: int | None = None
    """Only so many."""
    once: bool = False
    """Its occasion comes once: as soon as a moment fits, and then no more."""
    every: int | None = None
    """Only each so-manieth."""
    after_s: float | None = None
    """Not before so long after power-on."""
    until_s: float | None = None
    """Not later than so long after power-on."""
    probability: float | None = None
    """Only so often, by the seed; 0 < p <= 1."""
    phases: tuple[str, ...] = ()
    """Only while the machine is in one of these phases."""
    deed: str
    """A name of ``harness.faults.deeds.DEEDS``."""
    parameters: Mapping[str, Any]
    """The deed's parameters, in normal form."""
    text: str
    """As a person wrote it, on one line."""
    at: str = ""
    """Where it is written: ``file:line:column``."""

    @property
    def needs_frames(self) -> bool:
        """Whether it is done to frames, which have to pass through user space for that."""
        return self.place == "wire" or (self.place, self.deed) == ("link", "block")

    @property
    def title(self) -> str:
        """The fault and where it is written."""
        return f"{self.text} ({self.at})" if self.at else self.text
