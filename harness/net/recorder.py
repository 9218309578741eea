"""The child process that captures: a kernel ring in, a pcapng file out.

``python -m harness.net.recorder INTERFACE FILE BASE_NS RING_MIB``. It prints ``ready`` once the
ring is armed, records until its stdin ends, and then prints one line of JSON: ``{"frames":…,
"dropped":…, "bytes":…, "error":…}``. It imports next to nothing, so that it is up in 30 ms.

The ring is TPACKET_V3 (linux/if_packet.h, Documentation/networking/packet_mmap.rst): the kernel
fills blocks of many frames, and closes a block when it is full or ``_RETIRE_MS`` old. A block is
written with one system call, so that a killed recorder leaves a file that is whole so far.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Final

from harness.net import pcapng

_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_TPACKET_V3: Final = 2
_PACKET_MR_PROMISC: Final = 1
_ETH_P_ALL: Final = 3
_ETH_P_8021Q: Final = 0x8100

_BLOCK_BYTES: Final = 1 << 20
_FRAME_BYTES: Final = 2048
"""Required by the interface; TPACKET_V3 packs frames of any size into a block."""
_RETIRE_MS: Final = 20
_TP_STATUS_USER: Final = 1
_TP_STATUS_VLAN_VALID: Final = 1 << 4
_TP_STATUS_VLAN_TPID_VALID: Final = 1 << 6

_BLOCK_HEAD: Final = struct.Struct("=III")  # status, number of packets, offset to the first
_FRAME_HEAD: Final = struct.Struct("=IIIIIIHH")
"""next offset, sec, nsec, snaplen, len, status, mac, net."""
_VLAN_HEAD: Final = struct.Struct("=IIH")  # rxhash, vlan_tci, vlan_tpid


class Ring:
    """A memory-mapped packet socket on one interface, promiscuous, both directions."""

    def __init__(self, interface: str, blocks: int) -> None:
        """Arm the ring. Raises ``OSError``."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        request = struct.pack(
            "=7I",
            _BLOCK_BYTES,
            blocks,
            _FRAME_BYTES,
            blocks * (_BLOCK_BYTES // _FRAME_BYTES),
            _RETIRE_MS,
            0,
            0,
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._blocks = blocks
        self._memory = memoryview(mmap.mmap(self._socket.fileno(), blocks * _BLOCK_BYTES))
        self._next = 0
        self._frames = 0
        self._dropped = 0
        membership = struct.pack(
            "=iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b""
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        # Bound last and with the protocol: not a frame of another interface gets in.
        self._socket.bind((interface, _ETH_P_ALL))

    def fileno(self) -> int:
        """Readable when a block is closed."""
        return self._socket.fileno()

    def statistics(self) -> tuple[int, int]:
        """Return the numbers of frames received and dropped so far.

        The kernel resets its counters at each reading, and counts dropped frames as received.
        """
        answer = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        frames, dropped, _ = struct.unpack("=III", answer)
        self._frames += frames - dropped
        self._dropped += dropped
        return self._frames, self._dropped

    def next_block(self, drift_ns: int) -> tuple[int, bytes] | None:
        """Return the next closed block (number of frames, pcapng), or None when there is none.

        ``drift_ns`` is added to every time stamp.
        """
        memory = self._memory
        base = self._next * _BLOCK_BYTES
        status, count, offset = _BLOCK_HEAD.unpack_from(memory, base + 8)
        if not status & _TP_STATUS_USER:
            return None
        parts: list[bytes | memoryview] = []
        at = base + offset
        for _ in range(count):
            step, sec, nsec, captured, length, state, mac, _net = _FRAME_HEAD.unpack_from(
                memory, at
            )
            frame: bytes | memoryview = memory[at + mac : at + mac + captured]
            if state & _TP_STATUS_VLAN_VALID:
                # The kernel takes the tag out of the frame; it belongs on the wire.
                _, tci, tpid = _VLAN_HEAD.unpack_from(memory, at + 28)
                kind = tpid if state & _TP_STATUS_VLAN_TPID_VALID else _ETH_P_8021Q
                frame = b"".join((frame[:12], struct.pack("!HH", kind, tci), frame[12:]))
                length += 4
            parts += pcapng.packet_parts(sec * 1_000_000_000 + nsec + drift_ns, frame, length)
            at += step
        data = b"".join(parts)
        struct.pack_into("=I", memory, base + 8, 0)  # gives the block back to the kernel
        self._next = (self._next + 1) % self._blocks
        return count, data


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _wall_minus_monotonic_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def record(interface: str, path: Path, base_ns: int, ring_mib: int) -> dict[str, int | str]:
    """Record until stdin ends; return what to print. A file that is there is gone on with.

    ``base_ns`` is the run's wall clock minus its monotonic clock: stamps follow the run's clock
    even when somebody sets the host's. A line on stdin is a new ``base_ns`` for later frames.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    if not os.fstat(file).st_size:
        _write(file, pcapng.section(application="hooklab") + pcapng.interface(interface))
    ring = Ring(interface, ring_mib)
    print("ready", flush=True)
    poll = select.poll()
    poll.register(ring, select.POLLIN)
    poll.register(0, select.POLLIN)
    written = frames = 0
    stopping_ns: int | None = None
    while True:
        for fd, _ in poll.poll(_RETIRE_MS):
            if fd != 0:
                continue
            if said := os.read(0, 4096):
                base_ns = int(said.split()[-1])
            else:
                poll.unregister(0)
                stopping_ns = time.monotonic_ns()
        while (found := ring.next_block(base_ns - _wall_minus_monotonic_ns())) is not None:
            count, data = found
            frames += count
            written += len(data)
            _write(file, data)
        # An open block is closed within _RETIRE_MS: what was on the wire at the stop is here.
        if stopping_ns and time.monotonic_ns() - stopping_ns > 3 * _RETIRE_MS * 1_000_000:
            break
    received, dropped = ring.statistics()
    now = time.monotonic_ns() + base_ns
    _write(file, pcapng.statistics(now, received=received, dropped=dropped))
    os.close(file)
    return {"frames": frames, "dropped": dropped, "bytes": written}


def main(argv: list[str]) -> int:
    """Run the recorder; exit status 1 and an ``error`` in the JSON line when it can't."""
    interface, path, base_ns, ring_mib = argv
    try:
        print(json.dumps(record(interface, Path(path), int(base_ns), int(ring_mib))), flush=True)
    except OSError as error:
        print(json.dumps({"error": f"{error.strerror or error}"}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
