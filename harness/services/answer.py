"""An HTTP answer before it goes on its way, and what the deeds of faults make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import IO, Any, Final

from harness.faults.codes import http_status
from harness.faults.deeds import (
    Close,
    Corrupt,
    Deed,
    Delay,
    Drop,
    Redirect,
    Remove,
    Replace,
    Reset,
    Stall,
    Status,
    Trickle,
    Truncate,
)
from harness.services.spoiling import Spoiling

_LENGTH: Final = "Content-Length"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """``length`` octets of an open file, from ``start``."""

    stream: IO[bytes]
    start: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service decided to answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | FilePart = b""
    """Not sent in answer to HEAD."""

    @property
    def length(self) -> int:
        """Length of the body in octets."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    @property
    def promised(self) -> int:
        """The body's length as the head tells it; without a length there, what the body has."""
        told = self.header(_LENGTH)
        if self.status in (204, 304) or told is None or not told.isdigit():
            return self.length
        return int(told)

    def header(self, name: str) -> str | None:
        """Return the first header called ``name``."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def without(self, names: Iterable[str]) -> Answer:
        """Return the answer without these headers."""
        gone = {name.lower() for name in names}
        return replace(self, headers=tuple(h for h in self.headers if h[0].lower() not in gone))

    def with_headers(self, headers: Mapping[str, Any]) -> Answer:
        """Return the answer with these headers instead of those of the same name."""
        kept = self.without(headers).headers
        return replace(self, headers=(*kept, *((key, str(v)) for key, v in headers.items())))

    def with_body(self, body: bytes | FilePart) -> Answer:
        """Return the answer with another body, and its right length."""
        changed = replace(self, body=body)
        return changed.with_headers({_LENGTH: changed.length})


class Ending(StrEnum):
    """How an answer ends before its end."""

    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What happens to an answer on its way. Octets are those of the body."""

    delay_s: float = 0.0
    """Before its first octet."""
    ending: Ending | None = None
    at: int = 0
    """After how many octets it ends; 0: before the head."""
    stall_s: float = 0.0
    """How long it stalls; 0: until the client leaves."""
    octets_per_s: int | None = None
    slow_from: int = 0
    """The octet from which on it is slow."""
    spoiling: Spoiling | None = None
    """Which octets are changed."""


def status_among(deeds: Sequence[Deed]) -> Status | None:
    """Return the refusal that faults ask for; only the service can say it in its own words."""
    found = [deed for deed in deeds if isinstance(deed, Status)]
    return found[-1] if found else None


def treat(answer: Answer, deeds: Sequence[Deed]) -> tuple[Answer, Treatment]:
    """Return the answer as ``deeds`` change it, and how it travels.

    A ``Status`` is the service's: it must have been applied already. ``Truncate`` leaves a shorter
    body with the right length; ``Close`` at the same octet keeps the length.
    """
    how = Treatment()
    corrupt: list[Corrupt] = []
    for deed in deeds:
        match deed:
            case Status(headers=headers):
                answer = answer.with_headers(headers)
            case Redirect(to=to, code=code):
                answer = replace(answer, status=code).with_headers({"Location": to})
                answer = answer.with_body(b"")
            case Replace(fields=fields):
                answer = _replaced(answer, fields)
            case Remove(fields=names):
                if "body" in names:
                    answer = answer.with_body(b"")
                answer = answer.without(names)
            case Truncate(octets=octets):
                answer = answer.with_body(_shortened(answer.body, octets))
            case Corrupt():
                corrupt.append(deed)
            case Delay(seconds=seconds):
                how = replace(how, delay_s=how.delay_s + seconds)
            case Drop():
                how = replace(how, ending=Ending.STALL, at=0, stall_s=0.0)
            case Close(at=at):
                how = replace(how, ending=Ending.CLOSE, at=at)
            case Reset(at=at):
                how = replace(how, ending=Ending.RESET, at=at)
            case Stall(at=at, seconds=seconds):
                how = replace(how, ending=Ending.STALL, at=at, stall_s=seconds)
            case Trickle(octets_per_s=rate, at=at):
                how = replace(how, octets_per_s=max(1, rate), slow_from=at)
            case _:
                pass
    if corrupt:
        how = replace(how, spoiling=Spoiling(corrupt, answer.length))
    return answer, how


def _replaced(answer: Answer, fields: Mapping[str, Any]) -> Answer:
    """Return ``answer`` with ``status``, ``body`` or headers replaced."""
    if "body" in fields:
        answer = answer.with_body(str(fields["body"]).encode())
    if "status" in fields:
        answer = replace(answer, status=http_status(fields["status"]))
    return answer.with_headers({k: v for k, v in fields.items() if k not in ("body", "status")})


def _shortened(body: bytes | FilePart, octets: int) -> bytes | FilePart:
    if isinstance(body, bytes):
        return body[:octets]
    return replace(body, length=min(body.length, octets))
