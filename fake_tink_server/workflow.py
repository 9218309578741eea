"""A workflow as the server runs it: tasks, actions, states.

The values of Tinkerbell's ``Workflow.status``, those of v0.12 and those of v0.25 side by side;
``template`` makes them, ``engine`` moves them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fake_tink_server.protocol import Protocol


class State(StrEnum):
    """States of workflows and actions, by the names Tinkerbell v0.12 writes."""

    NEW = ""
    PREPARING = "STATE_PREPARING"
    PENDING = "STATE_PENDING"
    RUNNING = "STATE_RUNNING"
    POST = "STATE_POST"
    SUCCESS = "STATE_SUCCESS"
    FAILED = "STATE_FAILED"
    TIMEOUT = "STATE_TIMEOUT"
    UNSPECIFIED = "STATE_UNSPECIFIED"
    """What a v2 agent may report, and the server copies: a number that is no state, too."""

    @property
    def short(self) -> str:
        """The name as Tinkerbell v0.25 writes it: without ``STATE_``."""
        return self.value.removeprefix("STATE_")


TERMINAL: Final = frozenset({State.SUCCESS, State.FAILED, State.TIMEOUT})
"""States in which no worker is given the workflow any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """The Linux namespaces of an action's container (v0.25)."""

    network: str = ""
    pid: str = ""


@dataclass(slots=True, kw_only=True)
class Action:
    """One container to run."""

    id: str = ""
    """A ULID, drawn by the engine; what v2 names an action by."""
    name: str
    image: str
    timeout_s: int = 0
    """0: the worker waits an hour, and Tinkerbell's controller says TIMEOUT at once."""
    command: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    pid: str = ""
    namespaces: Namespaces | None = None
    """Known to v2 only."""
    on_timeout: list[str] = field(default_factory=list)
    """Accepted in a template and, as by Tinkerbell, never sent to a worker."""
    on_failure: list[str] = field(default_factory=list)
    """Accepted in a template and, as by Tinkerbell, never sent to a worker."""
    state: State = State.PENDING
    started_at_s: int | None = None
    """Wall clock, whole seconds since the epoch: Kubernetes stores no finer time."""
    seconds: int = 0
    message: str = ""
    duration: str = ""
    """As a v2 agent words it: ``1m2s``."""


@dataclass(slots=True, kw_only=True)
class Task:
    """Actions that one worker runs in order."""

    id: str = ""
    """A ULID, drawn by the engine."""
    name: str
    worker: str
    """The worker's id, which is compared byte by byte: a MAC in capitals is another worker."""
    actions: list[Action]
    volumes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class BootOptions:
    """``Workflow.spec.bootOptions``."""

    toggle_allow_netboot: bool = False
    mode: str = ""
    """``""``, ``netboot``, ``iso``, ``isoboot`` or ``customboot``; anything but ``""`` needs a BMC
    before work is handed out."""
    iso_url: str = ""
    bmc: bool = True
    """Whether the Hardware names a BMC (``bmcRef``)."""
    preparing_actions: bool = True
    """Whether ``customboot`` asks the BMC for something before the first action."""
    post_actions: bool = False
    """Whether ``customboot`` asks the BMC for something after the last action."""
    toggled_back: bool = False
    """Whether ``allowPXE`` was set back after the last action: that is done once."""
    post_done: bool = False
    """Whether the BMC has done its part after the last action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentState:
    """``status.currentState`` of v0.25: the action handed out or reported last."""

    agent: str
    task_id: str
    action_id: str
    state: State


@dataclass(slots=True, kw_only=True)
class Workflow:
    """One workflow with its state."""

    namespace: str = "default"
    name: str
    tasks: list[Task]
    global_timeout_s: int = 0
    hardware: str = ""
    """Name of the Hardware the workflow is for; may be empty."""
    boot: BootOptions = field(default_factory=BootOptions)
    state: State = State.NEW
    disabled: bool = False
    agent: str = ""
    """``status.agentID``: who v2 hands the workflow to."""
    current_state: CurrentState | None = None
    global_stop_s: int | None = None
    """When v0.25's controller says TIMEOUT; wall clock, whole seconds."""
    protocol: Protocol | None = None
    """Of the report that came last: whose controller looks after the workflow."""

    @property
    def id(self) -> str:
        """What the wire calls the workflow: ``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def actions(self) -> list[tuple[Task, Action]]:
        """Every action with its task, in the order of execution."""
        return [(task, action) for task in self.tasks for action in task.actions]

    @property
    def workers(self) -> list[str]:
        """The ids of the workers that have a task, each once."""
        return list(dict.fromkeys(task.worker for task in self.tasks))

    @property
    def current(self) -> tuple[Task, Action] | None:
        """The first action that has not succeeded; None when all have."""
        for task, action in self.actions:
            if action.state is not State.SUCCESS:
                return task, action
        return None

    @property
    def current_index(self) -> int:
        """How many actions come before the current one, over all tasks."""
        index = 0
        for _, action in self.actions:
            if action.state is not State.SUCCESS:
                break
            index += 1
        return index
