"""The workflow engine: Tinkerbell's objects at work, for workers of both protocols.

Sans-IO: calls in, answers and changes out; time is handed in. What tink-server answers stands in
``worker_calls`` (v1) and ``agent_calls`` (v2), what tink-controller does in ``controller``. It does
what the real programs do, their surprises included, because a worker has to live with those.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fake_tink_server import agent_calls, controller, worker_calls
from fake_tink_server.answers import (
    ActionOrder,
    AgentOrder,
    AgentReport,
    Code,
    Context,
    Note,
    Refused,
    Removed,
    Report,
)
from fake_tink_server.ids import Ulids
from fake_tink_server.workflow import State, Workflow

if TYPE_CHECKING:
    from fake_tink_server.auto import Auto


class Engine:
    """Holds workflows and answers for them."""

    def __init__(
        self,
        workflows: Iterable[Workflow] = (),
        *,
        seed: int | None = None,
        new_id: Callable[[float], str] | None = None,
        auto: Auto | None = None,
    ) -> None:
        """Take ``workflows`` as they are; ``start`` brings the new ones to PENDING.

        With ``seed`` an agent's workflows are looked through in random order at each GetAction, as
        the real server does; without, the oldest comes first. ``new_id`` draws the ids of tasks
        and actions from a wall-clock time. ``auto`` makes what agents lack.
        """
        self._order = random.Random(seed) if seed is not None else None
        self._auto = auto
        self._new_id = new_id or Ulids().new
        self._workflows: dict[str, Workflow] = {}
        self._by_worker: dict[str, list[Workflow]] | None = None
        for workflow in workflows:
            self.add(workflow)

    @property
    def workflows(self) -> Mapping[str, Workflow]:
        """Every workflow by id."""
        return self._workflows

    def add(self, workflow: Workflow, now_s: float = 0.0) -> None:
        """Take one more workflow. Raises ``ValueError`` for an id that is taken."""
        if workflow.id in self._workflows:
            raise ValueError(f"there is a workflow {workflow.id} already")
        for task in workflow.tasks:
            task.id = task.id or self._new_id(now_s)
            for action in task.actions:
                action.id = action.id or self._new_id(now_s)
        self._workflows[workflow.id] = workflow
        self._by_worker = None

    def apply(self, workflow: Workflow, now_s: float) -> list[Note]:
        """Take ``workflow``, instead of one with its id, and let the controller look at it.

        As ``kubectl delete`` and ``kubectl apply``: the one that was there is forgotten.
        """
        notes = self.remove(workflow.id) if workflow.id in self._workflows else []
        self.add(workflow, now_s)
        return notes + controller.reconcile(workflow, now_s)

    def remove(self, workflow_id: str) -> list[Note]:
        """Forget a workflow. Raises ``KeyError``."""
        workflow = self._workflows.pop(workflow_id)
        self._by_worker = None
        return [Removed(workflow_id=workflow_id, state=workflow.state)]

    def snapshot(self) -> list[Workflow]:
        """Return every workflow as it is now; what happens later does not change it."""
        return copy.deepcopy(list(self._workflows.values()))

    def restore(self, workflows: Iterable[Workflow]) -> None:
        """Put workflows back as a snapshot has them; ids it does not have stay as they are."""
        for workflow in copy.deepcopy(list(workflows)):
            self._workflows[workflow.id] = workflow
        self._by_worker = None

    def start(self, now_s: float) -> list[Note]:
        """Let the controller look at every workflow; ``now_s`` is wall-clock seconds."""
        return [note for w in self._workflows.values() for note in controller.reconcile(w, now_s)]

    def booted(self, workflow_id: str, now_s: float) -> list[Note]:
        """Say that the BMC did what ``bootMode`` wants. Raises ``KeyError``."""
        workflow = self._workflows[workflow_id]
        notes = controller.booted(workflow)
        return notes + controller.reconcile(workflow, now_s) if notes else []

    @property
    def next_wake_s(self) -> float | None:
        """Wall-clock seconds at which ``tick`` has something to do; None: nothing is due."""
        stops = [
            workflow.global_stop_s
            for workflow in self._workflows.values()
            if workflow.state is State.RUNNING and workflow.global_stop_s is not None
        ]
        return min(stops, default=None)

    def tick(self, now_s: float) -> list[Note]:
        """Let v0.25's controller see which global timeouts have passed."""
        return [
            note
            for workflow in self._workflows.values()
            if workflow.state is State.RUNNING and workflow.global_stop_s is not None
            for note in controller.reconcile(workflow, now_s)
        ]

    # -- v1

    def contexts_for(self, worker_id: str) -> list[Context]:
        """Answer GetWorkflowContexts. Raises ``Refused``."""
        return worker_calls.contexts_for(self._of(worker_id), worker_id)

    def _of(self, worker_id: str) -> Sequence[Workflow]:
        """Return the workflows with a task of a worker, in their order.

        With a thousand machines, looking through all of them took longer than all else in a call.
        """
        if self._by_worker is None:
            self._by_worker = {}
            for workflow in self._workflows.values():
                for worker in workflow.workers:
                    self._by_worker.setdefault(worker, []).append(workflow)
        return self._by_worker.get(worker_id, ())

    def actions(self, workflow_id: str) -> list[ActionOrder]:
        """Answer GetWorkflowActions. Raises ``Refused``."""
        return worker_calls.actions(self._workflows.get(workflow_id), workflow_id)

    def report(self, report: Report, now_s: float) -> list[Note]:
        """Answer v1's ReportActionStatus; return what changed. Raises ``Refused``."""
        workflow = self._workflows.get(report.workflow_id)
        notes = worker_calls.report(workflow, report, now_s)
        return notes + controller.reconcile(workflow, now_s) if workflow else notes

    # -- v2

    def discover(self, agent_id: str, attributes: Mapping[str, Any] | None) -> list[Note]:
        """Make a Hardware for an agent of GetAction, if that is wanted and there is none."""
        return self._auto.discover(agent_id, attributes) if self._auto else []

    def enroll(
        self, agent_id: str, attributes: Mapping[str, Any] | None, now_s: float
    ) -> list[Note]:
        """Make a workflow for an agent of GetAction, if that is wanted and it has none.

        Raises ``Refused``.
        """
        if self._auto is None or not self._auto.enrolls:
            return []
        if any(workflow.agent == agent_id for workflow in self._workflows.values()):
            return []
        workflow, notes = self._auto.enroll(agent_id, attributes, self._workflows)
        return [*notes, *self.apply(workflow, now_s)] if workflow else notes

    def next_action(self, agent_id: str) -> AgentOrder:
        """Answer GetAction, once: the server tries again. Raises ``Refused``."""
        if not agent_id:
            raise Refused(Code.INVALID_ARGUMENT, "invalid Agent ID")
        own = [each for each in self._workflows.values() if each.agent == agent_id]
        if self._order is not None:
            self._order.shuffle(own)
        return agent_calls.next_action(agent_calls.choose(own), agent_id)

    def look(self, workflow_id: str, now_s: float) -> list[Note]:
        """Let the controller look at a workflow of which something was handed out."""
        return controller.reconcile(self._workflows[workflow_id], now_s)

    def agent_report(self, report: AgentReport, now_s: float) -> list[Note]:
        """Answer v2's ReportActionStatus; return what changed. Raises ``Refused``."""
        workflow = self._workflows.get(report.workflow_id)
        notes = agent_calls.report(workflow, report)
        return notes + controller.reconcile(workflow, now_s) if workflow else notes
