"""What the handlers of both protocols share: the engine, the clock, the record, the pace."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from fake_tink_server.answers import Note, Refused
from fake_tink_server.calls import Call, Context, Record
from fake_tink_server.engine import Engine
from fake_tink_server.protocol import Protocol

T = TypeVar("T")


class Profile(StrEnum):
    """How v2's server paces its answers. v1's answers at once in either."""

    FAITHFUL = "faithful"
    """As Tinkerbell v0.25.0: what would be an error is tried again every second for a minute."""
    FAST = "fast"
    """Errors are answered at once, and the client's own waiting sets the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a call that would be refused is tried again."""

    interval_s: float
    limit_s: float
    """No try begins that would be this late or later."""

    @classmethod
    def of(cls, profile: Profile) -> Pace:
        """Return the pace of a profile."""
        limit_s = 60.0 if profile is Profile.FAITHFUL else 0.0
        return cls(interval_s=1.0, limit_s=limit_s)


@dataclass(slots=True, kw_only=True)
class Desk:
    """One server's shared things."""

    engine: Engine
    record: Record
    publish: Callable[[list[Note]], None]
    """Called after the engine was told something, with what that changed."""
    wall: Callable[[], float]
    """Seconds since the epoch."""
    pace: Pace
    peer_of: Callable[[str], str]
    """Turns grpc's name of a peer into ``address:port``."""
    numbers: itertools.count[int]

    def call(self, rpc: str, protocol: Protocol, context: Context) -> Call:
        """Return the record of a call that begins."""
        peer = self.peer_of(context.peer())
        return Call(next(self.numbers), rpc, protocol, context, self.record, peer)

    async def patiently(self, call: Call, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, tried again at the desk's pace while it is refused."""
        began_s = time.monotonic()
        while True:
            try:
                return work()
            except Refused as refused:
                elapsed_s = time.monotonic() - began_s
                if elapsed_s + self.pace.interval_s > self.pace.limit_s:
                    await call.refuse(refused)
            await asyncio.sleep(self.pace.interval_s)
            call.tries += 1
