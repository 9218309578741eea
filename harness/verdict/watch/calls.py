"""The worker and Tinkerbell's server: calls without answer, without use, without end."""

from __future__ import annotations

from typing import ClassVar, Final

from harness.phases import Phase
from harness.timeline import Event
from harness.verdict.rules.tink import is_final_code
from harness.verdict.rules.words import ReportsTold, cannot_call
from harness.verdict.watch.ending import Ending, Rule, Sight, Streak

_REPORT: Final = "ReportActionStatus"
ANSWERED: Final = (
    "tink.rpc.finished",
    "tink.contexts.sent",
    "tink.actions.sent",
    "tink.action.sent",
    "tink.action.reported",
)
"""Events that end the wait of a call."""
_PERMANENT: Final = ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION")


class NoWork(Rule):
    """The worker is told again and again that there is nothing for it to do."""

    name: ClassVar = "no-work"
    source: ClassVar = (
        "tink-worker asks every 6 s, tink-agent after 0.5 s × 1.5 up to 5 s, and the real server "
        "keeps it waiting for a minute; workflows stand before power-on"
    )
    _TIMES: Final = 3
    _SECONDS: Final = 12.0
    _REBOOT_S: Final = 60.0

    def __init__(self) -> None:
        self._idle = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in (
            "tink.action.sent",
            "tink.action.reported",
            "tink.workflow.changed",
            "tink.agent.enrolled",
        ) or (event.name == "tink.rpc.received" and event.get("rpc") == _REPORT):
            self._idle.clear()
        elif (
            event.name == "tink.rpc.finished"
            and event.get("rpc") == "GetWorkflowActions"
            and event.get("code") != "OK"
        ):
            self._idle.clear()  # there is work, and CallRefused sees that it is not given
        elif event.name == "tink.contexts.sent":
            # One that names a workflow is followed by GetWorkflowActions, and then by a report.
            what = "no workflow" if not event.get("workflows") else "no turn"
            self._idle.add(event, sight.now, what)
        elif _nothing_to_do(event):
            self._idle.add(event, sight.now, str(event.get("details") or event.get("code")))

    def ending(self, sight: Sight) -> Ending | None:
        idle = self._idle
        # A machine that is to restart after its workflow has to come to that first.
        seconds = self._REBOOT_S if sight.tracker.phase is Phase.DISK_BOOT else self._SECONDS
        if idle.count < self._TIMES or idle.lasted(sight) < seconds * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=f"the worker asked {idle.count} times for work and got none: {idle.what}",
            evidence=tuple(idle.events),
        )

    def forget(self, sight: Sight) -> None:
        self._idle.clear()


class CallUnanswered(Rule):
    """A call waits for its answer on a connection that nobody ends."""

    name: ClassVar = "call-unanswered"
    source: ClassVar = (
        "neither worker gives its calls a deadline or its connection a keepalive; the real server "
        "answers GetAction within a minute, everything else at once"
    )
    _GET_ACTION_S: Final = 90.0
    _OTHER_S: Final = 30.0

    def __init__(self) -> None:
        self._open: dict[object, tuple[Event, float]] = {}
        self._ignored: dict[object, tuple[Event, float]] = {}

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "tink.rpc.received":
            # A worker makes one call at a time: a new one means that it is done with the last.
            worker = event.get("worker_id")
            for key in [key for key, (call, _) in self._open.items() if _by(call) == worker]:
                del self._open[key]
            self._open[event.get("id")] = (event, sight.now)
            self._ignored.clear()
        elif event.name in ANSWERED:
            self._open.pop(event.get("id"), None)
        elif event.name == "tink.call.ignored":
            self._ignored.setdefault(event.get("peer"), (event, sight.now))
        elif event.name == "tink.connection.closed":
            peer = event.get("peer")
            self._ignored.pop(peer, None)
            for key in [key for key, (call, _) in self._open.items() if call.get("peer") == peer]:
                del self._open[key]
        elif event.name == "machine.reset":
            self._open.clear()
            self._ignored.clear()

    def ending(self, sight: Sight) -> Ending | None:
        for call, since in self._open.values():
            rpc = call.get("rpc")
            wait = self._GET_ACTION_S if rpc == "GetAction" else self._OTHER_S
            if sight.now - since >= wait * sight.patience:
                return self._say(call, f"{rpc} was not answered for {sight.now - since:.0f} s")
        for call, since in self._ignored.values():
            if sight.now - since >= self._OTHER_S * sight.patience:
                return self._say(
                    call,
                    f"a call was not answered for {sight.now - since:.0f} s, on a connection that"
                    " stays open",
                )
        return None

    def _say(self, call: Event, because: str) -> Ending:
        return Ending(rule=self.name, because=because, evidence=(call,), hang=True)

    def forget(self, sight: Sight) -> None:
        for waiting in (self._open, self._ignored):
            for key, (call, _) in waiting.items():
                waiting[key] = (call, sight.now)


