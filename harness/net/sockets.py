"""The sockets of this network namespace, from ``/proc/net`` (proc(5))."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

_STATES: Final = {
    1: "ESTABLISHED", 2: "SYN-SENT", 3: "SYN-RECEIVED", 4: "FIN-WAIT-1", 5: "FIN-WAIT-2",
    6: "TIME-WAIT", 7: "CLOSED", 8: "CLOSE-WAIT", 9: "LAST-ACK", 10: "LISTEN", 11: "CLOSING",
}  # fmt: skip
_PROC: Final = Path("/proc/self/net")


def socket_table(folder: Path = _PROC) -> str:
    """Return TCP and UDP sockets as a table: protocol, state, both ends, octets queued."""
    rows = [("", "state", "here", "there", "unsent", "unread")]
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = (folder / protocol).read_text("ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        rows += [row for line in lines if (row := _row(protocol, line)) is not None]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(protocol: str, line: str) -> tuple[str, str, str, str, str, str] | None:
    try:
        _, here, there, state, queues, *_ = line.split()
        unsent, unread = (str(int(part, 16)) for part in queues.split(":"))
        told = _STATES.get(int(state, 16), state) if protocol.startswith("tcp") else ""
        return protocol, told, _address(here), _address(there), unsent, unread
    except (ValueError, struct.error):
        return None


def _address(text: str) -> str:
    """Return ``0100007F:0016`` as ``127.0.0.1:22``: words of 32 bits in the host's order."""
    words, _, port = text.partition(":")
    raw = bytes.fromhex(words)
    swapped = struct.pack(f"!{len(raw) // 4}I", *struct.unpack(f"={len(raw) // 4}I", raw))
    if len(swapped) == 4:
        return f"{IPv4Address(swapped)}:{int(port, 16)}"
    address = IPv6Address(swapped)
    return f"[{address.ipv4_mapped or address}]:{int(port, 16)}"
