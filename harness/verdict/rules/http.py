"""Answers of HTTP that are errors, or not what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from harness.phases import Party, Phase
from harness.timeline import Event
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
    """An answer is not as long as its file, and says so itself: for its client all is well."""
    if case.phase not in _BOOT_FILES or case.seen("guest.init.started"):
        return None
    starts = {e.get("id"): e for e in case.seen("http.response.started")}
    scripts = {
        e.get("id"): len(str(e.get("script", "")).encode()) for e in case.seen("http.script.served")
    }
    last = {}
    for end in case.seen("http.response.finished", "http.response.cut"):
        start = starts.get(end.get("id"))
        if start is None or start.get("status") != 200:
            continue
        if end.name.endswith("finished") or end.get("bytes", 0) >= (start.get("length") or 0):
            last[end.get("path")] = (start, end)
    for path, (start, end) in last.items():
        size = start.get("file_bytes") or scripts.get(start.get("id"))
        told = start.get("length")
        if size is None or told is None or told == size:
            continue
        sent = "as the whole" if told < size else "in the place"
        then = case.seen("guest.panicked")[:1]
        what = f", and the kernel panicked: {then[0].get('line')}" if then else ""
        return Finding(
            blame=Party.HTTP,
            because=f"HTTP sent {told} bytes {sent} of {path}, which has {size}{what}",
            evidence=[start, end, *then],
            hint="does a proxy, a portal or a cache answer in the server's place?",
            conclusive=True,
        )
    return None


def sent_in_circles(case: Case) -> Finding | None:
    """Judge a client that goes where it is sent, again and again, and never gets its file."""
    answers = case.seen("http.response.finished")
    if not answers:
        return None
    path = answers[-1].get("path")
    mine = [event for event in answers if event.get("path") == path]
    away = [event for event in mine if 300 <= event.get("status", 200) < 400]
    if len(away) < _CIRCLES or away != mine[-len(away) :]:
        return None
    return Finding(
        blame=Party.HTTP,
        because=(
            f"HTTP sends the client of {path} elsewhere ({away[-1].get('status')}), {len(away)}"
            " times: it is sent in circles"
        ),
        evidence=away[-3:],
        hint="does a proxy redirect to https what it passes on as http, or add a slash?",
        conclusive=True,
    )


_CIRCLES: Final = 3


def unheard(case: Case, service: str = "http") -> Finding | None:
    """Judge an answer of which TCP says that the machine never had it, and had none after it.

    A web server believes that it sent what it gave to its kernel.
    """
    told = case.in_phase(f"{service}.answer.unheard", f"{service}.answer.heard")
    asked = case.in_phase(f"{service}.request.received")
    waiting = {event.get("peer"): event for event in told}
    lost = [event for event in waiting.values() if event.name.endswith(".unheard")]
    if not lost or not asked:
        return None
    last = lost[-1]
    mine = [event for event in asked if event.get("peer") == last.get("peer")]
    # A client that gave up has begun anew: that connection's silence may not have been told yet.
    new = [event for event in asked if event.seq > last.seq]
    if not mine or any(event.get("path") != mine[-1].get("path") for event in new):
        return None
    what = "the registry" if service == "registry" else "HTTP"
    return Finding(
        blame=Party.LINK,
        because=(
            f"what {what} sends of {mine[-1].get('path')} does not arrive: {last.get('bytes')}"
            f" octets were sent {last.get('times')} times, and none of them was acknowledged"
        ),
        evidence=[mine[-1], *lost[-3:]],
        hint=(
            "small frames arrive and large ones don't? then an MTU: of a VPN, a tunnel, a switch;"
            " or the NIC's offloading"
        ),
    )


def mute_client(case: Case, service: str = "http") -> Finding | None:
    """Judge a machine that connected and, as far as its server knows, never asked for anything.

    A program that connects has something to ask. One that connects twice and uses one of the two is
    heard on that.
    """
    told = case.in_phase(f"{service}.connection.mute")
    if not told:
        return None
    last = told[-1]
    since_s = last.t - float(last.get("waited_s") or 0)
    if any(event.t > since_s for event in case.seen(f"{service}.request.received")):
        return None
    what = "the registry" if service == "registry" else "the HTTP server"
    return Finding(
        blame=Party.LINK,
        because=(
            f"the machine connected to {what}, and nothing that it sends arrives there: not an"
            f" octet in {last.t - since_s:.0f} s"
        ),
        evidence=[*case.seen(f"{service}.request.received")[-1:], *told[-3:]],
        hint="small frames arrive and large ones don't? then an MTU, or the NIC's offloading",
    )


def who_is_slow(progress: Sequence[Event], server: Party) -> tuple[Party, str]:
    """Return who held up a transfer that was not through in time, and how one knows.

    A way that is slow, or loses what is sent, keeps octets waiting for their acknowledgement; of a
    server that sends little at a time each is acknowledged when the next is sent.
    """
    told = [event["waiting"] for event in progress if event.get("waiting") is not None]
    told = told[-_LOOKED_AT:]
    if len(told) < _FEWEST:
        return Party.UNKNOWN, "not enough evidence whether the server is slow or the way to it"
    waiting = sum(1 for each in told if each)
    if waiting * 2 > len(told):
        return Party.LINK, "what was sent waits on its way"
    return server, "nothing that was sent waits on its way, so that it is the server which is slow"


_LOOKED_AT: Final = 20
_FEWEST: Final = 5
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
