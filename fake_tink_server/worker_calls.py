"""Protocol v1: what tink-server v0.12.2 answers a worker.

Texts, codes and order of the checks were read in tinkerbell/tink v0.12.2, ``internal/server``. A
worker that reports again for a finished workflow is heard, as long as it names the current action.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fake_tink_server.answers import (
    ActionOrder,
    Code,
    Context,
    Note,
    Refused,
    Report,
)
from fake_tink_server.controller import move
from fake_tink_server.protocol import Protocol
from fake_tink_server.workflow import Action, CurrentState, State, Task, Workflow

INVALID_WORKFLOW_ID: Final = "invalid workflow id"
INVALID_TASK_NAME: Final = "invalid task name"
INVALID_ACTION_NAME: Final = "invalid action name"
WRONG_TASK: Final = "reported task name does not match the current action details"
WRONG_ACTION: Final = "reported action name does not match the current action details"

REPORTABLE: Final = frozenset({State.RUNNING, State.SUCCESS, State.FAILED, State.TIMEOUT})


def contexts_for(workflows: Iterable[Workflow], worker_id: str) -> list[Context]:
    """Answer GetWorkflowContexts: the workflows whose current task is the worker's.

    Raises ``Refused``.
    """
    if not worker_id:
        raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
    found = []
    for workflow in workflows:
        if workflow.state not in (State.PENDING, State.RUNNING) or not workflow.tasks:
            continue
        current = workflow.current
        if (current[0] if current else workflow.tasks[0]).worker == worker_id:
            found.append(_context(workflow))
    return found


def actions(workflow: Workflow | None, workflow_id: str) -> list[ActionOrder]:
    """Answer GetWorkflowActions. Raises ``Refused``."""
    if not workflow_id:
        raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
    if workflow is None:
        # the Kubernetes client's own error, which tink-server passes on as it is
        name = workflow_id.partition("/")[2]
        raise Refused(Code.UNKNOWN, f'Workflow.tinkerbell.org "{name}" not found')
    return [order_of(task, action) for task, action in workflow.actions]


def report(workflow: Workflow | None, said: Report, now_s: float) -> list[Note]:
    """Answer ReportActionStatus: note what a worker says about the current action.

    Raises ``Refused``; then nothing changed.
    """
    for value, complaint in (
        (said.workflow_id, INVALID_WORKFLOW_ID),
        (said.task, INVALID_TASK_NAME),
        (said.action, INVALID_ACTION_NAME),
    ):
        if not value:
            raise Refused(Code.INVALID_ARGUMENT, complaint)
    if workflow is None:
        raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
    current = workflow.current
    if current is None or said.task != current[0].name:
        raise Refused(Code.INVALID_ARGUMENT, WRONG_TASK)
    task, action = current
    if said.action != action.name:
        raise Refused(Code.INVALID_ARGUMENT, WRONG_ACTION)
    if said.state not in REPORTABLE:
        raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
    state = said.state
    last = workflow.current_index + 1 == len(workflow.actions)
    workflow.protocol = Protocol.V1
    action.state = state
    workflow.current_state = CurrentState(
        agent=task.worker, task_id=task.id, action_id=action.id, state=state
    )
    if state is State.RUNNING:
        action.started_at_s = int(now_s)
        return move(workflow, State.RUNNING)
    if action.started_at_s is not None:
        action.seconds = int(now_s - action.started_at_s)
    if state is not State.SUCCESS:
        return move(workflow, state)
    # POST, not SUCCESS: the controller has things to do first
    return move(workflow, State.POST) if last else []


def order_of(task: Task, action: Action) -> ActionOrder:
    """Return what either protocol tells of an action."""
    environment = {**task.environment, **action.environment}
    return ActionOrder(
        task=task.name,
        name=action.name,
        image=action.image,
        timeout_s=action.timeout_s,
        command=tuple(action.command),
        worker=task.worker,
        volumes=(*task.volumes, *action.volumes),
        environment=tuple(sorted(f"{key}={value}" for key, value in environment.items())),
        pid=action.pid,
    )


def _context(workflow: Workflow) -> Context:
    current = workflow.current
    task, action = current if current else (None, None)
    return Context(
        workflow_id=workflow.id,
        worker=task.worker if task else "",
        task=task.name if task else "",
        action=action.name if action else "",
        index=workflow.current_index,
        state=action.state if action else State.PENDING,
        total=len(workflow.actions),
    )
