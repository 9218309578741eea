"""The guest's own boot, step by step: what Linux and Hook's init said they were doing, and when.

A step lasts from the line that names it to the next one of its chain: init runs one-shot containers
one after the other; services run side by side, and each lasts until it first speaks, docker until
it answers. A Hook that says less has fewer rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.timeline import Event

_STAMP: Final = re.compile(r"\[ *\d+\.\d{6}\] ?(.*)")
_CHAIN: Final = (
    (re.compile(r"Linux version \S+"), "kernel"),
    (re.compile(r"Freeing initrd memory"), "kernel: the rest"),
    (re.compile(r"Run /\S+ as init process"), "init: first program"),
    (re.compile(r"hook: init started"), "init: drivers"),
    (re.compile(r"hook: running (?P<name>/\S+)"), "{name}"),
    (re.compile(r"hook: starting onboot (?:\d+/\d+ )?(?P<name>\S+)"), "onboot: {name}"),
    (re.compile(r"hook: starting service (?:\d+/\d+ )?(?P<name>\S+)"), ""),
)
"""What one step after the other begins with; an empty name ends the chain."""
_FIRST: Final = "kernel: decompression of the initramfs, first drivers"
_SERVICE: Final = _CHAIN[-1][0]
_SPEAKS: Final = re.compile(r"(?P<name>[a-z][\w.-]*): .")
_DOCKER: Final = "hook-docker"
_PULL: Final = ("registry.manifest.served", "guest.worker.started", "tink.connection.opened")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step of the guest's boot; seconds since power-on."""

    name: str
    start_s: float
    end_s: float | None
    """None: nothing told its end."""
    left: float = 0.0
    """Where its bar begins, in percent of the chart."""
    width: float = 0.0


def bootchart(events: Sequence[Event], power_on_s: float | None) -> list[Row]:
    """Return the rows of the chart, in the order in which they began; none without a kernel."""
    if power_on_s is None:
        return []
    chain: list[tuple[float, str]] = []
    services: dict[str, list[float | None]] = {}
    for event in events:
        if event.name == "guest.docker.started" and _DOCKER in services:
            services[_DOCKER][1] = event.t
        if event.name != "console.line.seen":
            continue
        stamped = _STAMP.search(str(event.fields.get("text", "")))
        if stamped is not None:
            _read(stamped[1], event.t, chain, services)
    if not chain:
        return []
    rows = [
        Row(name=name, start_s=at - power_on_s, end_s=chain[number + 1][0] - power_on_s)
        if number + 1 < len(chain)
        else Row(name=name, start_s=at - power_on_s, end_s=None)
        for number, (at, name) in enumerate(chain)
        if name
    ]
    for name, (begin, end) in services.items():
        assert begin is not None
        rows.append(
            Row(
                name=f"service: {name}",
                start_s=begin - power_on_s,
                end_s=None if end is None else end - power_on_s,
            )
        )
    rows += _pull(events, power_on_s)
    return _scaled(sorted(rows, key=lambda row: row.start_s))


def _read(
    line: str,
    at: float,
    chain: list[tuple[float, str]],
    services: dict[str, list[float | None]],
) -> None:
    if found := _SERVICE.match(line):
        services.setdefault(found["name"], [at, None])
        if chain and chain[-1][1]:
            chain.append((at, ""))
        return
    if spoken := _SPEAKS.match(line):
        service = services.get(spoken["name"])
        if service is not None and service[1] is None and spoken["name"] != _DOCKER:
            service[1] = at
    for pattern, title in _CHAIN[:-1]:
        found = pattern.match(line)
        if found is None:
            continue
        name = title.format(**found.groupdict())
        if title == "kernel":
            chain.clear()  # the machine was started again: the last boot is shown
            services.clear()
            name = _FIRST
        # Two consoles may show one line, and nothing of the chain begins twice.
        if services or any(name == other for _, other in chain):
            return
        chain.append((at, name))
        return


def _pull(events: Sequence[Event], power_on_s: float) -> list[Row]:
    """Return the worker's way from the registry to its first connection."""
    times = [
        next((event.t - power_on_s for event in events if event.name == name), None)
        for name in _PULL
    ]
    if times[0] is None:
        return []
    end = times[2] if times[2] is not None else times[1]
    return [Row(name="worker: pulled, started, connected", start_s=times[0], end_s=end)]


def _scaled(rows: list[Row]) -> list[Row]:
    first = rows[0].start_s
    last = max(row.start_s if row.end_s is None else row.end_s for row in rows)
    whole = max(last - first, 0.001)
    return [
        Row(
            name=row.name,
            start_s=row.start_s,
            end_s=row.end_s,
            left=100 * (row.start_s - first) / whole,
            width=100 * max((last if row.end_s is None else row.end_s) - row.start_s, 0.0) / whole,
        )
        for row in rows
    ]
