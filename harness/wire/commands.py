"""What a sans-IO server asks its shell to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Address = tuple[str, int]
"""IPv4 address in dotted form, and UDP port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send ``data`` to ``destination``."""

    data: bytes
    destination: Address
    link: bytes | None = None
    """The peer's MAC (6 octets) where the peer has no address yet and ARP would not find it."""
    source: Address | None = None
    """Claim to be this sender; an empty address or port 0 stands for the right one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Call ``timer(name, now)`` at ``at`` seconds; replaces a timer of that name."""

    name: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    """Forget the timer called ``name``; nothing happens when there is none."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Record the event ``name`` with ``fields`` on the timeline."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """Record that ``datagram`` from ``peer`` is none of the protocol's, and why."""

    datagram: bytes
    peer: Address
    reason: str


Round = tuple[bytes, Sequence[bytes]]
"""A datagram that is expected, and those that are sent in answer to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockStep:
    """Answer ``peer`` without asking the core, while it says nothing but what is expected.

    A shell may ignore this. The first other datagram of ``peer``, the end of ``rounds`` and that
    of any timer end it, and the core gets what comes from then on.
    """

    peer: Address
    rounds: Iterator[Round]
    over: Callable[[int, float], Sequence[Command]]
    """Called with how many rounds are over since the last call, and with the time of the last:
    always before the core hears of anything else, and now and then while they follow each other.
    """


Command = Send | SetTimer | CancelTimer | Note | Malformed | LockStep


class Core(Protocol):
    """A server without a socket or a clock. ``now`` is in seconds on the run's clock."""

    def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        """Return what a datagram from ``peer`` leads to. May raise ``DecodeError``."""

    def timer(self, name: str, now: float) -> Sequence[Command]:
        """Return what the end of a timer leads to."""
