"""Protocol v2: what Tinkerbell v0.25.0's tink-server answers an agent.

Texts, codes and order of the checks were read in tinkerbell/tinkerbell v0.25.0,
``tink/server/internal/grpc``, and are compared with that program by a test. Worth knowing:

- An agent is given the first of its workflows that has tasks; if that one is neither PENDING nor
  RUNNING the answer is an error, whatever else waits. The real server lists workflows in random
  order at each of its tries, so that a finished workflow hides a pending one now and then.
- Any action of the agent's may be reported, not only the current one, and any state: the workflow
  takes it over unless it is SUCCESS.
- Reports find actions by id. The ids are drawn when a template is rendered, so a workflow that is
  made anew does not know an old report's.
"""

from __future__ import annotations

from collections.abc import Sequence

from fake_tink_server.answers import AgentOrder, AgentReport, Code, Note, Refused
from fake_tink_server.controller import move
from fake_tink_server.protocol import Protocol
from fake_tink_server.worker_calls import (
    INVALID_ACTION_NAME,
    INVALID_TASK_NAME,
    INVALID_WORKFLOW_ID,
    order_of,
)
from fake_tink_server.workflow import Action, CurrentState, State, Task, Workflow

_READ_FAILED = "error reading from backend"


def choose(workflows: Sequence[Workflow]) -> Workflow:
    """Return which of an agent's workflows is served, in the order given. Raises ``Refused``."""
    if not workflows:
        raise Refused(Code.NOT_FOUND, "no Workflows found")
    for workflow in workflows:
        if not workflow.tasks or workflow.state is State.NEW:
            continue  # a disabled workflow was never rendered: no tasks
        if workflow.boot.mode and workflow.state is State.PREPARING:
            raise Refused(Code.FAILED_PRECONDITION, "Workflow is in preparing state")
        if workflow.state not in (State.PENDING, State.RUNNING):
            raise Refused(Code.FAILED_PRECONDITION, "Workflow not in pending or running state")
        return workflow
    raise Refused(Code.NOT_FOUND, "no Tasks found in Workflow")


def next_action(workflow: Workflow, agent_id: str) -> AgentOrder:
    """Answer GetAction out of ``workflow``, and note what was handed out. Raises ``Refused``."""
    task = _current_task(workflow)
    if not task.actions:
        raise Refused(Code.NOT_FOUND, "no Actions found")
    action = _current_action(task, workflow.current_state)
    if task.worker != agent_id:
        raise Refused(Code.NOT_FOUND, "Task not assigned to Agent")
    workflow.current_state = CurrentState(
        agent=agent_id, task_id=task.id, action_id=action.id, state=action.state
    )
    return AgentOrder(
        workflow_id=workflow.id,
        task_id=task.id,
        action_id=action.id,
        order=order_of(task, action),
        namespaces=action.namespaces,
    )


def is_at_first_action(workflow: Workflow) -> bool:
    """Whether nothing of the workflow has begun: the server looks for its Hardware only then."""
    return _unbegun(workflow.tasks[0])


def _current_task(workflow: Workflow) -> Task:
    if _unbegun(workflow.tasks[0]):
        return workflow.tasks[0]
    for task in workflow.tasks:
        if task.actions and task.actions[-1].state is not State.SUCCESS:
            return task
    raise Refused(Code.NOT_FOUND, "no Tasks found")


def _current_action(task: Task, here: CurrentState | None) -> Action:
    if _unbegun(task):
        return task.actions[0]
    if here is not None and here.state in (State.RUNNING, State.PENDING):
        for action in task.actions:
            if action.id == here.action_id:
                return action
        raise Refused(Code.NOT_FOUND, "in-progress Action not found in task")
    if here is None:
        raise Refused(Code.FAILED_PRECONDITION, "no current state available")
    if here.state is not State.SUCCESS:
        raise Refused(Code.FAILED_PRECONDITION, "current Action not in success state")
    for place, action in enumerate(task.actions, 1):
        if action.id == here.action_id:
            if place == len(task.actions):
                raise Refused(Code.NOT_FOUND, "last Action in task")
            return task.actions[place]
    raise Refused(Code.NOT_FOUND, "no Action found")


def _unbegun(task: Task) -> bool:
    return bool(task.actions) and task.actions[0].state is State.PENDING


def report(workflow: Workflow | None, said: AgentReport) -> list[Note]:
    """Answer ReportActionStatus: note what an agent says about an action of its own.

    Raises ``Refused``; then nothing changed.
    """
    for value, complaint in (
        (said.workflow_id, INVALID_WORKFLOW_ID),
        (said.task_id, INVALID_TASK_NAME),
        (said.action_id, INVALID_ACTION_NAME),
    ):
        if not value:
            raise Refused(Code.INVALID_ARGUMENT, complaint)
    if workflow is None:
        raise Refused(Code.INTERNAL, _no_workflow(said.workflow_id))
    rendered = workflow.state is not State.NEW  # a disabled workflow never is
    for task, action in workflow.actions if rendered else ():
        if action.id == said.action_id and task.worker == said.agent:
            return _take(workflow, task, action, said)
    raise Refused(Code.NOT_FOUND, "action not found")


def _take(workflow: Workflow, task: Task, action: Action, said: AgentReport) -> list[Note]:
    workflow.protocol = Protocol.V2
    action.state = said.state
    # protobuf's missing timestamp is the epoch
    action.started_at_s = int(said.started_at_s or 0)
    stopped = said.stopped_at_s or 0
    action.seconds = max(0, int(stopped - action.started_at_s)) if stopped > 0 else 0
    action.duration, action.message = said.duration, said.message
    workflow.current_state = CurrentState(
        agent=said.agent, task_id=said.task_id, action_id=said.action_id, state=said.state
    )
    if said.state is not State.SUCCESS:
        return move(workflow, said.state)
    if task is workflow.tasks[-1] and action is task.actions[-1]:
        return move(workflow, State.POST)
    return []


def _no_workflow(workflow_id: str) -> str:
    """Return the Kubernetes client's error with what tink-server puts before it, twice."""
    namespace, _, name = workflow_id.partition("/")
    return (
        f"{_READ_FAILED}\nrpc error: code = Internal desc = error getting workflow: "
        f'failed to get workflow {namespace}/{name}: Workflow.tinkerbell.org "{name}" not found'
    )
