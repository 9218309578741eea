"""What the engine is told, what it answers, and what it says has changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fake_tink_server.workflow import Namespaces, State


class Code(IntEnum):
    """gRPC status codes that tink-server answers with."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    FAILED_PRECONDITION = 9
    INTERNAL = 13


class Refused(Exception):
    """A call is answered with an error. Caught by the server, which sends it."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a workflow stands, as a v1 worker is told."""

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
class AgentOrder:
    """The one action that a v2 agent is given."""

    workflow_id: str
    task_id: str
    action_id: str
    order: ActionOrder
    namespaces: Namespaces | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a v1 worker says about an action. ``state`` None: a number that is no state."""

    workflow_id: str
    task: str
    action: str
    state: State | None
    worker: str = ""
    seconds: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReport:
    """What a v2 agent says about an action."""

    workflow_id: str
    agent: str
    task_id: str
    action_id: str
    action: str
    state: State
    """UNSPECIFIED for a number that is no state."""
    started_at_s: float | None = None
    """Wall clock of the agent; None when it does not say."""
    stopped_at_s: float | None = None
    duration: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A workflow went from one state to another."""

    workflow_id: str
    before: State
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A workflow was deleted."""

    workflow_id: str
    state: State
    """What it was in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowPxe:
    """The controller sets ``allowPXE`` of every interface of a Hardware."""

    hardware: str
    allow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcWanted:
    """The controller waits for the BMC; ``Engine.booted`` says that it has done its part."""

    workflow_id: str
    mode: str
    """``netboot``, ``iso``, ``isoboot`` or ``customboot``."""
    post: bool
    """Whether this is after the last action (eject the medium, say), not before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """Auto-discovery made a Hardware for an agent."""

    agent: str
    hardware: str
    """``namespace/name``"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """Auto-enrolment made a Workflow for an agent."""

    agent: str
    workflow_id: str
    template: str
    rule_set: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEnrolled:
    """Auto-enrolment made a Workflow that its Template can't be rendered for."""

    agent: str
    workflow_id: str
    rule_set: str
    reason: str


Note = Change | Removed | AllowPxe | BmcWanted | Discovered | Enrolled | NotEnrolled
