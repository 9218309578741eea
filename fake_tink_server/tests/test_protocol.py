"""Which protocol a report belongs to: every message of both, and arbitrary bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server.proto import agent_pb2 as pb2
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.protocol import Protocol, report_protocol

_TEXT = st.text(max_size=20)
_TIME = st.builds(lambda s: {"seconds": s}, st.integers(-(2**33), 2**33))


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


V1 = _some(
    workflow_id=_TEXT,
    task_name=_TEXT,
    action_name=_TEXT,
    seconds=st.integers(-(2**63), 2**63 - 1),
    message=_TEXT,
    created_at=_TIME,
    worker_id=_TEXT,
)
V2 = _some(
    workflow_id=_TEXT,
    agent_id=_TEXT,
    task_id=_TEXT,
    action_name=_TEXT,
    action_state=st.integers(0, 5),
    execution_start=_TIME,
    execution_stop=_TIME,
    execution_duration=_TEXT,
    message=st.builds(lambda text: {"message": text}, _TEXT),
)


@given(V1, st.integers(-5, 9).filter(bool))
def test_a_v1_report_with_a_state_is_v1(fields: dict[str, Any], state: Any) -> None:
    message = pb.WorkflowActionStatus(action_status=state, **fields)
    assert report_protocol(message.SerializeToString()) is Protocol.V1


@given(V1)
def test_a_v1_report_that_is_pending_is_v1(fields: dict[str, Any]) -> None:
    """Field 4 is not on the wire then; nothing v1 has looks like v2."""
    message = pb.WorkflowActionStatus(**fields)
    assert report_protocol(message.SerializeToString()) is Protocol.V1


@given(V2, _TEXT)
def test_a_v2_report_with_an_action_is_v2(fields: dict[str, Any], action: str) -> None:
    message = pb2.ActionStatusRequest(action_id=action, **fields)
    assert report_protocol(message.SerializeToString()) is Protocol.V2


@given(V2.filter(lambda fields: {"action_state", "action_name", "message"} & fields.keys()))
def test_a_v2_report_without_an_action_is_told_by_another_field(fields: dict[str, Any]) -> None:
    message = pb2.ActionStatusRequest(**fields)
    assert report_protocol(message.SerializeToString()) is Protocol.V2


@pytest.mark.parametrize(
    ("request_hex", "protocol"),
    [
        ("", Protocol.V1),
        ("0a0161", Protocol.V1),  # a workflow id alone
        ("2200", Protocol.V2),  # field 4, empty text
        ("2000", Protocol.V1),  # field 4, a state spelled out though it is 0
        ("20012201612201", Protocol.V2),  # both, then broken: the last whole one counts
        ("22016120ff", Protocol.V2),  # a varint that is cut is no witness
        ("22002001", Protocol.V1),  # the last one counts
        ("25000000003001", Protocol.V2),  # field 4 as fixed32 is nobody's; field 6 decides
        ("0b22000c", Protocol.V1),  # text in field 4 of a group is not the report's
        ("00", Protocol.V1),
        ("2a0161", Protocol.V2),
        ("2805", Protocol.V1),
    ],
)
def test_odd_requests(request_hex: str, protocol: Protocol) -> None:
    assert report_protocol(bytes.fromhex(request_hex)) is protocol


@given(st.binary(max_size=200))
def test_any_bytes_have_a_protocol(request_: bytes) -> None:
    assert report_protocol(request_) in Protocol
