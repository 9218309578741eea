"""HTTP/1.1 exchanges of somebody else's server, told from the segments on the wire."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from harness.wire.commands import Note
from harness.wire.frames import FIN, RST, SYN, Segment

_PROGRESS_EVERY_S: Final = 0.5
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\s*(;|$)")
_LONGEST_HEAD: Final = 65_536
_WRAP: Final = 1 << 32
_HALF: Final = 1 << 31


@dataclass(slots=True, kw_only=True)
class _Stream:
    """One direction's octets, in order; what a capture lost is jumped over."""

    next: int | None = None
    """The sequence number that is expected."""
    buffer: bytearray = field(default_factory=bytearray)

    def take(self, segment: Segment) -> None:
        if segment.flags & SYN:
            self.next = (segment.sequence + 1) % _WRAP
            return
        data = segment.data
        if self.next is None:
            self.next = segment.sequence
        ahead = (segment.sequence - self.next) % _WRAP
        if ahead >= _HALF:  # sent again
            data = data[_WRAP - ahead :]
        if data:
            self.buffer += data
            self.next = (segment.sequence + len(segment.data)) % _WRAP


@dataclass(slots=True, kw_only=True)
class _Exchange:
    id: str
    began_s: float
    method: str
    path: str
    status: int | None = None
    length: int | None = None
    """Octets of the body; None: chunked, or until the server closes."""
    chunked: bool = False
    sent: int = 0
    body: bytearray = field(default_factory=bytearray)
    """Kept for scripts only."""
    told_s: float = 0.0


class WatchedConnection:
    """One TCP connection between a client and an HTTP server."""

    def __init__(self, *, number: int, mac: str, peer: str) -> None:
        self._number = number
        self._mac = mac
        self._peer = peer
        self._requests = 0
        self._up, self._down = _Stream(), _Stream()
        self._waiting: deque[_Exchange] = deque()
        self.over = False

    def from_client(self, segment: Segment, now: float) -> list[Note]:
        """Return what a segment of the client's says."""
        self._up.take(segment)
        notes: list[Note] = []
        while (head := _head(self._up.buffer)) is not None:
            notes.append(self._asked(head, now))
        if segment.flags & RST or (segment.flags & FIN and self._unfinished()):
            notes += self._ended()
        return notes

    def from_server(self, segment: Segment, now: float) -> list[Note]:
        """Return what a segment of the server's says."""
        self._down.take(segment)
        notes: list[Note] = []
        while self._waiting and self._down.buffer:
            exchange = self._waiting[0]
            if exchange.status is None:
                head = _head(self._down.buffer)
                if head is None:
                    break
                notes.append(_answered(exchange, head))
            if not self._body(exchange):
                notes += _progressed(exchange, now)
                break
            self._waiting.popleft()
            notes += self._finished(exchange, now)
        if segment.flags & (FIN | RST):
            first = self._waiting[0] if self._waiting else None
            if first and first.status and first.length is None and not segment.flags & RST:
                self._waiting.popleft()  # a body that ends with its connection
                notes += self._finished(first, now)
            notes += self._ended()
        return notes

    def _unfinished(self) -> bool:
        return any(exchange.status is not None for exchange in self._waiting)

    def _asked(self, head: list[str], now: float) -> Note:
        self._requests += 1
        method, path, *_ = [*head[0].split(" "), "", ""]
        fields = _fields(head)
        id = f"w{self._number}.{self._requests}"
        exchange = _Exchange(id=id, began_s=now, method=method, path=path.partition("?")[0])
        exchange.told_s = now
        self._waiting.append(exchange)
        seen: dict[str, Any] = {
            "id": id, "mac": self._mac, "peer": self._peer, "method": method,
            "path": exchange.path, "range": fields.get("range"), "agent": fields.get("user-agent"),
        }  # fmt: skip
        return Note(name="http.request.received", fields=seen)

    def _body(self, exchange: _Exchange) -> bool:
        """Take the body's octets; return whether it is complete."""
        buffer = self._down.buffer
        keep = exchange.path.endswith(".ipxe")
        if exchange.chunked:
            while (end := buffer.find(b"\r\n")) >= 0:
                digits = _CHUNK.match(buffer[:end])
                if digits is None:
                    exchange.chunked = False  # no chunk: whatever it is lasts until the end
                    break
                size = int(digits[1], 16)
                if len(buffer) < end + 2 + size + 2:
                    return False
                exchange.sent += size
                if keep:
                    exchange.body += buffer[end + 2 : end + 2 + size]
                del buffer[: end + 2 + size + 2]
                if size == 0:
                    return True
            if exchange.chunked:
                return False
        room = len(buffer) if exchange.length is None else exchange.length - exchange.sent
        if keep:
            exchange.body += buffer[:room]
        exchange.sent += min(room, len(buffer))
        del buffer[:room]
        return exchange.length is not None and exchange.sent >= exchange.length

    def _finished(self, exchange: _Exchange, now: float) -> list[Note]:
        notes = []
        if exchange.body and exchange.status == 200:
            script = exchange.body.decode("utf-8", "replace")
            served = {"id": exchange.id, "mac": self._mac, "path": exchange.path, "script": script}
            notes.append(Note(name="http.script.served", fields=served))
        fields: dict[str, Any] = {
            "id": exchange.id, "mac": self._mac, "path": exchange.path, "status": exchange.status,
            "bytes": exchange.sent, "duration_s": round(now - exchange.began_s, 6),
        }  # fmt: skip
        return [*notes, Note(name="http.response.finished", fields=fields)]

    def _ended(self) -> list[Note]:
        if self.over:
            return []
        self.over = True
        return [
            Note(
                name="http.response.aborted",
                fields={
                    "id": exchange.id, "mac": self._mac, "path": exchange.path,
                    "bytes": exchange.sent, "length": exchange.length,
                },
            )
            for exchange in self._waiting
        ]  # fmt: skip


def _answered(exchange: _Exchange, head: list[str]) -> Note:
    status = head[0].split(" ")[1:2]
    exchange.status = int(status[0]) if status and status[0].isdigit() else 0
    fields = _fields(head)
    bodiless = exchange.method == "HEAD" or exchange.status in (204, 304)
    exchange.chunked = not bodiless and "chunked" in fields.get("transfer-encoding", "").lower()
    length = fields.get("content-length", "")
    exchange.length = 0 if bodiless else int(length) if length.isdigit() else None
    seen = {
        "id": exchange.id, "path": exchange.path, "status": exchange.status,
        "length": exchange.length,
    }  # fmt: skip
    return Note(name="http.response.started", fields=seen)


def _progressed(exchange: _Exchange, now: float) -> list[Note]:
    if exchange.status is None or now - exchange.told_s < _PROGRESS_EVERY_S:
        return []
    exchange.told_s = now
    seen = {
        "id": exchange.id, "path": exchange.path, "bytes": exchange.sent, "length": exchange.length,
    }  # fmt: skip
    return [Note(name="http.transfer.progressed", fields=seen)]


def _head(buffer: bytearray) -> list[str] | None:
    """Take a head off ``buffer``: its lines; None while it is not there as a whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > _LONGEST_HEAD:
            buffer.clear()
        return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    return lines


def _fields(head: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in head[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
