"""Between the engine's values and protocol v1's messages."""

from __future__ import annotations

from fake_tink_server.engine import ActionOrder, Context, Report
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.workflow import State


def encode_context(context: Context) -> pb.WorkflowContext:
    """Return the message of a context."""
    return pb.WorkflowContext(
        workflow_id=context.workflow_id,
        current_worker=context.worker,
        current_task=context.task,
        current_action=context.action,
        current_action_index=context.index,
        current_action_state=str(context.state),
        total_number_of_actions=context.total,
    )


def encode_actions(orders: list[ActionOrder]) -> pb.WorkflowActionList:
    """Return the message of a workflow's actions."""
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
    """Return what a worker reported. A state the protocol does not know becomes None."""
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
