"""What can be seen of a call in its bytes, whichever protocol it is of."""

from __future__ import annotations

from typing import Any, Final

from fake_tink_server.protocol import Protocol, report_protocol
from fake_tink_server.wirefields import LENGTH, VARINT, fields_of

_V1_STATES: Final = ("PENDING", "RUNNING", "FAILED", "TIMEOUT", "SUCCESS")
_V2_STATES: Final = ("UNSPECIFIED", *_V1_STATES)


def facts_of(rpc: str, request: bytes) -> dict[str, Any]:
    """Return worker, workflow, action, state and protocol, as far as ``request`` says them.

    Bytes that are no protobuf message say nothing beyond the first that is broken.
    """
    said = {
        field.number: field.value  # of several the last one counts
        for field in fields_of(request)
        if field.wire_type in (VARINT, LENGTH)
    }

    def text(number: int) -> str | None:
        value = said.get(number)
        return value.decode(errors="replace") if isinstance(value, bytes) else None

    def state(number: int, names: tuple[str, ...]) -> str | None:
        value = said.get(number, 0)
        return names[value] if isinstance(value, int) and value < len(names) else None

    match rpc:
        case "GetWorkflowContexts":
            return {"protocol": "v1", "worker": text(1)}
        case "GetWorkflowActions":
            return {"protocol": "v1", "workflow": text(1)}
        case "GetAction":
            return {"protocol": "v2", "worker": text(1)}
        case "ReportActionStatus" if report_protocol(request) is Protocol.V2:
            return {
                "protocol": "v2",
                "workflow": text(1),
                "worker": text(2),
                "action": text(5),
                "state": state(6, _V2_STATES),
            }
        case "ReportActionStatus":
            return {
                "protocol": "v1",
                "workflow": text(1),
                "action": text(3),
                "state": state(4, _V1_STATES),
                "worker": text(8),
            }
    return {}
