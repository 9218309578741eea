"""Between the engine's values and the messages of both protocols."""

from __future__ import annotations

from typing import Any

from fake_tink_server.answers import ActionOrder, AgentOrder, AgentReport, Context, Report
from fake_tink_server.proto import agent_pb2 as pb2
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.workflow import State


def encode_context(context: Context) -> pb.WorkflowContext:
    """Return v1's message of a context."""
    return pb.WorkflowContext(
        workflow_id=context.workflow_id,
        current_worker=context.worker,
        current_task=context.task,
        current_action=context.action,
        current_action_index=context.index,
        # v1 has no name for what only v2 reports; Go's map gives 0 for it
        current_action_state=str(
            State.PENDING if context.state is State.UNSPECIFIED else context.state
        ),
        total_number_of_actions=context.total,
    )


def encode_actions(orders: list[ActionOrder]) -> pb.WorkflowActionList:
    """Return v1's message of a workflow's actions."""
    return pb.WorkflowActionList(
        action_list=[
            pb.WorkflowAction(
                task_name=order.task,
                name=order.name,
                image=order.image,
                timeout=order.timeout_s,
                command=order.command,
                worker_id=order.worker,
                volumes=order.volumes,
                environment=order.environment,
                pid=order.pid,
            )
            for order in orders
        ]
    )


def decode_report(message: pb.WorkflowActionStatus) -> Report:
    """Return what a v1 worker reported. A state the protocol does not know becomes None."""
    number = message.action_status
    known = number in pb.State.values()
    return Report(
        workflow_id=message.workflow_id,
        task=message.task_name,
        action=message.action_name,
        state=State(pb.State.Name(number)) if known else None,
        worker=message.worker_id,
        seconds=message.seconds,
        message=message.message,
    )


def encode_agent_order(found: AgentOrder) -> pb2.ActionResponse:
    """Return v2's message of an action; as the real server does, empty text is sent as well."""
    order, spaces = found.order, found.namespaces
    return pb2.ActionResponse(
        workflow_id=found.workflow_id,
        task_id=found.task_id,
        agent_id=order.worker,
        action_id=found.action_id,
        name=order.name,
        image=order.image,
        timeout=order.timeout_s,
        command=order.command,
        volumes=order.volumes,
        environment=order.environment,
        pid=(spaces.pid if spaces else "") or order.pid,
        namespaces=pb2.Namespaces(network=spaces.network, pid=spaces.pid) if spaces else None,
    )


def decode_agent_report(message: pb2.ActionStatusRequest) -> AgentReport:
    """Return what a v2 agent reported."""
    return AgentReport(
        workflow_id=message.workflow_id,
        agent=message.agent_id,
        task_id=message.task_id,
        action_id=message.action_id,
        action=message.action_name,
        state=_agent_state(message.action_state),
        started_at_s=_seconds(message, "execution_start"),
        stopped_at_s=_seconds(message, "execution_stop"),
        duration=message.execution_duration,
        message=message.message.message,
    )


def _agent_state(number: int) -> State:
    kinds = pb2.ActionStatusRequest.StateType
    return State(f"STATE_{kinds.Name(number)}") if number in kinds.values() else State.UNSPECIFIED


def _seconds(message: pb2.ActionStatusRequest, field: str) -> float | None:
    if not message.HasField(field):
        return None
    value: Any = getattr(message, field)
    return float(value.seconds) + float(value.nanos) / 1e9
