"""What the picture of a boot shows: bars and marks, lane by lane, told from the events.

Times are seconds since power-on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.facts import state_of
from harness.phases import Phase
from harness.timeline import Event, named
from harness.verdict import PhaseTracker

LANES: Final = (
    "firmware",
    "DHCP",
    "TFTP",
    "HTTP",
    "kernel",
    "docker",
    "registry",
    "gRPC",
    "actions",
)
FAULTS: Final = "faults"
_ACTIVITY_GAP_S: Final = 8.0
"""Requests about one thing that are no further apart than this make one bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that took time."""

    lane: str
    start_s: float
    end_s: float
    text: str = ""
    kind: str = "work"
    """A CSS class: ``work``, ``soft``, ``thin``, ``bad`` or ``open`` (it never ended)."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened at once."""

    lane: str
    at_s: float
    note: str
    kind: str = "work"
    """A CSS class: ``work``, ``soft``, ``bad``; in the lane of faults the fault's number."""


@dataclass(slots=True)
class Drawing:
    """Bars and marks, collected from events."""

    origin_s: float
    end_s: float
    served_s: float = 0.0
    """When the registry last gave a manifest away, on the run's clock."""
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    _open: dict[tuple[str, object], tuple[float, str]] = field(default_factory=dict)
    _bursts: dict[tuple[str, str], tuple[float, float, int]] = field(default_factory=dict)

    def at(self, event: Event) -> float:
        """Return when ``event`` happened."""
        return max(0.0, event.t - self.origin_s)

    def bar(self, lane: str, start_s: float, end_s: float, text: str, **more: str) -> None:
        """Add a bar."""
        self.bars.append(Bar(lane=lane, start_s=start_s, end_s=end_s, text=text, **more))

    def mark(self, lane: str, event: Event, note: str, kind: str = "work") -> None:
        """Add a mark."""
        self.marks.append(Mark(lane=lane, at_s=self.at(event), note=note, kind=kind))

    def begin(self, lane: str, key: object, event: Event, text: str) -> None:
        """Open a bar, unless it is open."""
        self._open.setdefault((lane, key), (self.at(event), text))

    def end(self, lane: str, key: object, event: Event, kind: str, note: str = "") -> None:
        """Close a bar, if it is open."""
        started = self._open.pop((lane, key), None)
        if started:
            self.bar(lane, started[0], self.at(event), started[1], kind=kind, note=note)

    def forget(self, lane: str, key: object) -> None:
        """Draw nothing of a bar, if it is open."""
        self._open.pop((lane, key), None)

    def burst(self, lane: str, name: str, event: Event) -> None:
        """Join events close to each other about one thing to one bar."""
        now = self.at(event)
        start, last, count = self._bursts.get((lane, name), (now, now, 0))
        if count and now - last > _ACTIVITY_GAP_S:
            self._close_burst((lane, name))
            start, count = now, 0
        self._bursts[lane, name] = (start, now, count + 1)

    def _close_burst(self, key: tuple[str, str]) -> None:
        start, last, count = self._bursts.pop(key)
        self.bar(key[0], start, last, key[1], note=f"{count} events")

    def close(self) -> None:
        """Draw what never ended."""
        for key in list(self._bursts):
            self._close_burst(key)
        for (lane, _), (start, text) in self._open.items():
            kind, note = ("open", "did not end") if text else ("thin", "still connected at the end")
            self.bar(lane, start, self.end_s, text, kind=kind, note=note)


def draw(events: Sequence[Event], tracker: PhaseTracker, end_s: float) -> Drawing:
    """Return what is to be drawn of a machine that was powered on."""
    assert tracker.power_on_s is not None
    served = named(events, "registry.manifest.served")
    drawing = Drawing(
        origin_s=tracker.power_on_s, end_s=end_s, served_s=served[-1].t if served else 0.0
    )
    _machine(tracker, drawing)
    _guest(events, tracker, drawing)
    _wire((event for event in events if event.t >= drawing.origin_s), drawing)
    drawing.close()
    return drawing


# -- the wire


