"""What can be seen of a call in its bytes, whichever protocol it is of."""

from __future__ import annotations

from typing import Any, Final

from fake_tink_server.protocol import Protocol, report_protocol

_V1_STATES: Final = ("PENDING", "RUNNING", "FAILED", "TIMEOUT", "SUCCESS")
_V2_STATES: Final = ("UNSPECIFIED", *_V1_STATES)


def facts_of(rpc: str, request: bytes) -> dict[str, Any]:
    """Return worker, workflow, action, state and protocol, as far as ``request`` says them.

    Bytes that are no protobuf message say nothing beyond the first that is broken.
    """
    said = _fields(request)

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


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Return top-level varints and texts by field number; the last of each counts."""
    found: dict[int, int | bytes] = {}
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            octet = message[position]
            position += 1
            value |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                return value

    try:
        while position < len(message):
            tag = varint()
            if tag & 7 == 0:
                found[tag >> 3] = varint()
            elif tag & 7 == 2:
                length = varint()
                if position + length > len(message):
                    break
                found[tag >> 3] = message[position : position + length]
                position += length
            else:
                break
    except IndexError:
        pass
    return found