class ReportUnheard(Rule):
    """The worker says that it reports, and nothing of that arrives."""

    name: ClassVar = "report-unheard"
    source: ClassVar = (
        "neither worker has a keepalive: on a half-open connection it waits until TCP gives up,"
        " after some 15 min (tcp_retries2), or for ever where the other side's kernel answers"
    )
    _SECONDS: Final = 60.0

    def __init__(self) -> None:
        self._told = ReportsTold()
        self._since = 0.0

    def feed(self, event: Event, sight: Sight) -> None:
        before = self._told.unheard
        self._told.feed(event)
        if self._told.unheard is not before:
            self._since = sight.now

    def ending(self, sight: Sight) -> Ending | None:
        said, silent = self._told.unheard, sight.now - self._since
        if said is None or silent < self._SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"the worker said {silent:.0f} s ago that it reports an action,"
                " and nothing of that arrived"
            ),
            evidence=(said,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        self._since = sight.now


class CallsUnheard(Rule):
    """The worker says again and again that it can't call, and nobody hears anything of it."""

    name: ClassVar = "calls-unheard"
    source: ClassVar = (
        "tink-worker says so every 3 s, tink-agent after up to 5 s; grpc-go dials again after 1 s,"
        " 1.6 s, 2.6 s … (±20 %): five times in 17 s"
    )
    _TIMES: Final = 6
    _SECONDS: Final = 25.0

    def __init__(self) -> None:
        self._said = Streak()
        self._error = ""

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name.startswith(("tink.connection.", "tink.rpc.")) or event.name in (
            "machine.reset",
            "machine.powered_on",
        ):
            self._said.clear()
        elif error := cannot_call(event):
            self._said.add(event, sight.now)
            self._error = error

    def ending(self, sight: Sight) -> Ending | None:
        said = self._said
        if said.count < self._TIMES or said.lasted(sight) < self._SECONDS * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"the worker said {said.count} times that it can't call Tinkerbell, and nothing was"
                f" heard of it: {self._error}"
            ),
            evidence=tuple(said.events),
        )

    def forget(self, sight: Sight) -> None:
        self._said.clear()


class NoConnection(Rule):
    """Connections to Tinkerbell's server come about and are of no use, one after the other."""

    name: ClassVar = "no-connection"
    source: ClassVar = (
        "grpc-go connects again after 1 s × 1.6 up to 2 min (±20 %), and gives a connection 20 s "
        "to become HTTP/2 (doc/connection-backoff.md)"
    )
    _FAILED: Final = 5
    _FAILED_S: Final = 8.0
    _MUTE: Final = 2
    _MUTE_S: Final = 40.0
    _VAIN: Final = 3
    _LOST: Final = 6
    _LOST_S: Final = 45.0

    def __init__(self) -> None:
        self._failed = Streak()
        self._mute = Streak()
        self._lost = Streak()
        self._vain = Streak()

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name in ("tink.rpc.received", "tink.rpc.finished", "machine.reset"):
            if event.name != "tink.rpc.received":
                self._lost.clear()
            self._failed.clear()
            self._mute.clear()
            self._vain.clear()
        elif event.name == "tink.connection.opened":
            self._failed.clear()
            self._mute.clear()
            self._vain.add(event, sight.now)
        elif event.name == "tink.call.ignored":
            self._vain.clear()
        elif event.name == "tink.connection.accepted":
            self._mute.add(event, sight.now)
        elif event.name == "tink.connection.failed":
            self._failed.add(event, sight.now, event.get("reason"))
            self._mute.clear()
        elif event.name == "tink.connection.closed" and not sight.action:
            self._lost.add(event, sight.now)

    def ending(self, sight: Sight) -> Ending | None:
        for streak, times, seconds, because in (
            (self._failed, self._FAILED, self._FAILED_S, "never became gRPC: {what}"),
            (self._mute, self._MUTE, self._MUTE_S, "were accepted, and nothing was said on them"),
            (self._vain, self._VAIN, self._MUTE_S, "were made, and no call came on any of them"),
            (self._lost, self._LOST, self._LOST_S, "ended before a call was answered"),
        ):
            if sight.action:
                return None
            if streak.count >= times and streak.lasted(sight) >= seconds * sight.patience:
                what = because.format(what=streak.what)
                return Ending(
                    rule=self.name,
                    because=f"{streak.count} connections to Tinkerbell's server {what}",
                    evidence=tuple(streak.events),
                    hang=streak in (self._mute, self._vain),
                )
        return None

    def forget(self, sight: Sight) -> None:
        for streak in (self._failed, self._mute, self._lost, self._vain):
            streak.clear()


