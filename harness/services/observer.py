"""A passive ear on the lab's bridge, for servers that are not the lab's own."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections.abc import Collection, Sequence
from typing import Final

from harness.errors import SetupFailed
from harness.tasks import TaskKeeper
from harness.timeline import Timeline
from harness.wire.observer import Observer

_ETH_P_ALL: Final = 3
_SO_ATTACH_FILTER: Final = 26
_BUFFER_BYTES: Final = 8 << 20
_BATCH: Final = 256
_WHOLE: Final = 0x40000
# Classic BPF (linux/filter.h): code, jump if true, jump if false, operand.
_LDH, _LDB, _LDX_HEADER, _LDH_X, _JEQ, _RET = 0x28, 0x30, 0xB1, 0x48, 0x15, 0x06


class ObserverService:
    """Records what passes ``interface`` as the events the lab's own servers would record."""

    name = "observer"

    def __init__(
        self,
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        interface: str,
        http_ports: Collection[int],
    ) -> None:
        self._timeline = timeline
        self._tasks = tasks
        self._interface = interface
        self._ports = tuple(http_ports)
        self._observer = Observer(http_ports=self._ports)
        self._socket: socket.socket | None = None

    @property
    def numbered(self) -> int:
        """How many transfers and connections have a number; the next one's is one more."""
        return self._observer.numbered

    @numbered.setter
    def numbered(self, count: int) -> None:
        self._observer.numbered = count

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        try:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket = sock
            _only(sock, interesting(self._ports))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            sock.setblocking(False)
            sock.bind((self._interface, _ETH_P_ALL))
        except OSError as error:
            await self.stop()
            raise SetupFailed(f"{self._interface} can't be watched: {error.strerror}") from error
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)

    async def stop(self) -> None:
        """Stop listening; may be called twice."""
        sock, self._socket = self._socket, None
        if sock:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                frame = self._socket.recv(_WHOLE)
            except BlockingIOError:
                return
            except OSError as error:
                self._tasks.fail(error)
                return
            for source, note in self._observer.frame(frame, self._timeline.clock.now()):
                self._timeline.record(source, note.name, **note.fields)


def interesting(ports: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Return a filter for UDP, and TCP to or from ``ports``: other ports cost nothing."""
    count = len(ports)
    program = [
        (_LDH, 0, 0, 12),
        (_JEQ, 0, 2 * count + 6, 0x0800),
        (_LDB, 0, 0, 23),
        (_JEQ, 2 * count + 5, 0, 17),
        (_JEQ, 0, 2 * count + 3, 6),
        (_LDX_HEADER, 0, 0, 14),
        (_LDH_X, 0, 0, 14),
        *((_JEQ, 2 * count + 1 - at, 0, port) for at, port in enumerate(ports)),
        (_LDH_X, 0, 0, 16),
        *((_JEQ, count - at, 0, port) for at, port in enumerate(ports)),
        (_RET, 0, 0, 0),
        (_RET, 0, 0, _WHOLE),
    ]
    return program


def _only(sock: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Attach a filter to ``sock``. Raises ``OSError``."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    head = struct.pack("@HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
