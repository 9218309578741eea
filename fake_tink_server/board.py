"""What a server's table shows: workers, workflows and actions, gathered from events and engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fake_tink_server.lines import lines_of, printable
from fake_tink_server.workflow import TERMINAL, Action, State, Workflow
from harness.timeline import Event

_KEPT: Final = 200
"""Lines."""


@dataclass(slots=True)
class _Heard:
    protocol: str = ""
    calls: int = 0
    last_s: float | None = None


@dataclass(slots=True)
class _Work:
    workflows: int = 0
    ended: int = 0
    does: str = ""

    def text(self, *, called: bool) -> str:
        """Return what the worker does, in words."""
        if not self.workflows:
            return "has no workflow"
        if self.ended == self.workflows:
            return "all done"
        return self.does or ("has work" if called else "awaited")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One worker or agent."""

    id: str
    protocol: str
    """``v1``, ``v2``, or ``-`` before it called."""
    calls: int
    silent_s: float | None
    """Since its last call; None when there was none."""
    does: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRow:
    """One action."""

    task: str
    worker: str
    name: str
    image: str
    state: str
    seconds: int | None
    """None before it began."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRow:
    """One workflow with its actions."""

    id: str
    state: str
    ended: bool
    done: int
    """How many actions have succeeded."""
    actions: tuple[ActionRow, ...]


class Board:
    """Gathers what is to be seen. Give it every event by ``hear``."""

    def __init__(self, workflows: Callable[[], Mapping[str, Workflow]]) -> None:
        """``workflows`` returns those of now, by id."""
        self._workflows = workflows
        self._heard: dict[str, _Heard] = {}
        self.address = ""
        """Where the server listens: ``127.0.0.1:42113 (grpc)``."""
        self.lines: deque[str] = deque(maxlen=_KEPT)
        """What happened, in words, the latest last."""

    def hear(self, event: Event) -> None:
        """Take in an event."""
        if event.name == "service.started":
            self.address = f"{event['address']}:{event['port']} ({event['transport']})"
        worker = event.get("worker_id")
        if event.name in ("tink.rpc.received", "tink.action.reported") and worker:
            heard = self._heard.setdefault(worker, _Heard())
            heard.protocol = event.get("protocol", heard.protocol)
            heard.last_s = event.t
            heard.calls += event.name == "tink.rpc.received"
        self.lines += lines_of(event)

    def say(self, line: str) -> None:
        """Add a line."""
        self.lines.append(f"{'':9}  {printable(line)}")

    def workers(self, now_s: float) -> list[WorkerRow]:
        """Return every worker that called or has a task; ``now_s`` on the events' clock."""
        work: dict[str, _Work] = {}
        for workflow in self._workflows().values():
            ended = workflow.state in TERMINAL
            for worker in workflow.workers:
                own = work.setdefault(worker, _Work())
                own.workflows += 1
                own.ended += ended
            for task, action in workflow.actions if workflow.state is State.RUNNING else ():
                if action.state is State.RUNNING:
                    work[task.worker].does = f"{workflow.id} {action.name}"
        rows = []
        for worker in dict.fromkeys([*work, *self._heard]):
            heard = self._heard.get(worker, _Heard())
            rows.append(
                WorkerRow(
                    id=worker,
                    protocol=heard.protocol or "-",
                    calls=heard.calls,
                    silent_s=None if heard.last_s is None else max(0.0, now_s - heard.last_s),
                    does=work.get(worker, _Work()).text(called=worker in self._heard),
                )
            )
        return rows

    def workflows(self, wall_s: float) -> list[WorkflowRow]:
        """Return every workflow; ``wall_s`` is seconds since the epoch."""
        return [
            WorkflowRow(
                id=workflow.id,
                state=workflow.state.short or "NEW",
                ended=workflow.state in TERMINAL,
                done=workflow.current_index,
                actions=tuple(
                    ActionRow(
                        task=task.name,
                        worker=task.worker,
                        name=action.name,
                        image=action.image,
                        state=action.state.short,
                        seconds=_seconds(action, wall_s),
                        message=printable(action.message),
                    )
                    for task, action in workflow.actions
                ),
            )
            for workflow in self._workflows().values()
        ]


def _seconds(action: Action, wall_s: float) -> int | None:
    if action.started_at_s is None:
        return None
    if action.state is State.RUNNING:
        return max(0, int(wall_s - action.started_at_s))
    return action.seconds
