"""What a Python scenario asks of, and does to, single parts of its lab.

``lab.registry.pulls("tink-worker") == 1``; ``await lab.tink.wait_for_action("write", "RUNNING")``;
``await lab.tink.restart()``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

from fake_tink_server.server import TinkServer
from fake_tink_server.workflow import Workflow
from harness.clock import Deadline
from harness.facts import action_reports, pulls, state_of
from harness.services.registry import RegistryService
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline


class RegistryPart:
    """The lab's registry."""

    def __init__(self, service: RegistryService, timeline: Timeline, macs: Collection[str]) -> None:
        self.service = service
        self._timeline = timeline
        self._macs = macs

    def pulls(self, reference: str) -> int:
        """Return how often the machine began to pull ``repository[:tag]``; any tag without one."""
        tags = [""] if ":" in reference else self.service.repositories.get(reference, [])
        names = [f"{reference}:{tag}" if tag else reference for tag in tags]
        return sum(len(pulls(self._timeline.events, name, macs=self._macs)) for name in names)


class TinkPart:
    """Tinkerbell's gRPC server in the lab."""

    def __init__(
        self,
        make: Callable[[], TinkServer],
        *,
        timeline: Timeline,
        tasks: TaskKeeper,
        patience: timedelta,
        deadline: Callable[[timedelta], Deadline] = Deadline.after,
    ) -> None:
        """``make`` builds a server anew; ``patience`` is how long waits last by default.

        ``deadline`` makes a deadline of how long a wait may last.
        """
        self._make = make
        self.server = make()
        self._timeline = timeline
        self._tasks = tasks
        self._patience = patience
        self._deadline = deadline

    async def start(self) -> None:
        """Listen. Raises ``SetupFailed``."""
        await self.server.start()

    async def stop(self) -> None:
        """Close every connection. Idempotent."""
        await self.server.stop()

    def snapshot(self) -> list[Workflow]:
        """Return every workflow as it stands now, for ``restart`` to go back to."""
        return self.server.engine.snapshot()

    async def restart(
        self, *, keep_state: bool = True, state: Sequence[Workflow] | None = None
    ) -> None:
        """Close every connection and listen again; without ``keep_state`` all work is new.

        ``state`` is a ``snapshot`` of earlier: the server has forgotten what came after it.
        """
        kept = state if state is not None else self.snapshot() if keep_state else ()
        await self.server.stop()
        self.server = self._make()
        self.server.engine.restore(kept)
        await self.server.start()

    def runs(self, action: str) -> int:
        """Return how often a worker reported that ``action`` began."""
        return sum(
            state_of(report) == "RUNNING" and report.get("action") == action
            for report in action_reports(self._timeline.events)
        )

    async def wait_for_action(
        self, action: str, state: str, *, within: timedelta | None = None
    ) -> Event:
        """Return the report that ``action`` is ``RUNNING``, ``SUCCESS``, ``FAILED`` or ``TIMEOUT``.

        Raises ``DeadlineExpired``.
        """

        def wanted(event: Event) -> bool:
            fields: dict[str, Any] = dict(event.fields)
            return (
                event.name == "tink.action.reported"
                and fields.get("action") == action
                and state_of(event) == state
            )

        return await self._tasks.race(
            self._timeline.wait_for(wanted),
            self._deadline(within or self._patience),
            waiting_for=f"action {action} {state}",
        )

    async def wait_until_finished(self) -> dict[str, str]:
        """Return the state of every workflow (``SUCCESS``) once all of them are terminal.

        Survives ``restart``: it looks at the timeline, not at one server. Has no deadline.
        """
        seen = 0
        while not self._finished():
            event = await self._timeline.wait_for(
                lambda event: event.name == "tink.workflow.changed", since=seen
            )
            seen = event.seq
        return self._states()

    def _finished(self) -> bool:
        terminal = {"SUCCESS", "FAILED", "TIMEOUT"}
        return all(state in terminal for state in self._states().values())

    def _states(self) -> dict[str, str]:
        workflows = self.server.engine.workflows.values()
        return {each.id: str(each.state).removeprefix("STATE_") for each in workflows}
