"""Hook's own services: what goes on without one of them, and what does not."""

from __future__ import annotations

from typing import Final

from harness.phases import Party
from harness.timeline import Event, named
from harness.verdict.rules.case import Case, Finding

_LOG: Final = "what it said last is in /var/log/{}.log of the guest: look with --pause-on-failure"


def engine_ended(case: Case) -> Finding | None:
    """The service that runs the containers ended, and with it whatever they were at."""
    for event in ended(case, "docker"):
        killed = case.ever_said("out of memory")[-2:]  # a service seldom ends for nothing
        reason = ", after Linux ran out of memory" if killed else ""
        return Finding(
            blame=Party.MACHINE if killed else Party.DOCKER,
            because=(
                f"{how(event)} in {case.where}{reason}: no container runs without it, and"
                " Hook does not start it again"
            ),
            evidence=[*killed, event],
            hint="give the machine more memory" if killed else _LOG.format(event.get("service")),
        )
    return None


def bootkit_ended(case: Case) -> Finding | None:
    """The service that pulls and starts the worker ended before it had done so."""
    if case.seen("guest.worker.started"):
        return None
    for event in ended(case, "bootkit"):
        return Finding(
            blame=Party.HOOK,
            because=(
                f"{how(event)} before the worker was started, and Hook does not start it again"
                if case.seen("registry.request.received")
                else f"docker is up, but nobody asked the registry for the worker: {how(event)}"
            ),
            evidence=[event],
            hint=_LOG.format(event.get("service")),
        )
    return None


def ended(case: Case, word: str) -> list[Event]:
    """Return the ends of services with ``word`` in their name, since this kernel began.

    Not those of a machine that was reset then: it ended them to start anew.
    """
    began = max(
        (event.seq for event in case.seen("guest.kernel.started", "machine.reset")), default=0
    )
    ends = named(case.events, "guest.service.ended")
    return [one for one in ends if one.seq > began and word in str(one.get("service"))]


def how(event: Event) -> str:
    """Return a service and its end, in words."""
    return f"Hook's service {event.get('service')} {event.get('reason')}"
