"""Who keeps whom waiting in an exchange of datagrams: a core around a core that times its answers.

Seen from the server's side of the wire. From a peer's datagram to the answer it is the server's
turn; from there on that of the way and the peer, which can't be told apart from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from harness.wire.commands import Address, Command, Core, LockStep, Note, Send

_MOST_PEERS: Final = 64
"""Of more the longest silent ones are forgotten."""


class Turn:
    """How long one peer was kept waiting, in seconds."""

    def __init__(self) -> None:
        self._waits_since: float | None = None
        self._waited_s = 0.0

    def asked(self, now: float) -> None:
        """Take note that the peer said something; what it says again meanwhile does not count."""
        if self._waits_since is None:
            self._waits_since = now

    def answered(self, now: float) -> None:
        """Take note that the peer was sent something."""
        if self._waits_since is not None:
            self._waited_s += now - self._waits_since
            self._waits_since = None

    def waited_s(self, now: float) -> float:
        """Return how long it waited in all, until now."""
        since = now if self._waits_since is None else self._waits_since
        return self._waited_s + now - since


class Turns:
    """Adds ``server_s`` to the notes called ``told``: how long the server kept the peer waiting.

    It tells of the whole time that the peer is known; the difference of two notes is that between
    them.
    """

    def __init__(self, core: Core, *, told: str) -> None:
        self._core = core
        self._told = told
        self._turns: dict[Address, Turn] = {}

    def receive(self, datagram: bytes, peer: Address, now: float) -> list[Command]:
        """Let the core have a datagram. May raise ``DecodeError``."""
        turn = self._turns.pop(peer, None) or Turn()
        self._turns[peer] = turn  # the last one now
        if len(self._turns) > _MOST_PEERS:
            del self._turns[next(iter(self._turns))]
        turn.asked(now)
        return self.seen(self._core.receive(datagram, peer, now), now, peer)

    def timer(self, name: str, now: float) -> list[Command]:
        """Let the core have a timer."""
        return self.seen(self._core.timer(name, now), now)

    def seen(
        self, commands: Sequence[Command], now: float, peer: Address | None = None
    ) -> list[Command]:
        """Return ``commands``, which are done now, with what they are to tell of ``peer``."""
        for command in commands:
            if isinstance(command, Send):
                peer = command.destination
                if turn := self._turns.get(peer):
                    turn.answered(now)
        return [self._telling(command, now, peer) for command in commands]

    def _telling(self, command: Command, now: float, peer: Address | None) -> Command:
        match command:
            case Note(name=self._told) if peer and (turn := self._turns.get(peer)):
                waited_s = round(turn.waited_s(now), 3)
                return replace(command, fields={**command.fields, "server_s": waited_s})
            case LockStep(peer=its, over=over):  # answered at once, without asking the core
                return replace(command, over=lambda count, at: self.seen(over(count, at), at, its))
        return command
