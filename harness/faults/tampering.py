"""Between a UDP core and its shell: does the deeds of faults to datagrams on their way.

``Tampering`` is itself a core: it asks ``strike`` about each datagram that comes in and each that
goes out, and bends, holds back, repeats or loses it. What a datagram means is a ``Dialect``'s to
say. What the server noted stays true of the server: a lost OFFER was sent; only where the
server itself says something else (``replace``, ``remove``, ``status``) is the note changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from harness.errors import DecodeError
from harness.faults.deeds import (
    Corrupt,
    Deed,
    Delay,
    Drop,
    Duplicate,
    Remove,
    Reorder,
    Replace,
    SecondServer,
    Source,
    Status,
    Truncate,
)
from harness.faults.plan import Strike, no_strike
from harness.wire.commands import (
    Address,
    CancelTimer,
    Command,
    Core,
    LockStep,
    Malformed,
    Note,
    Send,
    SetTimer,
)

Facts = Mapping[str, Any]
REQUEST = "request"
REPLY = "reply"


class Dialect(Protocol):
    """What the datagrams of one protocol say, and how they are made to say something else."""

    def request(self, datagram: bytes, peer: Address) -> Facts:
        """Return the facts of what came in. May raise ``DecodeError``."""

    def reply(self, datagram: bytes, peer: Address) -> Facts:
        """Return the facts of what goes out. May raise ``DecodeError``."""

    def bend(self, deed: Deed, datagram: bytes, occasion: str) -> bytes:
        """Return ``datagram`` after a replace, remove, status or second server."""

    def retell(self, note: Note, datagram: bytes) -> Note:
        """Return the note of what was sent as it is for the bent ``datagram``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcel:
    """One datagram on its way."""

    data: bytes
    after_s: float = 0.0
    behind: int = 0
    source: Address | None = None


@dataclass(slots=True, kw_only=True)
class _Held:
    """Something that waits: for its time, or for others to overtake it."""

    occasion: str
    release: Callable[[float], list[Command]]
    behind: int


