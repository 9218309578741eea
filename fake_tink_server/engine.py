"""The workflow engine: what tink-server v0.12 answers, and what tink-controller does after it.

Sans-IO: calls in, answers and changes out; time is handed in. It does what the real programs do,
their surprises included, because a worker has to live with those:

- a worker that reports again for a finished workflow is heard, as long as it names the current
  action;
- the controller compares timeouts only when a workflow's status changes, so that a worker that
  died leaves its workflow RUNNING for ever;
- a timeout of 0 (or none) is one that has passed already.

The answers' texts and codes were read in tinkerbell/tink v0.12.2, ``internal/server``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fake_tink_server.workflow import Action, State, Task, Workflow


class Code(IntEnum):
    """gRPC status codes that tink-server answers with."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3


class Refused(Exception):
    """A call is answered with an error. Caught by the server, which sends it."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


INVALID_WORKFLOW_ID: Final = "invalid workflow id"
INVALID_TASK_NAME: Final = "invalid task name"
INVALID_ACTION_NAME: Final = "invalid action name"
WRONG_TASK: Final = "reported task name does not match the current action details"
WRONG_ACTION: Final = "reported action name does not match the current action details"

REPORTABLE: Final = frozenset({State.RUNNING, State.SUCCESS, State.FAILED, State.TIMEOUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a workflow stands, as a worker is told."""

    workflow_id: str
    worker: str
    task: str
    action: str
    index: int
    state: State
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionOrder:
    """An action as a worker is told: the task's volumes and environment are merged in."""

    task: str
    name: str
    image: str
    timeout_s: int
    command: tuple[str, ...]
    worker: str
    volumes: tuple[str, ...]
    environment: tuple[str, ...]
    """``key=value``, sorted as text; the action's value wins over the task's."""
    pid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker says about an action. ``state`` None: a number that is no state."""

    workflow_id: str
    task: str
    action: str
    state: State | None
    worker: str = ""
    seconds: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A workflow went from one state to another."""

    workflow_id: str
    before: State
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowPxe:
    """The controller sets ``allowPXE`` of every interface of a Hardware."""

    hardware: str
    allow: bool


Note = Change | AllowPxe