class CallRefused(Rule):
    """The server refuses the worker's questions, each time in the same way."""

    name: ClassVar = "call-refused"
    source: ClassVar = (
        "tink-worker asks again 3 s after an error, tink-agent after up to 5 s, whatever the code:"
        " for ever; a server that is overloaded or starts anew is back within a minute"
    )
    _TIMES: Final = 4
    _SECONDS: Final = 8.0
    _PASSING_TIMES: Final = 12
    _PASSING_S: Final = 45.0

    def __init__(self) -> None:
        self._refused: dict[object, Streak] = {}

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "machine.reset":
            self._refused.clear()
        elif event.name == "tink.rpc.finished" and event.get("rpc") != _REPORT:
            if event.get("code") in ("OK", "CANCELLED") or _nothing_to_do(event):
                self._refused.pop(event.get("rpc"), None)
            else:
                streak = self._refused.setdefault(event.get("rpc"), Streak())
                streak.add(event, sight.now, event.get("code"))

    def ending(self, sight: Sight) -> Ending | None:
        for rpc, streak in self._refused.items():
            final = is_final_code(streak.what)
            count, seconds = (
                (self._TIMES, self._SECONDS) if final else (self._PASSING_TIMES, self._PASSING_S)
            )
            if streak.count >= count and streak.lasted(sight) >= seconds * sight.patience:
                return Ending(
                    rule=self.name,
                    because=f"{rpc} was answered {streak.what}, {streak.count} times in a row",
                    evidence=tuple(streak.events),
                )
        return None

    def forget(self, sight: Sight) -> None:
        self._refused.clear()


class ReportRefused(Rule):
    """The server refuses what the worker reports: for ever, or once and for all."""

    name: ClassVar = "report-refused"
    source: ClassVar = (
        "tink-worker reports every 3 s until it is heard; tink-agent likewise with back-off, but "
        "NotFound, InvalidArgument and FailedPrecondition end it"
    )
    _TIMES: Final = 8
    _SECONDS: Final = 20.0
    _GONE_S: Final = 22.0

    def __init__(self) -> None:
        self._refused = Streak()
        self._agent = False
        self._gone: tuple[Event, float] | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "tink.rpc.received":
            self._gone = None
            self._agent = self._agent or event.get("rpc") == "GetAction"
        elif event.name == "tink.rpc.finished" and event.get("rpc") == _REPORT:
            code = event.get("code")
            if code == "OK":
                self._refused.clear()
                return
            self._refused.add(event, sight.now, code)
            if self._agent and code in _PERMANENT:
                self._gone = (event, sight.now)
        elif event.name == "machine.reset":
            self.forget(sight)

    def ending(self, sight: Sight) -> Ending | None:
        refused = self._refused
        if self._gone is not None and sight.now - self._gone[1] >= self._GONE_S * sight.patience:
            event = self._gone[0]
            return Ending(
                rule=self.name,
                because=f"the report was refused ({event.get('code')}), and the agent ended",
                evidence=(event,),
            )
        if refused.count >= self._TIMES and refused.lasted(sight) >= self._SECONDS * sight.patience:
            return Ending(
                rule=self.name,
                because=f"{refused.count} reports were refused: {refused.what}",
                evidence=tuple(refused.events),
            )
        return None

    def forget(self, sight: Sight) -> None:
        self._refused.clear()
        self._gone = None


