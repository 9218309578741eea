"""Error answers of HTTP, which two phases may end in."""

from __future__ import annotations

from collections.abc import Callable

from harness.phases import Party
from harness.verdict.rules.case import Case, Finding, times


def http_errors(case: Case, about: Callable[[str], bool]) -> Finding | None:
    bad = [
        event
        for event in case.seen("http.response.finished")
        if event.get("status", 200) >= 400 and about(str(event.get("path", "")))
    ]
    if not bad:
        return None
    last = bad[-1]
    often = f", {times(len(bad))}" if len(bad) > 1 else ""
    return Finding(
        blame=Party.HTTP,
        because=f"HTTP answered {last.get('status')} for {last.get('path')}{often}",
        evidence=bad[-5:],
    )