def _wire(events: Iterable[Event], drawing: Drawing) -> None:
    for event in events:
        family = event.name.partition(".")[0]
        if family == "dhcp":
            _dhcp(event, drawing)
        elif family in ("http", "tftp"):
            _transfer(event, drawing, family.upper())
        elif family == "registry":
            _registry(event, drawing)
        elif family == "tink":
            _tink(event, drawing)
        elif event.name == "fault.fired":
            note = f"fault {event.get('fault')}: {event.get('text')}"
            drawing.mark(FAULTS, event, note, str(event.get("fault", "")))


def _dhcp(event: Event, drawing: Drawing) -> None:
    message = event.name.split(".")[1]
    stage = str(event.get("stage", "?"))
    if message in ("discover", "request"):
        drawing.begin("DHCP", stage, event, stage)
    elif message == "ack":
        drawing.end("DHCP", stage, event, "work", f"{event.get('address', '')}")
    kind = "bad" if message in ("ignored", "malformed", "decline", "nak") else "soft"
    note = f"{message.upper()} {stage} {event.get('reason', '')}".rstrip()
    drawing.mark("DHCP", event, note, kind)


def _transfer(event: Event, drawing: Drawing, lane: str) -> None:
    key, step = event.get("id"), event.name.split(".", 1)[1]
    name = posixpath.basename(str(event.get("path") or event.get("file") or ""))
    if step == "request.received":
        drawing.begin(lane, key, event, name)
    elif step in ("transfer.finished", "response.finished"):
        good = event.get("status", 200) < 400
        note = f"{event.get('bytes', 0):,} bytes" + ("" if good else f", {event.get('status')}")
        drawing.end(lane, key, event, "work" if good else "bad", note)
    elif step in ("transfer.aborted", "response.aborted"):
        harmless = not event.get("bytes")
        drawing.end(lane, key, event, "soft" if harmless else "bad", "broken off by the client")
    elif step == "response.cut":
        drawing.end(lane, key, event, "bad", "broken off by the server")
    elif step in ("transfer.timed_out", "error.sent"):
        drawing.end(lane, key, event, "soft" if step == "error.sent" else "bad", step)


_REGISTRY_BAD: Final = (
    "registry.request.failed",
    "registry.tls.failed",
    "registry.auth.refused",
    "registry.response.cut",
    "registry.malformed",
)


def _registry(event: Event, drawing: Drawing) -> None:
    repository = event.get("repository")
    if repository:
        drawing.burst("registry", str(repository), event)
    elif event.name in _REGISTRY_BAD:
        words = event.get("reason") or f"{event.get('status', 'cut')} {event.get('path', '')}"
        # An engine tries TLS first even where it was told that there is none.
        harmless = event.name == "registry.tls.failed" and event.t <= drawing.served_s
        drawing.mark("registry", event, str(words).strip(), "soft" if harmless else "bad")


def _tink(event: Event, drawing: Drawing) -> None:
    waits = ("accepted", event.get("id"))
    if event.name == "tink.connection.accepted":
        drawing.begin("gRPC", waits, event, "connected")
    elif event.name == "tink.connection.opened":
        drawing.forget("gRPC", waits)
        drawing.begin("gRPC", ("connection", event.get("id")), event, "")
    elif event.name == "tink.connection.closed":
        note = f"connection of {event.get('peer', '')}: {event.get('reason', '')}"
        drawing.end("gRPC", ("connection", event.get("id")), event, "thin", note)
    elif event.name == "tink.rpc.received":
        key, rpc = event.get("id"), str(event.get("rpc"))
        drawing.begin("gRPC", key, event, rpc)
        drawing.mark("gRPC", event, rpc)
    elif event.name == "tink.rpc.finished":
        good = event.get("code", "OK") in ("OK", 0)
        details = f"{event.get('code', '')} {event.get('details') or ''}".strip()
        drawing.end("gRPC", event.get("id"), event, "soft" if good else "bad", details)
    elif event.name in ("tink.connection.failed", "tink.call.ignored"):
        if event.name == "tink.connection.failed":
            drawing.end("gRPC", waits, event, "soft", "never became gRPC")
        drawing.mark(
            "gRPC", event, str(event.get("reason") or "a call that is not answered"), "bad"
        )
    elif event.name == "tink.action.reported" and event.get("accepted", True):
        action, state = str(event.get("action")), state_of(event)
        if state == "RUNNING":
            drawing.begin("actions", action, event, action)
        else:
            drawing.end("actions", action, event, "work" if state == "SUCCESS" else "bad", state)


