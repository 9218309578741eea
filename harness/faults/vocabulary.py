"""What faults can be said: the places, and at each its occasions, facts, deeds and fields.

A place is one module of ``harness.faults.places`` that defines ``PLACE``; to add a place, add its
module: nothing else needs to know. Everything that reads, refuses or documents a fault
(``harness.faults.model``, ``hooklab faults``, the JSON Schema, ``FAULTS.md``) goes by it. A service
then calls ``strike(occasion, **facts)`` with the occasion and facts that are named here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from harness.faults.deeds import DEEDS, Deed
from harness.faults.forms import Form
from harness.phases import Phase

FactKind = Literal["text", "number", "flag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """A kind of moment at a place."""

    name: str
    meaning: str
    once: bool = False
    """It comes once for each machine: a fault is done at the first moment that fits."""
    early: bool = False
    """It is before power-on: no time, phase or number can be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that ``when`` may test."""

    name: str
    meaning: str
    kind: FactKind = "text"
    values: tuple[str, ...] = ()
    """All it can be; empty: anything. Written in any case, kept as spelt here."""
    many: bool = False
    """There are too many ``values`` to list them."""
    occasions: tuple[str, ...] = ()
    """Where it is known; empty: at every occasion of the place."""
    only_at: Mapping[str, str] = field(default_factory=dict)
    """Value → the one occasion where the fact can have it: only a client sends a DISCOVER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """A deed that a place can do."""

    deed: type[Deed]
    meaning: str
    """What it means at this place."""
    example: str
    """A whole fault in YAML: ``{at: dhcp, when: {message: OFFER}, do: drop}``."""
    occasions: tuple[str, ...] = ()
    """Where it can be done; empty: at every occasion of the place."""

    @property
    def name(self) -> str:
        """The deed as it is written in ``do:``."""
        return next(name for name, deed in DEEDS.items() if deed is self.deed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Something ``replace`` and ``remove`` can change."""

    name: str
    form: Form
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where faults can be."""

    name: str
    meaning: str
    occasions: tuple[Occasion, ...]
    """In the order of preference: a fault that does not name its ``occasion`` is at the first
    that knows all its facts and takes its deed. A deed with ``occasions`` has its own order."""
    facts: tuple[Fact, ...] = ()
    deeds: tuple[Takes, ...]
    fields: tuple[Field, ...] = ()
    other_fields: Callable[[str], Field | None] | None = None
    """Knows fields that can't be listed, such as DHCP options by number; each is octets."""
    other_fields_pattern: str = ""
    """Regular expression of their names, for the JSON Schema."""
    other_fields_words: str = ""
    """What ``other_fields`` knows, for people."""
    rank: int = 50
    """Places are listed by this, then by name."""

    def field(self, name: str) -> Field | None:
        """Return the field called ``name``."""
        for one in self.fields:
            if one.name == name:
                return one
        return self.other_fields(name) if self.other_fields else None

    def takes(self, deed: str) -> Takes | None:
        """Return how this place does ``deed``, or None when it can't."""
        return next((one for one in self.deeds if one.name == deed), None)

    def occasions_of(self, some: Fact | Takes) -> tuple[str, ...]:
        """Return the occasions that know a fact or take a deed."""
        return some.occasions or tuple(one.name for one in self.occasions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """A key of ``when`` that every place knows."""

    name: str
    meaning: str
    schema: Mapping[str, object] = field(default_factory=dict)


_COUNT: Final = {"type": "integer", "minimum": 1}
_TIME: Final = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|min|m|h|d)$"}
_PHASES: Final = {"enum": [phase.value for phase in Phase]}

MAC: Final = Fact(
    name="mac",
    meaning="the machine's MAC address",
)
"""The fact that every place has."""

COMMON: Final = (
    Common(
        name="nth",
        meaning="only the moments with this number, or these, counted from 1 among all that fit"
        " (nth, first and every count for each machine)",
        schema={"anyOf": [_COUNT, {"type": "array", "items": _COUNT, "minItems": 1}]},
    ),
    Common(name="first", meaning="only so many moments that fit", schema=_COUNT),
    Common(name="every", meaning="only each so-manieth moment that fits", schema=_COUNT),
    Common(name="after", meaning="not before so long after power-on", schema=_TIME),
    Common(name="until", meaning="not later than so long after power-on", schema=_TIME),
    Common(
        name="probability",
        meaning="only so often, above 0 and up to 1; decided by the scenario's seed",
        schema={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    ),
    Common(
        name="phase",
        meaning="only while the machine is in this phase, or one of these",
        schema={"anyOf": [_PHASES, {"type": "array", "items": _PHASES, "minItems": 1}]},
    ),
)


@cache
def places() -> Mapping[str, Place]:
    """Return every place by its name."""
    import harness.faults.places as folder

    found = []
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name != "tests":
            loaded = importlib.import_module(f"{folder.__name__}.{module.name}")
            found.append(loaded.PLACE)
    return {place.name: place for place in sorted(found, key=lambda one: (one.rank, one.name))}
