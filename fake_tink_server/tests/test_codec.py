"""Protocol v1's messages: what goes in comes out, unknown bytes do no harm."""

from __future__ import annotations

import contextlib
from typing import Any

from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server import codec
from fake_tink_server.answers import ActionOrder, Context
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.workflow import State

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_texts = st.lists(_text, max_size=3).map(tuple)
_int64 = st.integers(-(2**63), 2**63 - 1)
_wire_states = st.sampled_from(
    [State.PENDING, State.RUNNING, State.FAILED, State.TIMEOUT, State.SUCCESS]
)


_STATES = [State(name) for name in pb.State.keys()]  # noqa: SIM118 - an enum, not a dict


@given(
    st.builds(
        Context,
        workflow_id=_text,
        worker=_text,
        task=_text,
        action=_text,
        index=_int64,
        state=_wire_states,
        total=_int64,
    )
)
def test_contexts(context: Context) -> None:
    wire = codec.encode_context(context).SerializeToString()
    read = pb.WorkflowContext.FromString(wire)
    assert read.current_action_state == pb.State.Value(context.state)
    assert (read.workflow_id, read.current_worker) == (context.workflow_id, context.worker)
    assert (read.current_task, read.current_action) == (context.task, context.action)
    assert (read.current_action_index, read.total_number_of_actions) == (
        context.index,
        context.total,
    )


@given(
    st.builds(
        ActionOrder,
        task=_text,
        name=_text,
        image=_text,
        timeout_s=_int64,
        command=_texts,
        worker=_text,
        volumes=_texts,
        environment=_texts,
        pid=_text,
    )
)
def test_actions(order: ActionOrder) -> None:
    wire = codec.encode_actions([order, order]).SerializeToString()
    first, second = pb.WorkflowActionList.FromString(wire).action_list
    assert first == second
    assert (first.task_name, first.name, first.image) == (order.task, order.name, order.image)
    assert (first.timeout, first.worker_id, first.pid) == (order.timeout_s, order.worker, order.pid)
    assert tuple(first.command) == order.command
    assert tuple(first.volumes) == order.volumes
    assert tuple(first.environment) == order.environment
    assert not first.on_timeout
    assert not first.on_failure


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_report_or_no_message(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        report = codec.decode_report(pb.WorkflowActionStatus.FromString(data))
        assert report.state is None or report.state in _STATES


def test_the_field_numbers_are_tinkerbells() -> None:
    """Against bytes written by hand: tag = number << 3 | wire type."""

    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value])
        return bytes([number << 3 | 2, len(value)]) + value

    message = pb.WorkflowActionStatus.FromString(
        field(1, b"id") + field(2, b"task") + field(3, b"action") + field(4, 4) + field(5, 9)
        + field(6, b"msg") + field(7, field(1, 7)) + field(8, b"worker")
    )  # fmt: skip
    report = codec.decode_report(message)
    assert (report.workflow_id, report.task, report.action) == ("id", "task", "action")
    assert (report.state, report.seconds, report.message) == (State.SUCCESS, 9, "msg")
    assert report.worker == "worker"
    assert message.created_at.seconds == 7
    numbers: dict[str, Any] = {
        name: [f.number for f in kind.fields]
        for name, kind in pb.DESCRIPTOR.message_types_by_name.items()
    }
    assert numbers == {
        "Empty": [],
        "WorkflowContextRequest": [1],
        "WorkflowContext": list(range(1, 8)),
        "WorkflowActionsRequest": [1],
        "WorkflowActionList": [1],
        "WorkflowAction": list(range(1, 12)),
        "WorkflowActionStatus": list(range(1, 9)),
    }
    action = codec.encode_actions(
        [
            ActionOrder(
                task="t", name="n", image="i", timeout_s=5, command=("c",), worker="w",
                volumes=("v",), environment=("e",), pid="p",
            )
        ]
    )  # fmt: skip
    assert action.SerializeToString() == field(
        1,
        field(1, b"t") + field(2, b"n") + field(3, b"i") + field(4, 5) + field(5, b"c")
        + field(8, b"w") + field(9, b"v") + field(10, b"e") + field(11, b"p"),
    )  # fmt: skip
