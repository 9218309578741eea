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
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.errors import ServiceCrashed
from harness.net import netlink
from harness.tasks import TaskKeeper

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 8 << 20
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


class Cable:
    """A veth pair, one end in the bridge, the other pumped to and from QEMU's socket."""

    def __init__(self, *, name: str, private_dir: Path, tasks: TaskKeeper) -> None:
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
        self._waiting: deque[bytes] = deque()
        self._connected = False

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
        for _ in range(_BATCH):
            try:
                frame = self._packets.recv(_FRAME_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _LOST:
                    raise
                return
            if not self._to_machine(frame):
                self._waiting.append(frame)
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._packets)
                loop.add_writer(self._datagrams, self._guarded, self._retry)  # type: ignore[arg-type]
                return

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

    def _to_machine(self, frame: bytes) -> bool:
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
        assert self._packets is not None
        assert self._datagrams is not None
        for _ in range(_BATCH):
            try:
                frame = self._datagrams.recv(_FRAME_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            try:
                self._packets.send(frame)
            except OSError as error:
                if not isinstance(error, BlockingIOError) and error.errno not in _LOST:
                    raise
                self.lost += 1
