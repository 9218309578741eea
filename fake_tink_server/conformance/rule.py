"""What a rule is, and what can become of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from fake_tink_server.protocol import Protocol

if TYPE_CHECKING:
    from fake_tink_server.conformance.scene import Scene


BOTH: Final = frozenset(Protocol)
ONLY_V1: Final = frozenset({Protocol.V1})


class Outcome(StrEnum):
    """What became of a rule."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    """It could not be judged."""
    NOT_APPLICABLE = "n/a"
    """It is about something this worker has no part in."""


class Broken(Exception):
    """A worker does not honour a rule; the text is the evidence."""


class NotJudged(Exception):
    """The stage for a rule could not be set; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a worker must (or should) do."""

    name: str
    must: str
    """The rule, as a sentence."""
    check: Callable[[Scene], Awaitable[str]]
    """Sets the stage and judges: returns the evidence, or raises ``Broken`` or ``NotJudged``."""
    required: bool = True
    """Whether breaking it makes the kit's exit status 1."""
    protocols: frozenset[Protocol] = BOTH
    containers: bool = False
    """Whether it means nothing for a worker that never calls the docker engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A rule, judged."""

    number: int
    rule: Rule
    outcome: Outcome
    evidence: str
    seconds: float = 0.0
