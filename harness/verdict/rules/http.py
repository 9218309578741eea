"""Error answers of HTTP, which two phases may end in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.phases import Party
from harness.verdict.rules.case import Case, Finding, times


def http_errors(case: Case, about: Callable[[str], bool]) -> Finding | None:
    """Judge error answers (F1, F21, F22, F25), unless the path was had later."""
    answers = [e for e in case.seen("http.response.finished") if about(str(e.get("path", "")))]
    had = {e.get("path"): e.seq for e in answers if e.get("status", 200) < 400}
    bad = [
        event
        for event in answers
        if event.get("status", 200) >= 400 and event.seq > had.get(event.get("path"), 0)
    ]
    if not bad:
        return None
    last = bad[-1]
    often = f", {times(len(bad))}" if len(bad) > 1 else ""
    return Finding(
        blame=Party.HTTP,
        because=f"HTTP answered {last.get('status')} for {last.get('path')}{often}",
        evidence=bad[-5:],
        hint=_HINTS.get(int(last.get("status", 0))),
    )


_HINTS: Final = {
    404: (
        "is it named as what the server has? a script is there only for Hardware that allows PXE,"
        " found by the MAC in the path or else by the address that the request comes from"
    ),
    403: "does what stands before the server let this machine through?",
}