class ReportNotTaken(Rule):
    """Reports are answered OK and not taken in, so that the same action is run again and again."""

    name: ClassVar = "report-not-taken"
    source: ClassVar = (
        "tink-worker asks anew after its last report, and runs what the server still has RUNNING"
    )
    _TIMES: Final = 3

    def __init__(self) -> None:
        self._lost = Streak()
        self._heard: object = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "tink.action.reported":
            self._heard = event.get("id")
            self._lost.clear()
        elif event.name == "machine.reset":
            self._lost.clear()
        elif (
            event.name == "tink.rpc.finished"
            and (event.get("rpc"), event.get("code")) == (_REPORT, "OK")
            and event.get("id") != self._heard
        ):
            self._lost.add(event, sight.now)

    def ending(self, sight: Sight) -> Ending | None:
        if self._lost.count < self._TIMES:
            return None
        return Ending(
            rule=self.name,
            because=f"{self._lost.count} reports were answered OK and not taken in",
            evidence=tuple(self._lost.events),
        )

    def forget(self, sight: Sight) -> None:
        self._lost.clear()


class ActionOverdue(Rule):
    """An action runs on though its worker should have stopped it long ago."""

    name: ClassVar = "action-overdue"
    source: ClassVar = (
        "both workers stop an action after its timeout and report that at once; tink-worker takes "
        "0 for an hour; the pull comes on top"
    )
    _MARGIN_S: Final = 120.0

    def __init__(self) -> None:
        self._timeouts: dict[str, float] = {}
        self._running: tuple[Event, float] | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "tink.actions.sent":
            names, limits = event.get("actions") or (), event.get("timeouts_s") or ()
            for name, limit in zip(names, limits, strict=False):
                self._timeouts[str(name)] = float(limit) or 3600.0
        elif event.name == "tink.action.sent" and event.get("timeout_s") is not None:
            self._timeouts[str(event.get("action"))] = float(event["timeout_s"])
        elif event.name == "tink.action.reported":
            self._running = (event, sight.now) if sight.action else None
        elif event.name.startswith("registry.") and self._running is not None:
            self._running = (self._running[0], sight.now)
        elif event.name == "machine.reset":
            self._running = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._running is None:
            return None
        event, since = self._running
        limit = self._timeouts.get(str(event.get("action")))
        if limit is None or sight.now - since < limit + self._MARGIN_S * sight.patience:
            return None
        return Ending(
            rule=self.name,
            because=(
                f"action '{event.get('action')}' has a timeout of {limit:.0f} s, and nothing was"
                f" heard of it for {sight.now - since:.0f} s"
            ),
            evidence=(event,),
            hang=True,
        )

    def forget(self, sight: Sight) -> None:
        if self._running is not None:
            self._running = (self._running[0], sight.now)


class AnotherKernel(Rule):
    """An action started another kernel, and that one is no Hook with a worker."""

    name: ClassVar = "another-kernel"
    source: ClassVar = "Linux kernel/kexec_core.c: nothing of what ran before is left"

    def __init__(self) -> None:
        self._kernel: Event | None = None
        self._line: Event | None = None

    def feed(self, event: Event, sight: Sight) -> None:
        if event.name == "guest.kernel.started":
            self._kernel, self._line = (event if sight.action else None), None
        elif event.name == "guest.cmdline.seen":
            self._line = event
        elif event.name in ("machine.reset", "tink.rpc.received"):
            self._kernel = None

    def ending(self, sight: Sight) -> Ending | None:
        if self._kernel is None or self._line is None:
            return None
        if "worker_id=" in str(self._line.get("cmdline")):
            return None
        return Ending(
            rule=self.name,
            because="another kernel was started while an action ran, and it knows of no worker",
            evidence=(self._kernel, self._line),
        )

    def forget(self, sight: Sight) -> None:
        """Nothing: what happened stays true."""


def _by(call: Event) -> object:
    return call.get("worker_id")


def _nothing_to_do(event: Event) -> bool:
    return (
        event.name == "tink.rpc.finished"
        and event.get("rpc") == "GetAction"
        and event.get("code") in ("NOT_FOUND", "FAILED_PRECONDITION")
    )
