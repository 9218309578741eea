"""Two protocols under one name, and how the bytes tell them apart.

tink-worker v0.12 (v1) and tink-agent v0.25 (v2) call the same package, service and, for reports,
method: ``/proto.WorkflowService/ReportActionStatus``. The other methods have names of their own.
The two report messages number their fields so:

====== ==================== =====================
field  v1                   v2
====== ==================== =====================
1      workflow_id, text    workflow_id, text
2      task_name, text      agent_id, text
3      action_name, text    task_id, text
4      action_status, enum  **action_id, text**
5      seconds, int         action_name, text
6      message, text        action_state, enum
7      created_at, message  execution_start, message
8      worker_id, text      execution_stop, message
9, 10  –                    duration, message
====== ==================== =====================

An enum or int is a varint on the wire (wire type 0), text and messages have a length (type 2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Protocol(StrEnum):
    """Which generation of Tinkerbell a call belongs to."""

    V1 = "v1"
    """tink-worker and virtual-worker (github.com/tinkerbell/tink v0.12)."""
    V2 = "v2"
    """tink-agent (github.com/tinkerbell/tinkerbell v0.25)."""


_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_GROUP: Final = 3
_GROUP_END: Final = 4
_FIXED32: Final = 5

_WITNESSES: Final = (
    (4, {_VARINT: Protocol.V1, _LENGTH: Protocol.V2}),
    (6, {_LENGTH: Protocol.V1, _VARINT: Protocol.V2}),
    (5, {_VARINT: Protocol.V1, _LENGTH: Protocol.V2}),
    (10, {_LENGTH: Protocol.V2}),
    (9, {_LENGTH: Protocol.V2}),
)
"""Fields that tell, the best first, with what each wire type means."""


def report_protocol(request: bytes) -> Protocol:
    """Return the protocol of a ReportActionStatus request; any bytes will do.

    - Field 4 decides, because each protocol's real client always sends it: v1's as long as the
      state is not PENDING (0, which proto3 leaves out), v2's always (explicit presence, empty text
      included). Sent more than once, the last one counts, as it does for protobuf.
    - Without field 4 (v1's PENDING, or a client of another make) field 6 decides, then 5, 10, 9.
    - With none of them, an empty request included, it is v1: a v2 client that sends no action id
      is answered ``invalid task name`` or ``invalid action name`` by either protocol's server.
    - A field with a wire type that neither protocol has for it is no witness: protobuf treats it
      as unknown.
    - What can't be parsed to the end is judged by what came before. It is refused alike by both.
    """
    seen = _wire_types(request)
    for number, meanings in _WITNESSES:
        for wire_type in reversed(seen.get(number, ())):
            if wire_type in meanings:
                return meanings[wire_type]
    return Protocol.V1


def _wire_types(message: bytes) -> dict[int, list[int]]:
    """Return the wire types of each top-level field, in order, up to the first broken byte."""
    found: dict[int, list[int]] = {}
    position, depth = 0, 0
    while position < len(message):
        tag = _varint(message, position)
        if tag is None:
            break
        value, position = tag
        number, wire_type = value >> 3, value & 7
        if number == 0:
            break
        if depth == 0 and wire_type != _GROUP_END:
            end = _skip(message, position, wire_type)
            if end is None:
                break
            found.setdefault(number, []).append(wire_type)
            position = end
        elif wire_type != _GROUP_END:
            end = _skip(message, position, wire_type)
            if end is None:
                break
            position = end
        depth += {_GROUP: 1, _GROUP_END: -1}.get(wire_type, 0)
        if depth < 0:
            break
    return found


def _skip(message: bytes, position: int, wire_type: int) -> int | None:
    """Return where the value at ``position`` ends; None when it does not."""
    if wire_type == _GROUP:
        return position
    if wire_type == _VARINT:
        value = _varint(message, position)
        return value[1] if value else None
    if wire_type == _LENGTH:
        length = _varint(message, position)
        end = length[0] + length[1] if length else len(message) + 1
    else:
        width = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
        end = position + width if width else len(message) + 1
    return end if end <= len(message) else None


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