class Engine:
    """Holds workflows and answers for them."""

    def __init__(self, workflows: Iterable[Workflow] = ()) -> None:
        """Take ``workflows`` as they are; ``start`` brings the new ones to PENDING."""
        self._workflows: dict[str, Workflow] = {}
        for workflow in workflows:
            self.add(workflow)

    @property
    def workflows(self) -> Mapping[str, Workflow]:
        """Every workflow by id."""
        return self._workflows

    def add(self, workflow: Workflow) -> None:
        """Take one more workflow. Raises ``ValueError`` for an id that is taken."""
        if workflow.id in self._workflows:
            raise ValueError(f"there is a workflow {workflow.id} already")
        self._workflows[workflow.id] = workflow

    def start(self, now_s: float) -> list[Note]:
        """Let the controller look at every workflow; ``now_s`` is wall-clock seconds."""
        return [note for w in self._workflows.values() for note in self._reconcile(w, now_s)]

    def booted(self, workflow_id: str, now_s: float) -> list[Note]:
        """Say that the BMC did what ``bootMode`` wants. Raises ``KeyError``."""
        workflow = self._workflows[workflow_id]
        if workflow.state is not State.PREPARING:
            return []
        return [*self._move(workflow, State.PENDING), *self._reconcile(workflow, now_s)]

    def contexts_for(self, worker_id: str) -> list[Context]:
        """Answer GetWorkflowContexts: the workflows whose current task is the worker's.

        Raises ``Refused``.
        """
        if not worker_id:
            raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
        found = []
        for workflow in self._workflows.values():
            if workflow.state not in (State.PENDING, State.RUNNING) or not workflow.tasks:
                continue
            current = workflow.current
            if (current[0] if current else workflow.tasks[0]).worker == worker_id:
                found.append(_context(workflow))
        return found

    def actions(self, workflow_id: str) -> list[ActionOrder]:
        """Answer GetWorkflowActions. Raises ``Refused``."""
        if not workflow_id:
            raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
        workflow = self._workflows.get(workflow_id)
        if workflow is None:
            # the Kubernetes client's own error, which tink-server passes on as it is
            name = workflow_id.partition("/")[2]
            raise Refused(Code.UNKNOWN, f'Workflow.tinkerbell.org "{name}" not found')
        return [_order(task, action) for task, action in workflow.actions]

    def report(self, report: Report, now_s: float) -> list[Note]:
        """Answer ReportActionStatus: note what a worker says about the current action.

        Returns what changed. Raises ``Refused``; then nothing changed.
        """
        for value, complaint in (
            (report.workflow_id, INVALID_WORKFLOW_ID),
            (report.task, INVALID_TASK_NAME),
            (report.action, INVALID_ACTION_NAME),
        ):
            if not value:
                raise Refused(Code.INVALID_ARGUMENT, complaint)
        workflow = self._workflows.get(report.workflow_id)
        if workflow is None:
            raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
        current = workflow.current
        if current is None or report.task != current[0].name:
            raise Refused(Code.INVALID_ARGUMENT, WRONG_TASK)
        action = current[1]
        if report.action != action.name:
            raise Refused(Code.INVALID_ARGUMENT, WRONG_ACTION)
        if report.state not in REPORTABLE:
            raise Refused(Code.INVALID_ARGUMENT, INVALID_WORKFLOW_ID)
        state = report.state
        last = workflow.current_index + 1 == len(workflow.actions)
        action.state = state
        notes: list[Note] = []
        if state is State.RUNNING:
            action.started_at_s = int(now_s)
            notes += self._move(workflow, State.RUNNING)
        else:
            if action.started_at_s is not None:
                action.seconds = int(now_s - action.started_at_s)
            if state is not State.SUCCESS:
                notes += self._move(workflow, state)
            elif last:
                # POST, not SUCCESS: the controller has things to do first
                notes += self._move(workflow, State.POST)
        return notes + self._reconcile(workflow, now_s)

    def _move(self, workflow: Workflow, state: State) -> list[Note]:
        before = workflow.state
        if before is state:
            return []
        workflow.state = state
        return [Change(workflow_id=workflow.id, before=before, state=state)]

    def _reconcile(self, workflow: Workflow, now_s: float) -> list[Note]:
        """Do what the controller does when it sees a workflow that changed."""
        toggles = workflow.boot.toggle_allow_netboot
        if workflow.state is State.NEW:
            if not toggles and not workflow.boot.mode:
                return self._move(workflow, State.PENDING)
            notes = self._move(workflow, State.PREPARING)
            if toggles:
                notes.append(AllowPxe(hardware=workflow.hardware, allow=True))
            if not workflow.boot.mode:
                notes += self._move(workflow, State.PENDING)
            return notes
        if workflow.state is State.RUNNING:
            return self._time_out(workflow, now_s)
        if workflow.state is State.POST:
            notes = [AllowPxe(hardware=workflow.hardware, allow=False)] if toggles else []
            return notes + self._move(workflow, State.SUCCESS)
        return []

    def _time_out(self, workflow: Workflow, now_s: float) -> list[Note]:
        notes: list[Note] = []
        first = workflow.actions[0][1].started_at_s
        if first is not None and now_s > first + workflow.global_timeout_s:
            notes += self._move(workflow, State.TIMEOUT)
        for _, action in workflow.actions:
            started = action.started_at_s
            if action.state is not State.RUNNING or started is None:
                continue
            if now_s > started + action.timeout_s:
                action.state = State.TIMEOUT
                action.message = "Action timed out"
                action.seconds = int(now_s - started)
                notes += self._move(workflow, State.TIMEOUT)
        return notes


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


def _order(task: Task, action: Action) -> ActionOrder:
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
