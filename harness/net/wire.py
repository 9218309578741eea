"""A machine's cable in user space: QEMU ↔ unix datagrams ↔ pump ↔ packet socket on the bridge.

Needs no ``/dev/net/tun``. One datagram is one Ethernet frame. A frame that QEMU can't take yet
waits here, and while one waits nothing more is read from the bridge, so that the kernel's buffers
hold the rest; a frame that nobody listens for is lost, as on a cable that is unplugged.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from harness.errors import ServiceCrashed
from harness.net import netlink
from harness.tasks import TaskKeeper

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 8 << 20
QUEUE_FRAMES: Final = 4096
"""How many frames wait for a slow machine: more than a TCP window of iPXE's has (2 MiB).

A tap of Linux's holds 500. What came beyond them was lost, and a PXE ROM took 7 s to get it again.
"""
_FRAME_BYTES: Final = 1 << 16
_BATCH: Final = 64
"""Frames moved before the event loop gets its turn."""
_GONE: Final = (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN)
_LOST: Final = (errno.ENOBUFS, errno.ENETDOWN, errno.EMSGSIZE, errno.ENXIO)
_QUEUE_SYSCTL: Final = Path("/proc/sys/net/unix/max_dgram_qlen")


def lengthen_queues() -> None:
    """Let unix datagram sockets made from now on hold 1024 frames instead of 10.

    Only speed: older kernels don't offer the setting inside a user namespace.
    """
    with contextlib.suppress(OSError):
        _QUEUE_SYSCTL.write_text("1024")


class Tamperer(Protocol):
    """Decides what becomes of the frames of one cable. Times are the event loop's."""

    def frame(self, frame: bytes, *, to_machine: bool, now: float) -> Sequence[bytes]:
        """Return what goes on at once, the same way, because ``frame`` came along."""

    @property
    def next_due_s(self) -> float | None:
        """When the next frame that is held back is due; None when none is."""

    def due(self, now: float) -> Sequence[tuple[bytes, bool]]:
        """Return the held frames that go now, and whether each goes to the machine."""


