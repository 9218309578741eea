"""DNS over TCP: one connection, many questions, each after its length (RFC 1035 §4.2.2)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Final, Protocol

from harness.errors import DecodeError
from harness.faults.deeds import Close, Deed, Delay, Drop, Reset
from harness.timeline import Timeline
from harness.wire.commands import Address, CancelTimer, Command, Malformed, Note, Send, SetTimer

_PATIENCE_S: Final = 10.0
_RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Core(Protocol):
    """A server that gets each message without its length."""

    def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        """Return what a message leads to. May raise ``DecodeError``."""

    def timer(self, name: str, now: float) -> Sequence[Command]:
        """Return what the end of a timer leads to."""


class Conversation:
    """One connection, which it closes in the end."""

    def __init__(
        self,
        *,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        core: Core,
        timeline: Timeline,
        source: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._core = core
        self._timeline = timeline
        self._source = source
        self._peer: Address = writer.get_extra_info("peername")[:2]
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def go_on(self, deeds: Sequence[Deed]) -> None:
        """Answer until the client is done; ``deeds`` are done to the connection first.

        Raises ``OSError`` (``TimeoutError`` too) and ``IncompleteReadError`` at its end.
        """
        for deed in deeds:
            match deed:
                case Delay(seconds=seconds):
                    await asyncio.sleep(seconds)
                case Drop():
                    await self._swallow()
                    return
                case Reset():
                    sock = self._writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
                    return
                case Close():
                    self._writer.write_eof()
                    async with asyncio.timeout(_PATIENCE_S):
                        await self._swallow()  # what is unread would make an RST of it
                    return
        query = b""
        try:
            while True:
                async with asyncio.timeout(_PATIENCE_S):
                    size = int.from_bytes(await self._reader.readexactly(2), "big")
                    query = await self._reader.readexactly(size)
                now = self._timeline.clock.now()
                self._do(self._core.receive(query, self._peer, now))
                await self._writer.drain()
        except DecodeError as error:
            self._do([Malformed(datagram=query, peer=self._peer, reason=str(error))])
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _swallow(self) -> None:
        """Read until the client closes, and keep nothing of it."""
        while await self._reader.read(1 << 16):
            pass

    def _do(self, commands: Sequence[Command]) -> None:
        loop = asyncio.get_running_loop()
        for command in commands:
            match command:
                case Send(data=data):
                    self._writer.write(len(data).to_bytes(2, "big") + data)
                case Note(name=name, fields=fields):
                    self._timeline.record(self._source, name, **fields)
                case Malformed(datagram=query, peer=peer, reason=reason):
                    self._timeline.record(
                        self._source,
                        "dns.malformed",
                        peer=f"{peer[0]}:{peer[1]}",
                        reason=reason,
                        bytes=len(query),
                    )
                case SetTimer(name=name, at=at):
                    delay = max(0.0, at - self._timeline.clock.now())
                    self._timers[name] = loop.call_later(delay, self._timer_ended, name)
                case CancelTimer(name=name):
                    if timer := self._timers.pop(name, None):
                        timer.cancel()

    def _timer_ended(self, name: str) -> None:
        del self._timers[name]
        if not self._writer.is_closing():
            self._do(self._core.timer(name, self._timeline.clock.now()))
