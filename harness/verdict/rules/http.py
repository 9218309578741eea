"""Answers of HTTP that are errors, or not what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.phases import Party, Phase
from harness.verdict.rules.case import Case, Finding, repeated


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
    return Finding(
        blame=Party.HTTP,
        because=f"HTTP answered {last.get('status')} for {last.get('path')}{repeated(bad)}",
        evidence=bad[-5:],
        hint=_HINTS.get(int(last.get("status", 0))),
        conclusive=is_final(last.get("status")),
    )


def is_final(status: object) -> bool:
    """Whether a status says no for good: not that of a server, or gateway, that was too slow."""
    return isinstance(status, int) and status >= 400 and status not in _MAY_CHANGE


def file_not_whole(case: Case) -> Finding | None:
    """A file's answer is shorter than the file, and says so itself: for its client all is well."""
    if case.phase not in _BOOT_FILES or case.seen("guest.init.started"):
        return None
    starts = {e.get("id"): e for e in case.seen("http.response.started")}
    scripts = {
        e.get("id"): len(str(e.get("script", "")).encode()) for e in case.seen("http.script.served")
    }
    last = {}
    for sent in case.seen("http.response.finished"):
        start = starts.get(sent.get("id"))
        if start is not None and sent.get("status") == 200:
            last[sent.get("path")] = (start, sent)
    for path, (start, sent) in last.items():
        size = start.get("file_bytes") or scripts.get(start.get("id"))
        told = start.get("length")
        if size is None or told is None or told >= size:
            continue
        then = case.seen("guest.panicked")[:1]
        what = f", and the kernel panicked: {then[0].get('line')}" if then else ""
        return Finding(
            blame=Party.HTTP,
            because=f"HTTP sent {told} bytes as the whole of {path}, which has {size}{what}",
            evidence=[start, sent, *then],
            hint="does a proxy, a portal or a cache answer in the server's place?",
            conclusive=True,
        )
    return None


_MAY_CHANGE: Final = frozenset({408, 429, 502, 503, 504})
_BOOT_FILES: Final = (
    Phase.NBP_DOWNLOAD,
    Phase.IPXE,
    Phase.KERNEL_INITRAMFS,
    Phase.HOOK_BOOT,
)
_HINTS: Final = {
    404: (
        "is it named as what the server has? a script is there only for Hardware that allows PXE,"
        " found by the MAC in the path or else by the address that the request comes from"
    ),
    403: "does what stands before the server let this machine through?",
}
