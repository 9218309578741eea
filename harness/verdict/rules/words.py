"""What the worker says of itself: its log comes by syslog, one JSON object a line."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Final

from harness.timeline import Event
from harness.verdict.rules.case import Case

_ERROR: Final = re.compile(r'"error":"((?:[^"\\]|\\.)*)"')
_REPORTING: Final = re.compile(r'"reporting Action Status"|"executed action"')
"""tink-worker v0.12.2 (worker.go) and tink-agent v0.25.0 (agent.go), right before they report."""
_ACTION: Final = re.compile(r'"(?:actionName|[Nn]ame)":"((?:[^"\\]|\\.)*)"')


def error_of(event: Event) -> str | None:
    """Return the error that a line of a worker's log tells, None for any other line."""
    message = str(event.get("message"))
    if message.startswith("Error: "):
        return message.removeprefix("Error: ")  # of its command line
    if '"level":"error"' not in message and '"error":' not in message:
        return None
    return error_in(message)


def error_in(text: str) -> str | None:
    """Return the error that a line of JSON tells, also where it is cut off or has a time before."""
    found = _ERROR.search(text)
    if not found:
        return None
    try:
        return last_attempt(str(json.loads(f'"{found[1]}"')))
    except ValueError:  # cut off in mid-character
        return found[1]


def last_attempt(text: str) -> str:
    """Return the last of several errors that tink-agent tells as one (retry-go, ``Error``)."""
    if not text.startswith("All attempts fail:"):
        return text
    return _ATTEMPT.split(text)[-1].strip()


_ATTEMPT: Final = re.compile(r"\n#\d+: ")


def errors(case: Case, *, after: int = 0, before: int | None = None) -> list[tuple[Event, str]]:
    """Return the errors the worker told between two events."""
    return [
        (event, text)
        for event in case.seen("syslog.message.received")
        if after < event.seq
        and (before is None or event.seq <= before)
        and (text := error_of(event)) is not None
    ]


def of_the_action(case: Case, *, after: int) -> list[Event]:
    """Return what containers said that spoke for the first time since an action began.

    Docker's log driver tags a message with the first 12 digits of its container's identifier.
    """
    before = {
        event.get("tag")
        for event in case.seen("syslog.message.received")
        # a worker's lines may come again, and late
        if event.seq <= after or _WORKERS.search(str(event.get("message")))
    }
    return [
        event
        for event in case.seen("syslog.message.received")
        if event.seq > after
        and event.get("tag") not in before
        and _CONTAINER.fullmatch(str(event.get("tag")))
        and error_of(event) is None
    ]


_WORKERS: Final = re.compile(r'"(?:workerID|worker_id|agentID)":')
"""In nearly all that tink-worker v0.12.2 and tink-agent v0.25.0 say."""
_CONTAINER: Final = re.compile(r"[0-9a-f]{12}")


def is_report(event: Event) -> bool:
    """Return whether a worker says that it is about to report an action."""
    return event.name == "syslog.message.received" and bool(
        _REPORTING.search(str(event.get("message")))
    )


def cannot_call(event: Event) -> str | None:
    """Return the error of a worker that could not ask Tinkerbell for work; None for other words."""
    if event.name != "syslog.message.received" or not _ASKING.search(str(event.get("message"))):
        return None
    return error_of(event)


_ASKING: Final = re.compile(r'"failed to get workflow context"|"error reading/retrieving action"')
"""tink-worker v0.12.2 (worker.go) and tink-agent v0.25.0 (agent.go)."""


class ReportsTold:
    """Follows what a worker says it reports, and what of that is heard.

    Its words go another way, through docker and syslog, and often come a little after the report.
    """

    def __init__(self) -> None:
        self.unheard: Event | None = None
        """Where it said that it reports, when nothing was heard of it since."""
        self._heard: deque[float] = deque()
        """When reports came that it has not told of yet."""

    @property
    def action(self) -> str:
        """Which action the report is of; empty if that is not told."""
        found = _ACTION.search(str(self.unheard.get("message"))) if self.unheard else None
        return found[1] if found else ""

    def feed(self, event: Event) -> None:
        """Take in the next event."""
        if is_report(event):
            while self._heard and event.t - self._heard[0] > _LATE_S:
                self._heard.popleft()
            if self._heard:
                self._heard.popleft()
            else:
                self.unheard = self.unheard or event
        elif event.name.startswith("tink."):
            report = event.get("rpc") == "ReportActionStatus" and event.name.endswith(".received")
            if report and self.unheard is None:
                self._heard.append(event.t)
            self.unheard = None
        elif event.name == "machine.reset":
            self.unheard = None
            self._heard.clear()


_LATE_S: Final = 5.0
"""Words that come so much later than a report may still be of it; seen: 0.01 s."""
