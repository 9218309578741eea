"""The machine's end of ``harness.bench.frames``: what QEMU does with a port, and nothing else.

``python -m harness.bench.frame_load KIND PORT PRIVATE_DIR`` says ``ready`` once it is plugged in,
reads ``{"count": …, "window": …}`` a line, and answers each with the seconds that so many echo
requests took which the lab's kernel answered, ``window`` of them on their way at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Final

from harness.net.netlink import TUN_DEVICE
from harness.wire.ipv4 import checksum

LAB: Final = "192.168.77.1"
_MACHINE: Final = "192.168.77.9"
_MAC: Final = bytes.fromhex("525400000009")
_LAB_MAC: Final = bytes.fromhex("02686f6f6b01")
_FRAME_BYTES: Final = 1514
"""A full Ethernet frame, less its check sequence."""
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP_NO_PI: Final = 0x1002
_ARP: Final = b"\x08\x06"
_WITHIN_S: Final = 5.0
_MOST: Final = 2048


def _port(kind: str, name: str, folder: Path) -> int:
    """Return the descriptor of the machine's end, one frame a read or write."""
    if kind == "bridge":
        fd = os.open(TUN_DEVICE, os.O_RDWR)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP_NO_PI))
        return fd
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(str(folder / f"{name}-qemu"))
    end.connect(str(folder / f"{name}-lab"))
    return end.detach()


def _echo_request() -> bytes:
    """Return a frame that the lab's kernel answers with one as long (RFC 792)."""
    payload = bytes(_FRAME_BYTES - 14 - 20 - 8)
    icmp = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + payload
    icmp = icmp[:2] + checksum(icmp).to_bytes(2, "big") + icmp[4:]
    source, destination = socket.inet_aton(_MACHINE), socket.inet_aton(LAB)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0, source, destination
    )
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return _LAB_MAC + _MAC + b"\x08\x00" + head + icmp


def _arp_reply() -> bytes:
    lab = _LAB_MAC + socket.inet_aton(LAB)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + _MAC + socket.inet_aton(_MACHINE) + lab
    return _LAB_MAC + _MAC + _ARP + body


def exchange(fd: int, *, count: int, window: int) -> float:
    """Return the seconds of ``count`` echoes. Raises ``RuntimeError`` when one is lost."""
    request, reply = _echo_request(), _arp_reply()
    read, write, size = os.read, os.write, _FRAME_BYTES
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    began_s = time.monotonic()
    sent, back = min(window, count), 0
    for _ in range(sent):
        write(fd, request)
    while back < count:
        try:
            frame = read(fd, _MOST)
        except BlockingIOError:
            if not poll.poll(_WITHIN_S * 1000):
                raise RuntimeError(f"{sent - back} of {count} frames are lost") from None
            continue
        if len(frame) != size:
            if frame[12:14] == _ARP:
                write(fd, reply)
            continue
        back += 1
        if sent < count:
            sent += 1
            write(fd, request)
    return time.monotonic() - began_s


def main() -> None:
    """Plug in, and do what stdin says until it ends."""
    kind, name, folder = sys.argv[1:]
    fd = _port(kind, name, Path(folder))
    os.set_blocking(fd, False)
    print("ready", flush=True)
    for line in sys.stdin:
        print(exchange(fd, **json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
