"""A clock that is wrong: it makes every good certificate a bad one (F34, F35)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from harness.facts import began_at
from harness.phases import Party
from harness.timeline import Event
from harness.verdict.rules.case import Case, Finding

_TOLD: Final = re.compile(
    r"x509: certificate has expired or is not yet valid: current time (?P<now>\S+) is"
    r" (?P<which>before|after) (?P<limit>[0-9TZ:.+-]+)"
)
"""Go's crypto/x509 says both times."""
_WRONG_BY: Final = timedelta(hours=12)


def clock_wrong(case: Case) -> Finding | None:
    """Judge a certificate that is refused for its dates, by a guest whose clock is far off."""
    told = [
        (event, found)
        for event in case.seen("guest.error.seen", "syslog.message.received")
        if (found := _TOLD.search(str(event.get("line") or event.get("message"))))
    ]
    if not told:
        return None
    event, found = told[-1]
    here, there = _wall(case, event), _time(found["now"])
    if here is None or there is None or abs(here - there) < _WRONG_BY:
        return None
    asked = case.seen("ntp.request.received")
    answered = case.seen("ntp.answer.sent")
    unset = [
        one
        for one in case.seen("guest.error.seen")
        if one.get("pattern") == "clock not set" and answered and one.seq > answered[0].seq
    ]
    if unset:
        why = "and what a time server answered did not arrive"
    elif answered:
        why = "though a time server answered"
    elif asked:
        why = "and no time server answered"
    else:
        why = "and asked no time server"
    return Finding(
        blame=Party.CLOCK,
        because=(
            f"Hook's clock says {there:%Y-%m-%d} where it is {here:%Y-%m-%d} {why}: to it the"
            f" certificate is {'not yet valid' if found['which'] == 'before' else 'expired'}"
        ),
        evidence=[*asked[-2:], *answered[-2:], *unset[-1:], event],
        hint="does DHCP name a time server (option 42), can it be reached, and is its time right?",
    )


def _wall(case: Case, event: Event) -> datetime | None:
    began = _time(began_at(case.seen("run.started", "lab.resumed")))
    return began + timedelta(seconds=event.t) if began else None


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.rstrip("."))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
