"""The asyncio shell of a sans-IO UDP core: commands in, datagrams, timers and events out."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from harness.errors import DecodeError, ServiceCrashed, SetupFailed
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.commands import Address, CancelTimer, Command, Note, Send, SetTimer
from harness.wire.ipv4 import encode_udp

_BATCH: Final = 64
"""Datagrams read before the loop gets its turn again."""
_MAX_DATAGRAM: Final = 65_535
_BUFFER_BYTES: Final = 4 << 20


class Core(Protocol):
    """A server without a socket or a clock. ``now`` is in seconds on the run's clock."""

    def receive(self, datagram: bytes, peer: Address, now: float) -> Sequence[Command]:
        """Return what a datagram from ``peer`` leads to. May raise ``DecodeError``."""

    def timer(self, name: str, now: float) -> Sequence[Command]:
        """Return what the end of a timer leads to."""


class UdpShell:
    """Drives one core on one socket, which it owns and closes."""

    def __init__(
        self,
        *,
        service: str,
        core: Core,
        sock: socket.socket,
        timeline: Timeline,
        tasks: TaskKeeper,
        answers: socket.socket | None = None,
    ) -> None:
        """``answers``: another shell's socket that datagrams leave by instead of ``sock``."""
        self.core = core
        self._service = service
        self._sock = sock
        self._out = answers or sock
        self._timeline = timeline
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unsent: deque[Send] = deque()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def port(self) -> int:
        """The local UDP port."""
        return int(self._sock.getsockname()[1])

    @property
    def closed(self) -> bool:
        """Whether the socket is gone."""
        return self._sock.fileno() < 0

    def close(self) -> None:
        """Stop, forget every timer and close the socket; may be called twice."""
        if self.closed:
            return
        self._loop.remove_reader(self._sock.fileno())
        if self._out.fileno() >= 0:
            self._loop.remove_writer(self._out.fileno())
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        self._sock.close()

    def run(self, commands: Sequence[Command]) -> None:
        """Do what ``commands`` say, in order."""
        for command in commands:
            match command:
                case Send():
                    self._send(command)
                case Note():
                    self._timeline.record(self._service, command.name, **command.fields)
                case SetTimer():
                    self._cancel(command.name)
                    delay = max(0.0, command.at - self._timeline.clock.now())
                    handle = self._loop.call_later(delay, self._timer_ended, command.name)
                    self._timers[command.name] = handle
                case CancelTimer():
                    self._cancel(command.name)

    def _cancel(self, name: str) -> None:
        if handle := self._timers.pop(name, None):
            handle.cancel()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self.closed:
                return
            try:
                datagram, peer = self._sock.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                self._crashed(error)
                return
            self._receive(datagram, (peer[0], peer[1]))

    def _receive(self, datagram: bytes, peer: Address) -> None:
        try:
            self.run(self.core.receive(datagram, peer, self._timeline.clock.now()))
        except DecodeError as error:
            self._timeline.record(
                self._service,
                f"{self._service}.malformed",
                peer=f"{peer[0]}:{peer[1]}",
                reason=str(error),
                bytes=len(datagram),
            )
        except Exception as error:  # a bug must fail the lab, not vanish in the loop's handler
            self._crashed(error)

    def _timer_ended(self, name: str) -> None:
        self._timers.pop(name, None)
        try:
            self.run(self.core.timer(name, self._timeline.clock.now()))
        except Exception as error:
            self._crashed(error)

    def _crashed(self, error: Exception) -> None:
        self.close()
        crash(self._service, error, timeline=self._timeline, tasks=self._tasks)

    def _send(self, command: Send) -> None:
        if self._unsent:
            self._unsent.append(command)
        elif not self._sent(command):
            self._unsent.append(command)
            self._loop.add_writer(self._out.fileno(), self._writable)

    def _writable(self) -> None:
        while self._unsent and self._sent(self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent and not self.closed:
            self._loop.remove_writer(self._out.fileno())

    def _sent(self, command: Send) -> bool:
        """Tell whether ``command`` is dealt with; False: the socket's buffer is full."""
        if self.closed:
            return True
        try:
            if command.source is None:
                self._out.sendto(command.data, command.destination)
            else:
                self._send_as(command.source, command)
        except BlockingIOError:
            return False
        except OSError as error:  # no route to it, or it is too long: a fact, not a crash
            self._timeline.record(
                self._service,
                "service.send.failed",
                service=self._service,
                destination=f"{command.destination[0]}:{command.destination[1]}",
                error=error.strerror or str(error),
            )
        return True

    def _send_as(self, source: Address, command: Send) -> None:
        """Send with a sender that need not be ours. Raises ``OSError``; needs CAP_NET_RAW."""
        address, port = self._out.getsockname()
        if source[0]:
            address = source[0]
        elif address == "0.0.0.0":
            address = _route_source(self._out, command.destination)
        packet = encode_udp(
            command.data, source=(address, source[1] or port), destination=command.destination
        )
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if device := self._out.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            raw.sendto(packet, (command.destination[0], 0))


def _route_source(like: socket.socket, destination: Address) -> str:
    """Return the address the kernel would send from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if device := like.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        probe.connect(destination)
        return str(probe.getsockname()[0])


def crash(service: str, error: Exception, *, timeline: Timeline, tasks: TaskKeeper) -> None:
    """Record that a service died of ``error``, and fail the lab."""
    timeline.record(
        service, "service.crashed", service=service, error=f"{type(error).__name__}: {error}"
    )
    tasks.fail(ServiceCrashed(service, error))


def udp_socket(
    *,
    service: str,
    bind: str,
    port: int,
    interface: str | None = None,
    broadcast: bool = False,
    shared: bool = False,
) -> socket.socket:
    """Return a bound UDP socket. Raises ``SetupFailed``.

    ``interface`` ties it to a device, so that broadcasts leave there and nothing else is heard.
    ``shared`` lets another socket that is shared too have the port on an overlapping address.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        if broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if interface:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        sock.bind((bind, port))
    except OSError as error:
        sock.close()
        raise cannot_listen(service, bind, port, error, transport="UDP") from error
    return sock


def cannot_listen(
    service: str, bind: str, port: int, error: OSError, *, transport: str
) -> SetupFailed:
    """Return the error for a service that can't have its port."""
    taken = "something else listens there; inside a sealed lab the port is free"
    privileged = "ports below 1024 need root, real or in a user namespace: run a sealed lab"
    absent = "the address or interface does not exist (yet): the segment must be up first"
    hint = {98: taken, 13: privileged, 1: privileged, 19: absent, 99: absent}.get(error.errno or 0)
    return SetupFailed(
        f"{service} can't listen on {bind}:{port} ({transport}): {error.strerror or error}",
        hint=hint,
    )
