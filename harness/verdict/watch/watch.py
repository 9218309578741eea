"""All rules of the watch over one run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from harness.facts import state_of
from harness.timeline import Event
from harness.verdict.watch import answers, calls, downloads, firmware, hook, medium
from harness.verdict.watch.ending import Ending, Rule, Sight
from harness.verdict.watch.silence import Silence

RULES: Final[tuple[type[Rule], ...]] = (
    firmware.SwitchedOff,
    firmware.Halted,
    firmware.BootedFromDisk,
    firmware.FirmwareGaveUp,
    firmware.UnfitProgram,
    firmware.NobodyKnowsIt,
    firmware.OnlyIpv6Left,
    firmware.DhcpInVain,
    answers.AddressRefused,
    answers.SentInCircles,
    answers.AnswerUnheard,
    answers.LeaseLost,
    firmware.CableIsOut,
    firmware.GoesInCircles,
    downloads.TooSlow,
    medium.UnpatchedMedium,
    hook.DockerDoesNotStart,
    hook.ServiceEnded,
    hook.ShellIsInit,
    hook.NobodyPulls,
    hook.PullRefused,
    hook.PullFails,
    answers.LayerStandsStill,
    calls.NoWork,
    calls.CallUnanswered,
    calls.ReportUnheard,
    calls.CallsUnheard,
    calls.NoConnection,
    calls.CallRefused,
    calls.ReportRefused,
    calls.ReportNotTaken,
    calls.AnotherKernel,
    calls.ActionOverdue,
    Silence,
)
"""Every rule, the surest first."""

_USUAL_DEADLINE_S: Final = 600.0
_MOST_PATIENCE: Final = 3.0
_LONGEST_STEP_S: Final = 2.0
"""Time counts by at most this much between two looks: a host that was asleep, or had no time for
the lab, had none for the machine either."""
_HANDS: Final = frozenset({"machine", "link"})
"""Places where a fault can save a machine that would stand still for ever."""


class Watch:
    """Tells when a run need not go on. Sans-IO: somebody else has the clock and the events.

    Time passes only while the machine runs (``qmp.event.seen`` STOP and RESUME), and not while
    something that the scenario declared is still to begin or to end (``unsettled``).
    """

    def __init__(
        self, *, deadline_s: float, workflow: bool, disk: bool = False, ways: int = 1
    ) -> None:
        """``deadline_s`` is how long the run may take; ``workflow`` whether it ends with one.

        ``disk`` is whether the machine has a disk that boots, ``ways`` how many network cards (or
        CD drives that a BMC fills) its firmware tries one after the other.
        """
        patience = min(max(1.0, deadline_s / _USUAL_DEADLINE_S), _MOST_PATIENCE)
        self.sight = Sight(
            deadline_s=deadline_s, workflow=workflow, disk=disk, ways=ways, patience=patience
        )
        self._rules = [rule() for rule in RULES]
        self._stopped = False
        self._looked: float | None = None

    def expect_nothing_more(self) -> None:
        """Apply all rules from now on: the events that somebody waited for have come."""
        self.sight.workflow = True

    def feed(self, event: Event) -> None:
        """Take in the next event."""
        if event.name.startswith("fault."):
            return
        sight = self.sight
        sight.tracker.feed(event)
        if event.name in ("machine.powered_on", "machine.reset"):
            sight.kernel = sight.action = False
        elif event.name == "guest.kernel.started":
            sight.kernel = True
        elif event.name == "tink.action.reported":
            sight.action = bool(event.get("accepted", True)) and state_of(event) == "RUNNING"
        elif event.name == "qmp.event.seen" and event.get("event") in ("STOP", "RESUME"):
            self._stopped = event.get("event") == "STOP"
        for rule in self._rules:
            rule.feed(event, sight)

    def look(self, now: float, unsettled: Collection[str] = ()) -> Ending | None:
        """Return why the run is over, if it is, ``now`` seconds into it.

        ``unsettled`` are the places where something is still to change by itself.
        """
        step = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if not self._stopped:
            self.sight.now += min(step, _LONGEST_STEP_S)
        for rule in self._rules:
            if unsettled and not (rule.firm and _HANDS.isdisjoint(unsettled)):
                rule.forget(self.sight)
                continue
            if rule.needs_workflow and not self.sight.workflow:
                continue
            ending = rule.ending(self.sight)
            if ending is not None:
                return ending
        return None
