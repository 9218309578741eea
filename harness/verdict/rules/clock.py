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
_LATER: Final = timedelta(hours=1)
"""No run waits this long for a certificate to become valid."""


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
    here, there = _here(case, event), _time(found["now"])
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


def stays_refused(line: str, now: datetime | None) -> bool:
    """Return whether the certificate that ``line`` speaks of is no good by a right clock either.

    ``now`` is the true time; False where one of them does not tell.
    """
    found = _TOLD.search(line)
    limit = _time(found["limit"]) if found else None
    if found is None or limit is None or now is None:
        return False
    return now > limit if found["which"] == "after" else now + _LATER < limit


def dates_are_wrong(case: Case, event: Event, line: str) -> bool:
    """Return whether no clock can be blamed for what ``event`` says of a certificate."""
    return stays_refused(line, _here(case, event))


def _here(case: Case, event: Event) -> datetime | None:
    return true_time(began_at(case.seen("run.started", "lab.resumed")), event)


def true_time(began: str, event: Event) -> datetime | None:
    """Return the lab's time of day at ``event`` of a run that began at ``began`` (ISO 8601)."""
    start = _time(began)
    return start + timedelta(seconds=event.t) if start else None


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.rstrip("."))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
