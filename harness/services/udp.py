"""The asyncio shell of a sans-IO UDP core: commands in, datagrams, timers and events out."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from harness.errors import DecodeError, ServiceCrashed, SetupFailed
from harness.services.twin import Twin, twin_of
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.commands import (
    Address,
    CancelTimer,
    Command,
    Core,
    LockStep,
    Malformed,
    Note,
    Round,
    Send,
    SetTimer,
)
from harness.wire.ipv4 import encode_udp

_BATCH: Final = 64
"""Datagrams read before the loop gets its turn again."""
_TELL_EVERY_S: Final = 0.1
"""How long the core of an exchange in lock step may hear nothing of its rounds."""
_NO_WAIT: Final = int(socket.MSG_DONTWAIT)
_AT_ONCE_S: Final = 0.000_3
"""A client whose next round is here within this is waited for."""
_TURN_S: Final = 0.002
"""How long such clients may keep the loop from its other work."""
_SLOW_ROUNDS: Final = 32
"""How many rounds nobody is waited for when one took longer."""
_MOST_TWINS: Final = 16
"""More peers in lock step than these share the port's first socket."""
_TWIN_IDLE_S: Final = 3.0
_MAX_DATAGRAM: Final = 65_535
_BUFFER_BYTES: Final = 4 << 20


@dataclass(slots=True)
class _Timer:
    """One timer of a core. All in seconds on the run's clock."""

    at: float
    """When it ends."""
    wakes_at: float
    """When the loop looks at it: no later."""
    handle: asyncio.TimerHandle