class Tampering:
    """A core around a core."""

    def __init__(self, core: Core, *, strike: Strike, dialect: Dialect) -> None:
        self._core = core
        self._strike = strike
        self._dialect = dialect
        self._held: dict[str, _Held] = {}
        self._count = 0

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Take a datagram; it may reach the core changed, later, twice or never."""
        try:
            facts = self._dialect.request(datagram, peer)
        except DecodeError:
            return self.replies(self._core.receive(datagram, peer, now), now)
        parcels = self._through(self._strike(REQUEST, **facts), datagram, REQUEST)

        def arrive(parcel: _Parcel, then: float) -> list[Command]:
            try:
                commands = self._core.receive(parcel.data, peer, then)
            except DecodeError as error:  # what was held back comes in a timer, or beside others
                return [Malformed(datagram=parcel.data, peer=peer, reason=str(error))]
            return self.replies(commands, then)

        return self._forward(parcels, REQUEST, arrive, now)

    def timer(self, name: str, now: float) -> list[Command]:
        """Release what is held, or let the core have its timer."""
        if held := self._held.pop(name, None):
            return held.release(now)
        return self.replies(self._core.timer(name, now), now)

    def replies(self, commands: Sequence[Command], now: float) -> list[Command]:
        """Return what becomes of the core's commands."""
        out: list[Command] = []
        bent: bytes | None = None
        for command in commands:
            if isinstance(command, Send):
                sent, bent = self._reply(command, now)
                out += sent
            elif isinstance(command, Note) and bent is not None and _tells_of_sending(command):
                out.append(self._dialect.retell(command, bent))
            elif isinstance(command, LockStep):
                continue  # no datagram may go by without being looked at
            else:
                out.append(command)
        return out

    def _reply(self, command: Send, now: float) -> tuple[list[Command], bytes | None]:
        """Return what to send instead, and the datagram if the server itself says otherwise."""
        try:
            facts = self._dialect.reply(command.data, command.destination)
        except DecodeError:
            return [command], None
        deeds = self._strike(REPLY, **facts)
        if not deeds:
            if any(held.occasion == REPLY and held.behind for held in self._held.values()):
                return [command, *self._overtaken(REPLY, now)], None
            return [command], None

        def leave(parcel: _Parcel, then: float) -> list[Command]:
            del then
            return [replace(command, data=parcel.data, source=parcel.source)]

        parcels = self._through(deeds, command.data, REPLY)
        bent = command.data
        for deed in deeds:
            if isinstance(deed, Replace | Remove | Status):
                bent = self._dialect.bend(deed, bent, REPLY)
        said = bent if bent != command.data else None
        return self._forward(parcels, REPLY, leave, now), said

    def _through(self, deeds: Sequence[Deed], data: bytes, occasion: str) -> list[_Parcel]:
        """Return what ``deeds`` make of one datagram."""
        parcels = [_Parcel(data=data)]
        for deed in deeds:
            parcels = [part for parcel in parcels for part in self._done(deed, parcel, occasion)]
        return parcels

    def _done(self, deed: Deed, parcel: _Parcel, occasion: str) -> list[_Parcel]:
        match deed:
            case Drop():
                return []
            case Delay(seconds=seconds):
                return [replace(parcel, after_s=parcel.after_s + seconds)]
            case Duplicate(times=times, seconds=gap):
                return [
                    replace(parcel, after_s=parcel.after_s + number * gap)
                    for number in range(times + 1)
                ]
            case Reorder(behind=behind, seconds=seconds):
                return [replace(parcel, behind=behind, after_s=parcel.after_s + seconds)]
            case Corrupt() | Truncate():
                return [replace(parcel, data=deed.apply(parcel.data))]
            case Source(address=address, port=port):
                return [replace(parcel, source=(address, port))]
            case SecondServer(address=address, first=first):
                data = self._dialect.bend(deed, parcel.data, occasion)
                second = replace(parcel, data=data, source=(address, 0))
                return [second, parcel] if first else [parcel, second]
            case Replace() | Remove() | Status():
                return [replace(parcel, data=self._dialect.bend(deed, parcel.data, occasion))]
            case _:
                return [parcel]

    def _forward(
        self,
        parcels: Sequence[_Parcel],
        occasion: str,
        go: Callable[[_Parcel, float], list[Command]],
        now: float,
    ) -> list[Command]:
        """Let each parcel go, now or at its time; those that go now overtake what is held."""
        out: list[Command] = []
        for parcel in parcels:
            if not parcel.after_s:
                out += go(parcel, now)
                out += self._overtaken(occasion, now)
                continue
            self._count += 1
            name = f"fault {self._count}"

            def release(then: float, parcel: _Parcel = parcel) -> list[Command]:
                return go(parcel, then)

            self._held[name] = _Held(occasion=occasion, release=release, behind=parcel.behind)
            out.append(SetTimer(name=name, at=now + parcel.after_s))
        return out

    def _overtaken(self, occasion: str, now: float) -> list[Command]:
        """Return what goes now that one more datagram of ``occasion`` went by."""
        out: list[Command] = []
        for name, held in list(self._held.items()):
            if held.occasion == occasion and held.behind:
                held.behind -= 1
                if not held.behind:
                    del self._held[name]
                    out += [CancelTimer(name=name), *held.release(now)]
        return out


def tampered(core: Core, strike: Strike | None, dialect: Dialect) -> Core:
    """Return ``core``, behind a ``Tampering`` where some fault may strike it."""
    if strike is None or strike is no_strike:
        return core
    return Tampering(core, strike=strike, dialect=dialect)


def nobody(address: str) -> str | None:
    """Be the ``identify`` of a service that knows no MAC."""
    del address
    return None


def _tells_of_sending(note: Note) -> bool:
    return note.name.endswith(".sent")
