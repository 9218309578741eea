"""What a sans-IO server asks its shell to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


Command = Send | SetTimer | CancelTimer | Note
