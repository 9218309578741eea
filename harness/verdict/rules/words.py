"""What the worker says of itself: its log comes by syslog, one JSON object a line."""

from __future__ import annotations

import json
import re
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
    found = _ERROR.search(message)
    if not found:
        return None
    try:
        return str(json.loads(f'"{found[1]}"'))
    except ValueError:  # cut off in mid-character
        return found[1]


def errors(case: Case, *, after: int = 0, before: int | None = None) -> list[tuple[Event, str]]:
    """Return the errors the worker told between two events."""
    return [
        (event, text)
        for event in case.seen("syslog.message.received")
        if after < event.seq
        and (before is None or event.seq <= before)
        and (text := error_of(event)) is not None
    ]


def reporting(case: Case, *, after: int) -> list[tuple[Event, str]]:
    """Return when the worker said that it reports an action, and which, empty if it is not told."""
    said = []
    for event in case.seen("syslog.message.received"):
        if event.seq > after and is_report(event):
            found = _ACTION.search(str(event.get("message")))
            said.append((event, found[1] if found else ""))
    return said


def is_report(event: Event) -> bool:
    """Return whether a worker says that it is about to report an action."""
    return event.name == "syslog.message.received" and bool(
        _REPORTING.search(str(event.get("message")))
    )