# -- the machine

_OF_DOCKER: Final = ("bootkit", "dockerd", "hook-docker", "tink-worker", "tink-agent")
"""What a console line has that is about docker or what runs in it."""


def _machine(tracker: PhaseTracker, drawing: Drawing) -> None:
    """Draw firmware and iPXE, by the phases."""
    spans = {span.phase: span for span in tracker.spans}

    def bar(phases: tuple[Phase, ...], text: str, kind: str) -> None:
        there = [spans[phase] for phase in phases if phase in spans]
        if there:
            end = there[-1].end_s
            end_s = drawing.end_s if end is None else end
            drawing.bar("firmware", there[0].start_s, end_s, text, kind=kind)

    name = str(tracker.machine.get("firmware", "firmware")) if tracker.machine else "firmware"
    bar((Phase.FIRMWARE_DHCP, Phase.NBP_DOWNLOAD), name.upper(), "work")
    bar((Phase.IPXE, Phase.KERNEL_INITRAMFS), "iPXE", "soft")


def _said(events: Sequence[Event], drawing: Drawing) -> None:
    """Mark what a console said was wrong; before Linux spoke it was the firmware, or iPXE."""
    linux = False
    for event in events:
        if event.name in _POWER_CYCLE:
            linux = False
        elif event.name == "guest.kernel.started":
            linux = True
        elif event.name in ("guest.panicked", "guest.error.seen"):
            line = str(event.get("line"))
            lane = "kernel" if linux else "firmware"
            if any(word in line for word in _OF_DOCKER):
                lane = "docker"
            drawing.mark(lane, event, line, "bad")


_POWER_CYCLE: Final = ("machine.powered_on", "machine.reset")


def _guest(events: Sequence[Event], tracker: PhaseTracker, drawing: Drawing) -> None:
    """Draw kernel and docker, by what the consoles showed; the phases where they show nothing."""
    first: dict[str, float] = {}
    dockerd: float | None = None
    for event in events:
        if event.name.startswith("guest."):
            first.setdefault(event.name, drawing.at(event))
            if event.name == "guest.service.started" and "docker" in str(event.get("service")):
                dockerd = drawing.at(event) if dockerd is None else dockerd
    for event in named(events, "guest.service.started"):
        drawing.mark("kernel", event, str(event.get("service")), "soft")
    for event in named(events, "guest.service.ended"):
        lane = "docker" if "docker" in str(event.get("service")) else "kernel"
        bad = event.get("reason") != "ended"
        text = f"{event.get('service')} {event.get('reason')}"
        drawing.mark(lane, event, text, "bad" if bad else "soft")
    _said(events, drawing)
    spans = {span.phase: span for span in tracker.spans}
    boot = spans.get(Phase.HOOK_BOOT)
    if boot is not None:
        end = drawing.end_s if boot.end_s is None else boot.end_s
        up = first.get("guest.docker.started", end)
        start = min(boot.start_s, first.get("guest.kernel.started", boot.start_s))
        init = first.get("guest.init.started")
        words = boot.detail.partition(",")[0] or "Linux"
        until = init if init is not None else up
        drawing.bar("kernel", start, until, words)
        if init is not None:
            drawing.bar("kernel", init, max(init, dockerd or up), "Hook's services", kind="soft")
        if dockerd is not None:
            started = "guest.docker.started" in first
            kind = "soft" if started else "open"
            drawing.bar("docker", dockerd, up, "dockerd starts", kind=kind)
    running = [spans[p] for p in (Phase.WORKER_PULL, Phase.WORKFLOW) if p in spans]
    if running:
        start = max(running[0].start_s, first.get("guest.docker.started", running[0].start_s))
        worker = first.get("guest.worker.started")
        if worker is not None and Phase.WORKFLOW in spans:  # the console tells of it late
            worker = min(worker, spans[Phase.WORKFLOW].start_s)
        last = drawing.end_s if running[-1].end_s is None else running[-1].end_s
        stop = last if worker is None else worker
        drawing.bar("docker", start, stop, "docker", kind="work")
        if worker is not None:
            drawing.bar("docker", worker, last, "worker", kind="soft")
