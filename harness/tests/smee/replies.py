"""What a server did with a request, and how two of them differ."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

_TRACE: Final = 69
_NAMES: Final = {
    "op": 0, "htype": 1, "hlen": 2, "hops": 3, "xid": 4, "secs": 8, "flags": 10, "ciaddr": 12,
    "yiaddr": 16, "siaddr": 20, "giaddr": 24, "chaddr": 28, "sname": 44, "file": 108, "cookie": 236,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A datagram as it was on the wire."""

    link: str
    """The frame's destination."""
    address: str
    port: int
    source: str
    data: bytes

    @classmethod
    def from_json(cls, fields: Any) -> Reply:
        """Return the reply ``world`` wrote down."""
        link, source, address, port, data = fields
        return cls(link=link, source=source, address=address, port=port, data=bytes.fromhex(data))


def differences(real: Reply | None, ours: Reply | None) -> list[str]:
    """Return what differs beside the order of options and the trace id in option 43.69."""
    if real is None or ours is None:
        if real is ours:
            return []
        return ["smee answers, the lab does not" if real else "the lab answers, smee does not"]
    found: list[str] = []
    for name in ("link", "source", "address", "port"):
        _compare(found, name, getattr(real, name), getattr(ours, name))
    ends = [*list(_NAMES.values())[1:], 240]
    for (name, start), end in zip(_NAMES.items(), ends, strict=True):
        _compare(found, name, real.data[start:end].hex(), ours.data[start:end].hex())
    theirs, mine = _options(real.data), _options(ours.data)
    for code in sorted(theirs.keys() | mine.keys()):
        one, other = (_without_trace(code, each.get(code)) for each in (theirs, mine))
        _compare(found, f"option {code}", one, other)
    _compare(found, "length", len(real.data), len(ours.data))
    return found


def _compare(found: list[str], name: str, real: object, ours: object) -> None:
    if real != ours:
        found.append(f"{name}: smee {real}, the lab {ours}")


def _options(data: bytes) -> dict[int, bytes]:
    """Return the options of a reply; this reader shares nothing with the lab's own."""
    found: dict[int, bytes] = {}
    at = 240
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        code, length = struct.unpack_from("BB", data, at)
        found[code] = found.get(code, b"") + data[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def _without_trace(code: int, value: bytes | None) -> object:
    if value is None or code != 43:
        return value.hex() if value is not None else None
    parts: dict[int, str] = {}
    at = 0
    while at + 1 < len(value):
        inner, length = value[at], value[at + 1]
        part = value[at + 2 : at + 2 + length]
        parts[inner] = f"{length} octets" if inner == _TRACE else part.hex()
        at += 2 + length
    return parts
