"""The timeline: append-only facts on one clock, on disk as they happen.

A fact is a frozen ``Event``. What a run was is what its ``timeline.jsonl`` says; verdict and
report are pure functions of that file, so a run cut off by SIGKILL can still be judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TextIO

from harness.clock import Clock
from harness.errors import SetupFailed
from harness.events import EVENTS
from harness.values import parse_json

Listener = Callable[["Event"], None]
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
"""Made once: ``json.dumps`` would make one for each event, which takes as long as encoding it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact."""

    seq: int
    """Counts from 1 within a run, without gaps."""
    t: float
    """Seconds since the run began."""
    source: str
    """Who saw it: a service's or machine's name."""
    name: str
    """Dotted, past tense; a key of ``harness.events.EVENTS``."""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the event as one line of JSON, without the newline."""
        encode = _JSON.encode
        return (
            f'{{"seq":{self.seq},"t":{round(self.t, 6)!r},"source":{encode(self.source)},'
            f'"name":{encode(self.name)},"fields":{encode(dict(self.fields))}}}'
        )

    @classmethod
    def from_json(cls, line: str | bytes) -> Event:
        """Return the event that ``line`` holds. Raises ``ValueError`` when it holds none."""
        data = parse_json(line)
        if not isinstance(data, dict) or not {"seq", "t", "source", "name"} <= data.keys():
            raise ValueError("not an event")
        fields = data.get("fields", {})
        if not (
            isinstance(data["seq"], int)
            and isinstance(data["t"], int | float)
            and math.isfinite(data["t"])
            and isinstance(data["source"], str)
            and isinstance(data["name"], str)
            and isinstance(fields, dict)
        ):
            raise ValueError("not an event")
        return cls(
            seq=data["seq"], t=data["t"], source=data["source"], name=data["name"], fields=fields
        )

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field, or ``default`` when the event does not carry it."""
        return self.fields.get(key, default)


class Timeline:
    """Records events: to disk, to listeners, and to whoever waits for one."""

    def __init__(
        self, path: Path | None, clock: Clock | None = None, *, keep: int | None = None
    ) -> None:
        """Record to ``path`` (None: in memory only).

        With ``keep`` no more than twice so many events stay in memory: for what runs for days.
        """
        self.clock = clock or Clock()
        self.events: list[Event] = []
        self.last_seq = 0
        """Of the latest event; 0 before there is one."""
        self._keep = keep
        self._file: TextIO | None = (
            path.open("w", encoding="utf-8", errors="backslashreplace") if path else None
        )
        self.written = 0
        """How many events are in the file."""
        self.held = False
        """Whether events are kept in memory for now."""
        self._listeners: list[Listener] = []
        self._write_error: OSError | None = None
        self._on_write_error: Callable[[BaseException], None] | None = None

    def record(self, source: str, name: str, /, **fields: Any) -> Event:
        """Append an event that happened now. Fields that are None are left out.

        Text that was no UTF-8 (Python's lone surrogates) is told with escapes, as ``a\\xff``.

        Raises ``KeyError`` for a name, and ``ValueError`` for a field, that the vocabulary lacks.
        """
        kind = EVENTS[name]
        carried = {
            key: _tellable(value) if isinstance(value, str) and not value.isascii() else value
            for key, value in fields.items()
            if value is not None
        }
        if not carried.keys() <= kind.names:
            unknown = sorted(carried.keys() - kind.names)
            raise ValueError(f"{name} has no field {', '.join(unknown)}")
        self.last_seq += 1
        event = Event(
            seq=self.last_seq, t=self.clock.now(), source=source, name=name, fields=carried
        )
        self.events.append(event)
        if self._keep is not None and len(self.events) > 2 * self._keep:
            del self.events[: -self._keep]
        if self._file and not self.held:
            self._write(self._file, event)
        for listener in tuple(self._listeners):
            listener(event)
        return event

    def _write(self, file: TextIO, event: Event) -> None:
        """Put ``event`` on disk. A full disk ends the run, not the service that saw the event."""
        try:
            file.write(event.to_json() + "\n")
            file.flush()
            self.written = event.seq
        except OSError as error:
            self._file, self._write_error = None, error
            with contextlib.suppress(OSError):
                file.close()
            if self._on_write_error:
                self._on_write_error(self._lost(error))

    def on_write_error(self, handler: Callable[[BaseException], None]) -> None:
        """Call ``handler`` with a ``LabError`` once, when the timeline can't be written any more.

        Later events are kept in memory and told to listeners all the same.
        """
        self._on_write_error = handler
        if self._write_error is not None:
            handler(self._lost(self._write_error))

    @staticmethod
    def _lost(error: OSError) -> SetupFailed:
        return SetupFailed(
            f"the timeline can't be written: {error.strerror}", hint="is the disk full?"
        )

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every later event; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def wait_for(self, wanted: Callable[[Event], bool], *, since: int = 0) -> Event:
        """Return the first event after number ``since`` for which ``wanted`` is true.

        Has no deadline of its own: go through ``TaskKeeper.race``.
        """
        forgotten = self.last_seq - len(self.events)
        for event in self.events[max(0, since - forgotten) :]:
            if wanted(event):
                return event
        found: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

        def look(event: Event) -> None:
            if not found.done() and wanted(event):
                found.set_result(event)

        end = self.subscribe(look)
        try:
            return await found
        finally:
            end()

    def hold(self) -> None:
        """Write no more events to the file until ``release``: they may turn out otherwise."""
        self.held = True

    def replace(self, events: Iterable[Event]) -> None:
        """Have ``events``, numbered anew, instead of all that there is, while it is held.

        They begin with what is in the file already. No listener is told of them.
        """
        taken = [replace(event, seq=seq) for seq, event in enumerate(events, 1)]
        assert taken[: self.written] == self.events[: self.written], "what is written stays"
        self.events[:] = taken
        self.last_seq = len(taken)

    def release(self) -> None:
        """Write what was held, and each later event at once."""
        self.held = False
        for event in self.events[self.written :]:
            if self._file:
                self._write(self._file, event)

    def close(self) -> None:
        """Close the file; later events are kept in memory only."""
        if self._file:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)


def _tellable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            octets = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            octets = text.encode("utf-8", "surrogatepass")
        return octets.decode("utf-8", "backslashreplace")
    return text


def read_timeline(path: Path) -> list[Event]:
    """Return the events of a ``timeline.jsonl``.

    A last line that was cut off (the writer was killed) is left out; any other line that is no
    event raises ``ValueError`` with its number.
    """
    events: list[Event] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            events.append(Event.from_json(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}:{number}: not an event: {error}") from error
    return events


def named(events: Iterable[Event], *names: str) -> list[Event]:
    """Return the events with one of ``names``, in order."""
    return [event for event in events if event.name in names]
