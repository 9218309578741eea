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

from fake_tink_server.wirefields import LENGTH, VARINT, fields_of


class Protocol(StrEnum):
    """Which generation of Tinkerbell a call belongs to."""

    V1 = "v1"
    """tink-worker and virtual-worker (github.com/tinkerbell/tink v0.12)."""
    V2 = "v2"
    """tink-agent (github.com/tinkerbell/tinkerbell v0.25)."""


_WITNESSES: Final = (
    (4, {VARINT: Protocol.V1, LENGTH: Protocol.V2}),
    (6, {LENGTH: Protocol.V1, VARINT: Protocol.V2}),
    (5, {VARINT: Protocol.V1, LENGTH: Protocol.V2}),
    (10, {LENGTH: Protocol.V2}),
    (9, {LENGTH: Protocol.V2}),
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
    seen: dict[int, list[int]] = {}
    for field in fields_of(request):
        seen.setdefault(field.number, []).append(field.wire_type)
    for number, meanings in _WITNESSES:
        for wire_type in reversed(seen.get(number, ())):
            if wire_type in meanings:
                return meanings[wire_type]
    return Protocol.V1
