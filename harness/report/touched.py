"""Which frames of a capture belong to an event: what proves a verdict, what a fault struck.

Matched by time and by what events and frames share: the client's port, DHCP's transaction or
hardware address. One pass over the capture for any number of questions.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.net.annotation import annotate
from harness.net.captured import CapturedFrames, Frame
from harness.report.packets import run_began_ns
from harness.timeline import Event

_BEFORE_S: Final = 0.5
_AFTER_S: Final = 0.3
_LATE_S: Final = 60.0
"""How much later a delayed answer may come."""
_SLACK_S: Final = 0.004
"""Between a frame's stamp and its event's, in either direction."""
_MOST: Final = 3
"""Frames after the event that count as what came of it."""
_PORTS: Final[Mapping[str, frozenset[int]]] = {
    "dhcp": frozenset({67, 68, 4011}),
    "dns": frozenset({53}),
    "ntp": frozenset({123}),
    "syslog": frozenset({514}),
}
_TCP, _UDP = 6, 17
_CLIENT: Final = 68
"""DHCP's clients have a port of their own."""
_EPHEMERAL: Final = 1024
_MOST_COMMENTS: Final = 1000
_SILENT: Final = ("drop", "never answer", "ignore", "stall")
"""Deeds after which nothing is sent."""


@dataclass(slots=True, kw_only=True)
class Question:
    """Frames that are looked for, and those that were found."""

    at_s: float
    """When it happened, seconds since the run began."""
    until_s: float
    """The end of what is looked at."""
    ports: frozenset[int]
    """One end of the frame has one of these."""
    client: bool = True
    """Whether ``ports`` are the client's, not the service's."""
    strict: bool = False
    """Whether what came before came from the client: a fault strikes what somebody asked."""
    needle: bytes = b""
    """What the frame before has in it, if any has."""
    mac: bytes = b""
    """DHCP only: whose it is (chaddr)."""
    xid: bytes = b""
    """DHCP only: which transaction."""
    before: Frame | None = None
    """The last one up to the event."""
    after: list[Frame] = field(default_factory=list)
    """The first ones after it."""
    exact: bool = False
    """Whether ``before`` has the needle in it."""

    @property
    def numbers(self) -> list[int]:
        """The numbers of the frames that were found."""
        return sorted(f.number for f in [*([self.before] if self.before else []), *self.after])


class Peers:
    """Which client port an event is about, when it does not say so itself."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._index = {event.seq: number for number, event in enumerate(events)}
        self._by_id: dict[tuple[str, object], int] = {}
        for event in events:
            port = _port(event.get("peer"))
            if port and event.get("id") is not None:
                self._by_id.setdefault((_family(event), event.get("id")), port)

    def port_of(self, event: Event) -> int | None:
        """Return the client's port of ``event``, None when nothing tells."""
        return _port(event.get("peer")) or self._by_id.get((_family(event), event.get("id")))

    def near(self, event: Event, place: str, facts: Mapping[str, object]) -> int | None:
        """Return the client's port of the nearest event of ``place`` that agrees with ``facts``."""
        at = self._index.get(event.seq, 0)
        names = [name for name in ("path", "file", "rpc", "repository") if facts.get(name)]
        around = self._events[max(0, at - 40) : at + 20]
        best: tuple[float, int] | None = None
        for other in around:
            if _family(other) != place or abs(other.t - event.t) > _BEFORE_S:
                continue
            if any(other.get(name) not in (None, facts[name]) for name in names):
                continue
            port = self.port_of(other)
            if port and (best is None or abs(other.t - event.t) < best[0]):
                best = abs(other.t - event.t), port
        return best[1] if best else None


def comment_on_faults(path: Path, events: Sequence[Event]) -> int:
    """Write onto the frames of the capture at ``path`` which faults struck them; return how many.

    A capture without such frames is not touched. Raises ``OSError`` and ``ValueError``.
    """
    fired = [event for event in events if event.name == "fault.fired"][:_MOST_COMMENTS]
    began_ns = run_began_ns(events)
    if not fired or began_ns is None or not path.is_file():
        return 0
    peers = Peers(events)
    asked = [(event, question) for event in fired if (question := asked_by(event, peers))]
    with CapturedFrames(path) as capture:
        find_frames(capture, [question for _, question in asked], began_ns=began_ns)
    comments: dict[int, list[str]] = {}
    for event, question in asked:
        name = f"hooklab fault {event.get('fault')} ({event.get('text')})"
        if question.before:
            said = comments.setdefault(question.before.number, [])
            said.append(f"{name}: struck here, event {event.seq}")
        for frame in question.after:
            said = comments.setdefault(frame.number, [])
            said.append(f"{name}: after it struck, event {event.seq}")
    if comments:
        annotate(path, {number: "\n".join(said[:4]) for number, said in comments.items()})
    return len(comments)


