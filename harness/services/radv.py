"""Tells every machine that looks for an IPv6 router that there is none.

Frames go through a packet socket rather than the kernel's IPv6: the answer must be there before
the bridge has finished duplicate address detection, and where IPv6 is switched off.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from harness.errors import DecodeError, HostUnfit, SetupFailed
from harness.faults.dialects.radv import advertisements
from harness.faults.plan import Strike, no_strike
from harness.services.udp import crash
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire import radv

_PACKET_OUTGOING: Final = 4
_BATCH: Final = 64


class RadvService:
    """Answers each Router Solicitation on ``interface`` with lifetime 0 and no prefix."""

    name = "radv"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        interface: str,
        strike: Strike | None = None,
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._interface = interface
        self._strike = strike or no_strike
        self._sock: socket.socket | None = None

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(radv.ETHERTYPE))
        except PermissionError as error:
            raise HostUnfit(
                "radv can't open a packet socket",
                hint="run inside a sealed lab, where it is root of its own network",
            ) from error
        try:
            sock.bind((self._interface, radv.ETHERTYPE))
        except OSError as error:
            sock.close()
            raise SetupFailed(
                f"radv can't listen on {self._interface}: {error.strerror}",
                hint="the interface does not exist (yet): the segment must be up first",
            ) from error
        sock.setblocking(False)
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, sock)
        self._timeline.record(
            self.name,
            "service.started",
            service=self.name,
            address=str(radv.link_local(_mac(sock))),
            transport="icmpv6",
        )

    async def stop(self) -> None:
        """Stop listening; may be called twice."""
        if self._sock:
            self._close()
            self._timeline.record(self.name, "service.stopped", service=self.name)

    def _close(self) -> None:
        if self._sock:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _readable(self, sock: socket.socket) -> None:
        try:
            for _ in range(_BATCH):
                try:
                    frame, address = sock.recvfrom(65_535)
                except BlockingIOError:
                    return
                if address[2] != _PACKET_OUTGOING:
                    self._received(sock, frame)
        except Exception as error:  # a bug must fail the lab, not vanish in the loop's handler
            self._close()
            crash(self.name, error, timeline=self._timeline, tasks=self._tasks)

    def _received(self, sock: socket.socket, frame: bytes) -> None:
        try:
            solicitation = radv.decode_solicitation(frame)
        except DecodeError as error:
            self._timeline.record(self.name, "radv.malformed", reason=str(error), bytes=len(frame))
            return
        if solicitation is None:
            return
        self._timeline.record(
            self.name,
            "radv.solicitation.received",
            mac=solicitation.mac,
            peer=solicitation.source,
        )
        facts = {"mac": solicitation.mac, "source": solicitation.source}
        if self._strike("request", **facts):  # there it can only be lost
            return
        loop = asyncio.get_running_loop()
        for after_s, answer in advertisements(_mac(sock), self._strike("reply", **facts)):
            if after_s:
                loop.call_later(after_s, self._send, answer)
            else:
                self._send(answer)

    def _send(self, frame: bytes) -> None:
        if self._sock is None:  # stopped while this one waited
            return
        try:
            self._sock.send(frame)
        except OSError as error:  # the link went down: a fact of the run, and RS are repeated
            self._timeline.record(
                self.name,
                "service.send.failed",
                service=self.name,
                destination=str(radv.ALL_NODES),
                error=error.strerror or str(error),
            )
            return
        self._timeline.record(self.name, "radv.advertisement.sent", destination=str(radv.ALL_NODES))


def _mac(sock: socket.socket) -> bytes:
    """Return the MAC of the interface a packet socket is bound to; a bridge's can change."""
    mac: bytes = sock.getsockname()[4]
    return mac