class Cable:
    """A veth pair, one end in the bridge, the other pumped to and from QEMU's socket."""

    def __init__(
        self, *, name: str, private_dir: Path, tasks: TaskKeeper, tamperer: Tamperer | None = None
    ) -> None:
        """``name`` is the interface in the bridge; ``private_dir`` has a short path."""
        self.name = name
        self.here = private_dir / f"{name}-lab"
        self.there = private_dir / f"{name}-qemu"
        self.lost = 0
        """Frames that could not be delivered."""
        self._outer = f"{name}w"
        self._tasks = tasks
        self._packets: socket.socket | None = None
        self._datagrams: socket.socket | None = None
        self._buffer = bytearray(_FRAME_BYTES)
        self._frame = memoryview(self._buffer)
        """Of ``_buffer``: a frame on its way is copied by the kernel only."""
        self._waiting: deque[bytes] = deque()
        self._connected = False
        self._tamperer = tamperer
        self._alarm: asyncio.TimerHandle | None = None

    def connect(self, bridge: int) -> None:
        """Make the interfaces and begin to pump. Raises ``OSError``."""
        with netlink.Netlink() as kernel:
            inner = kernel.add_veth(self.name, self._outer)
            for name in (self.name, self._outer):
                netlink.disable_offloads(name)
                kernel.silence_ipv6(name)
                kernel.set_up(socket.if_nametoindex(name))
            kernel.set_master(inner, bridge)
        lengthen_queues()
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._packets.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        try:
            self._packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:  # inside a user namespace net.core.rmem_max is the limit
            self._packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._packets.bind((self._outer, _ETH_P_ALL))
        self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._datagrams.bind(str(self.here))
        loop = asyncio.get_running_loop()
        for end in (self._packets, self._datagrams):
            end.setblocking(False)
        loop.add_reader(self._packets, self._guarded, self._from_bridge)
        loop.add_reader(self._datagrams, self._guarded, self._from_machine)

    def disconnect(self) -> None:
        """Unplug and remove the interfaces; idempotent."""
        loop = asyncio.get_running_loop()
        for end in (self._packets, self._datagrams):
            if end is not None:
                loop.remove_reader(end)
                loop.remove_writer(end)
                end.close()
        self._packets = self._datagrams = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.here.unlink(missing_ok=True)
        with contextlib.suppress(OSError), netlink.Netlink() as kernel:
            kernel.delete(socket.if_nametoindex(self.name))

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._tasks.fail(ServiceCrashed(f"cable {self.name}", error))
            self.disconnect()

    def _from_bridge(self) -> None:
        assert self._packets is not None
        receive, buffer, view = self._packets.recv_into, self._buffer, self._frame
        tamperer, hand_over = self._tamperer, self._hand_over
        for _ in range(_BATCH):
            try:
                size = receive(buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _LOST:
                    raise
                return
            if tamperer is None:
                hand_over(view[:size])
            else:
                for part in self._tampered(bytes(view[:size]), to_machine=True):
                    hand_over(part)
            if len(self._waiting) >= QUEUE_FRAMES:  # what else comes is the kernel's to keep
                asyncio.get_running_loop().remove_reader(self._packets)
                return

    def _tampered(self, frame: bytes, *, to_machine: bool) -> Sequence[bytes]:
        """Return what goes on now; what is held back gets an alarm."""
        assert self._tamperer is not None
        now = asyncio.get_running_loop().time()
        going = self._tamperer.frame(frame, to_machine=to_machine, now=now)
        self._set_alarm()
        return going

    def _set_alarm(self) -> None:
        assert self._tamperer is not None
        at = self._tamperer.next_due_s
        if self._alarm is not None:
            if at == self._alarm.when():
                return
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_at(at, self._guarded, self._release)

    def _release(self) -> None:
        assert self._tamperer is not None
        self._alarm = None
        for frame, to_machine in self._tamperer.due(asyncio.get_running_loop().time()):
            if to_machine:
                self._hand_over(frame)
            else:
                self._to_bridge(frame)
        self._set_alarm()

    def _hand_over(self, frame: bytes | memoryview) -> None:
        """Give QEMU a frame, now or once it has room."""
        if self._waiting:
            self._waiting.append(bytes(frame))
        elif not self._to_machine(frame):
            self._waiting.append(bytes(frame))
            loop = asyncio.get_running_loop()
            loop.add_writer(self._datagrams, self._guarded, self._retry)  # type: ignore[arg-type]

    def _retry(self) -> None:
        assert self._packets is not None
        assert self._datagrams is not None
        while self._waiting:
            if not self._to_machine(self._waiting[0]):
                return
            self._waiting.popleft()
        loop = asyncio.get_running_loop()
        loop.remove_writer(self._datagrams)
        loop.add_reader(self._packets, self._guarded, self._from_bridge)

    def _to_machine(self, frame: bytes | memoryview) -> bool:
        """Return False when QEMU has no room now."""
        assert self._datagrams is not None
        try:
            if not self._connected:
                # Only a connected socket is writable exactly when QEMU has room again.
                self._datagrams.connect(str(self.there))
                self._connected = True
            self._datagrams.send(frame)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _GONE + _LOST:
                raise
            self._connected = self._connected and error.errno not in _GONE
            self.lost += 1
        return True

    def _from_machine(self) -> None:
        assert self._datagrams is not None
        receive, buffer, view = self._datagrams.recv_into, self._buffer, self._frame
        tamperer, to_bridge = self._tamperer, self._to_bridge
        for _ in range(_BATCH):
            try:
                size = receive(buffer)
            except (BlockingIOError, InterruptedError):
                return
            if tamperer is None:
                to_bridge(view[:size])
            else:
                for part in self._tampered(bytes(view[:size]), to_machine=False):
                    to_bridge(part)

    def _to_bridge(self, frame: bytes | memoryview) -> None:
        assert self._packets is not None
        try:
            self._packets.send(frame)
        except OSError as error:
            if not isinstance(error, BlockingIOError) and error.errno not in _LOST:
                raise
            self.lost += 1