def asked_by(event: Event, peers: Peers) -> Question | None:
    """Return the question for the frames of an event; None when it is about none."""
    family = _family(event)
    if family == "fault":
        return _struck(event, peers)
    if family == "dhcp" and event.get("xid"):
        try:
            xid = bytes.fromhex(str(event.get("xid")).removeprefix("0x"))
        except ValueError:
            return None
        return _question(event, _PORTS["dhcp"], xid=xid)
    port = peers.port_of(event)
    return _question(event, frozenset({port})) if port else None


def _struck(event: Event, peers: Peers) -> Question | None:
    place = str(event.get("place"))
    facts = event.get("facts") or {}
    ports = _PORTS.get(place)
    if place == "wire":
        ends = [facts.get("source port"), facts.get("destination port")]
        ports = frozenset(end for end in ends if isinstance(end, int) and end >= _EPHEMERAL)
    elif ports is None:
        port = _port(facts.get("peer")) or peers.near(event, place, facts)
        ports = frozenset({port} if port else ())
    if not ports:
        return None
    mac = b""
    if place == "dhcp" and event.get("mac"):
        mac = bytes.fromhex(str(event.get("mac")).replace(":", ""))
    deed = str(event.get("deed"))
    after = 0.0 if deed in _SILENT else _LATE_S if deed in ("delay", "reorder") else _AFTER_S
    question = _question(event, ports, mac=mac, after_s=after)
    question.strict = place != "wire"
    question.client = place not in _PORTS
    question.needle = str(facts.get("path") or facts.get("file") or "").encode()
    return question


def _question(
    event: Event, ports: frozenset[int], *, mac: bytes = b"", xid: bytes = b"", after_s: float = 0.1
) -> Question:
    return Question(at_s=event.t, until_s=event.t + after_s, ports=ports, mac=mac, xid=xid)


def find_frames(capture: CapturedFrames, questions: Iterable[Question], *, began_ns: int) -> None:
    """Answer ``questions`` in one pass. ``began_ns`` is the run's start, ns since 1970."""
    waiting = sorted(questions, key=lambda question: question.at_s, reverse=True)
    if not waiting:
        return
    open_now: list[Question] = []
    data = capture.data
    next_ns = began_ns + int((waiting[-1].at_s - _BEFORE_S) * 1e9)
    for frame in capture.since(next_ns):
        if not open_now and frame.time_ns < next_ns:
            continue
        t = (frame.time_ns - began_ns) / 1e9
        while waiting and waiting[-1].at_s - _BEFORE_S <= t:
            open_now.append(waiting.pop())
        open_now = [question for question in open_now if t <= question.until_s + _SLACK_S]
        if waiting:
            next_ns = began_ns + int((waiting[-1].at_s - _BEFORE_S) * 1e9)
        elif not open_now:
            return
        at = frame.at
        if frame.bytes < 42 or data[at + 12 : at + 15] != b"\x08\x00\x45":
            continue
        if data[at + 23] not in (_TCP, _UDP):
            continue
        if data[at + 23] == _TCP and not _says_something(data, frame):
            continue
        ends = (int.from_bytes(data[at + 34 : at + 36]), int.from_bytes(data[at + 36 : at + 38]))
        for question in open_now:
            if question.ports.isdisjoint(ends) or not _is_of(question, data, at):
                continue
            if t <= question.at_s + _SLACK_S and _asks(question, *ends):
                _offer(question, frame, data)
            elif t > question.at_s and len(question.after) < _MOST:
                question.after.append(frame)


def _says_something(data: mmap.mmap, frame: Frame) -> bool:
    """Whether a TCP segment carries octets, or opens, ends or resets a connection."""
    total = int.from_bytes(data[frame.at + 16 : frame.at + 18])
    head = 20 + (data[frame.at + 46] >> 4) * 4
    return total > head or bool(data[frame.at + 47] & 7)


def _asks(question: Question, sport: int, dport: int) -> bool:
    """Whether a frame with these ports can be what came before the event."""
    if not question.strict:
        return True
    return sport in question.ports if question.client else dport in question.ports - {_CLIENT}


def _offer(question: Question, frame: Frame, data: mmap.mmap) -> None:
    """Take ``frame`` as the one before, unless a better one was found."""
    exact = bool(question.needle) and (
        data.find(question.needle, frame.at, frame.at + frame.bytes) >= 0
    )
    if exact or not question.exact:
        question.before, question.exact = frame, exact


def _is_of(question: Question, data: mmap.mmap, at: int) -> bool:
    if question.xid and data[at + 46 : at + 50] != question.xid:
        return False
    return not question.mac or data[at + 70 : at + 76] == question.mac


def _family(event: Event) -> str:
    return event.name.partition(".")[0]


def _port(peer: object) -> int | None:
    port = str(peer or "").rpartition(":")[2]
    return int(port) if port.isdecimal() else None
