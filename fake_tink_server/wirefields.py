"""The fields of a protobuf message, without knowing which message it is.

https://protobuf.dev/programming-guides/encoding: a tag is a varint of field number and wire type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
GROUP: Final = 3
_GROUP_END: Final = 4
FIXED32: Final = 5

_WIDTHS: Final = {FIXED64: 8, FIXED32: 4}


@dataclass(frozen=True, slots=True)
class Field:
    """One field on the top level of a message."""

    number: int
    wire_type: int
    value: int | bytes | None
    """Of a varint the number, of LENGTH, FIXED32 and FIXED64 the octets; None for a group."""


def fields_of(message: bytes) -> Iterator[Field]:
    """Yield the fields of ``message`` in order, up to the first broken byte; any bytes will do."""
    position, depth = 0, 0
    while position < len(message):
        tag = _varint(message, position)
        if tag is None or tag[0] >> 3 == 0:
            return
        number, wire_type, position = tag[0] >> 3, tag[0] & 7, tag[1]
        if wire_type == _GROUP_END:
            depth -= 1
            if depth < 0:
                return
            continue
        read = _value(message, position, wire_type)
        if read is None:
            return
        value, position = read
        if depth == 0:
            yield Field(number, wire_type, value)
        depth += wire_type == GROUP


def _value(message: bytes, position: int, wire_type: int) -> tuple[int | bytes | None, int] | None:
    """Return the value at ``position`` and where it ends; None when it does not."""
    if wire_type == GROUP:
        return None, position
    if wire_type == VARINT:
        return _varint(message, position)
    if wire_type == LENGTH:
        length = _varint(message, position)
        if length is None:
            return None
        begin, end = length[1], length[1] + length[0]
    else:
        begin, end = position, position + _WIDTHS.get(wire_type, len(message) + 1)
    return (message[begin:end], end) if end <= len(message) else None


def _varint(message: bytes, position: int) -> tuple[int, int] | None:
    """Return the varint at ``position`` and where it ends; None when it is cut or too long."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            return None
        octet = message[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
    return None