@dataclass(slots=True)
class _Lane:
    """An exchange in lock step, at one of its rounds."""

    expected: bytes
    answer: Sequence[bytes]
    rounds: Iterator[Round]
    over: Callable[[int, float], Sequence[Command]]
    told_at: float
    """When the core last heard of it."""
    at: float = 0.0
    """When the last round was over."""
    count: int = 0
    """Rounds that the core has not heard of."""
    used: bool = False
    """Whether there was one since ``at``."""


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
        self._timers: dict[str, _Timer] = {}
        self._lanes: dict[Address, _Lane] = {}
        self._buffer = bytearray(_MAX_DATAGRAM)
        self._unsent: deque[Send] = deque()
        self.closed = False
        """Whether the socket is gone."""
        self._twins: dict[Address, Twin] = {}
        self._twins_watch: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def port(self) -> int:
        """The local UDP port."""
        return int(self._sock.getsockname()[1])

    def close(self) -> None:
        """Stop, forget every timer and close the socket; may be called twice."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        if self._out.fileno() >= 0:
            self._loop.remove_writer(self._out.fileno())
        for timer in self._timers.values():
            timer.handle.cancel()
        self._timers.clear()
        self._lanes.clear()
        if self._twins_watch:
            self._twins_watch.cancel()
        for peer in list(self._twins):
            self._part(peer)
        self._sock.close()

    def run(self, commands: Sequence[Command]) -> None:
        """Do what ``commands`` say, in order."""
        for command in commands:
            match command:
                case Send():
                    self._send(command)
                case Note():
                    self._timeline.record(self._service, command.name, **command.fields)
                case Malformed():
                    self._malformed(command)
                case SetTimer():
                    self._set_timer(command.name, command.at)
                case CancelTimer():
                    if timer := self._timers.pop(command.name, None):
                        timer.handle.cancel()
                case LockStep(peer=peer, rounds=rounds, over=over):
                    if first := next(rounds, None):
                        now = self._timeline.clock.now()
                        self._lanes[peer] = _Lane(*first, rounds, over, told_at=now)
                        self._pair(peer)

    def _set_timer(self, name: str, at: float) -> None:
        """Let the timer end at ``at``.

        A core may put its timer off with each datagram. That costs next to nothing: the loop's own
        timer stays as it is, and when it ends too early it is set anew.
        """
        if self.closed:  # by what was done just before: a crash, say
            return
        timer = self._timers.get(name)
        if timer is not None:
            if at >= timer.wakes_at:
                timer.at = at
                return
            timer.handle.cancel()
        delay = max(0.0, at - self._timeline.clock.now())
        handle = self._loop.call_later(delay, self._timer_ended, name)
        self._timers[name] = _Timer(at=at, wakes_at=at, handle=handle)

    def _readable(self) -> None:
        used: list[_Lane] = []
        try:
            self._read(used)
            now = self._timeline.clock.now() if used else 0.0
            for lane in used:
                if lane.used:
                    lane.used, lane.at = False, now
                    if now - lane.told_at >= _TELL_EVERY_S:
                        self._tell(lane)
        except Exception as error:  # a bug must fail the lab, not vanish in the loop's handler
            self._crashed(error)

    def _read(self, used: list[_Lane]) -> None:
        """Take what has come; the lanes of which something came are added to ``used``."""
        buffer = self._buffer
        for _ in range(_BATCH):
            if self.closed:
                return
            try:
                size, peer = self._sock.recvfrom_into(buffer)
            except BlockingIOError:
                return
            lane = self._lanes.get(peer)
            if lane is None or size != len(lane.expected) or not buffer.startswith(lane.expected):
                self._heard(bytes(memoryview(buffer)[:size]), (peer[0], peer[1]))
                continue
            if not lane.used:
                lane.used = True
                used.append(lane)
            self._answer(lane, peer)
            self._goes_on(lane, peer)

    def _answer(self, lane: _Lane, peer: Address) -> None:
        for data in lane.answer:
            self._send(Send(data=data, destination=peer))

    def _heard(self, datagram: bytes, peer: Address) -> None:
        """Let the core have what was not expected."""
        if peer in self._lanes:
            self._leave(peer)
        self._receive(datagram, peer)

    def _goes_on(self, lane: _Lane, peer: Address) -> bool:
        """Expect what comes next after an answer; False when there is no next."""
        lane.count += 1
        following = next(lane.rounds, None)
        if following is None:
            self._leave(peer)
            return False
        lane.expected, lane.answer = following
        return True

    # -- a socket of its own for who is in lock step

    def _pair(self, peer: Address) -> None:
        """Give ``peer`` a twin of the socket, where it has none and there may be one more."""
        if peer in self._twins or len(self._twins) >= _MOST_TWINS:
            return
        if self.closed or self._out is not self._sock:
            return
        try:
            twin = self._twins[peer] = twin_of(self._sock, peer)
        except OSError:  # no more descriptors, no way to the peer: it goes on as everybody does
            return
        self._loop.add_reader(twin.sock.fileno(), self._twin_readable, peer, twin)
        for datagram, sender in twin.early:
            self._loop.call_soon(self._came_early, datagram, sender)
        if self._twins_watch is None:
            self._twins_watch = self._loop.call_later(_TWIN_IDLE_S, self._part_from_idle)

    def _came_early(self, datagram: bytes, sender: Address) -> None:
        try:
            lane = self._lanes.get(sender)
            if lane is not None and datagram == lane.expected:
                lane.at = self._timeline.clock.now()
                self._answer(lane, sender)
                self._goes_on(lane, sender)
            elif not self.closed:
                self._heard(datagram, sender)
        except Exception as error:
            self._crashed(error)

    def _part(self, peer: Address) -> None:
        """Close the twin of ``peer``; the first socket hears it from now on."""
        twin = self._twins.pop(peer)
        self._loop.remove_reader(twin.sock.fileno())
        twin.sock.close()

    def _part_from_idle(self) -> None:
        self._twins_watch = None
        for peer, twin in list(self._twins.items()):
            if twin.used:
                twin.used = False
            else:
                self._part(peer)
        if self._twins:
            self._twins_watch = self._loop.call_later(_TWIN_IDLE_S, self._part_from_idle)

    def _twin_readable(self, peer: Address, twin: Twin) -> None:
        try:
            lane = self._lanes.get(peer)
            self._step(peer, twin, lane)
            if lane is not None and lane.used:
                lane.used, lane.at = False, self._timeline.clock.now()
                if lane.at - lane.told_at >= _TELL_EVERY_S:
                    self._tell(lane)
        except Exception as error:
            self._crashed(error)

    def _step(self, peer: Address, twin: Twin, lane: _Lane | None) -> None:
        """Take what ``peer`` says; wait for it while its rounds follow each other at once.

        Going back to the loop in between would take longer than such a client does.
        """
        buffer, receive, send = self._buffer, twin.sock.recv_into, twin.sock.send
        flags, before, turn_ends = _NO_WAIT, 0.0, 0.0
        twin.used = True
        while not self.closed:
            try:
                size = receive(buffer, 0, flags)
            except BlockingIOError:
                if not flags:
                    twin.slow_rounds = _SLOW_ROUNDS
                return
            except OSError:  # nobody listens there any more: a timer will find out
                return
            if lane is None or size != len(lane.expected) or not buffer.startswith(lane.expected):
                self._heard(bytes(memoryview(buffer)[:size]), peer)
                return
            for data in lane.answer:
                try:
                    if self._unsent:
                        raise BlockingIOError
                    send(data, _NO_WAIT)
                except OSError:  # in the ordinary way it waits, or its failure is told
                    self._send(Send(data=data, destination=peer))
            lane.used = True
            if not self._goes_on(lane, peer):
                return
            now = monotonic()
            if not flags:
                if now > turn_ends:
                    return
                if now - before > _AT_ONCE_S:
                    flags, twin.slow_rounds = _NO_WAIT, _SLOW_ROUNDS
            elif twin.slow_rounds:
                twin.slow_rounds -= 1
            else:
                flags, turn_ends = 0, now + _TURN_S
            before = now

    def _leave(self, peer: Address) -> None:
        """Let the core have what ``peer`` says from now on."""
        lane = self._lanes.pop(peer)
        if lane.used:
            lane.used, lane.at = False, self._timeline.clock.now()
        self._tell(lane)

    def _tell(self, lane: _Lane) -> None:
        """Let the core know which rounds are over."""
        if lane.count:
            count, lane.count, lane.told_at = lane.count, 0, lane.at
            self.run(lane.over(count, lane.at))

    def _receive(self, datagram: bytes, peer: Address) -> None:
        try:
            self.run(self.core.receive(datagram, peer, self._timeline.clock.now()))
        except DecodeError as error:
            self._malformed(Malformed(datagram=datagram, peer=peer, reason=str(error)))
        except Exception as error:  # a bug must fail the lab, not vanish in the loop's handler
            self._crashed(error)

    def _malformed(self, command: Malformed) -> None:
        self._timeline.record(
            self._service,
            f"{self._service}.malformed",
            peer=f"{command.peer[0]}:{command.peer[1]}",
            reason=command.reason,
            bytes=len(command.datagram),
        )

    def _timer_ended(self, name: str) -> None:
        try:
            for lane in self._lanes.values():
                self._tell(lane)
            timer = self._timers.pop(name)
            if timer.at > timer.wakes_at:  # it was put off meanwhile
                self._set_timer(name, timer.at)
                return
            self._lanes.clear()
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
