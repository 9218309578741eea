"""The picture of a boot: time to the right, a lane for each part, as one inline SVG.

Colours are CSS classes of the page, so that it follows the reader's light or dark. A bar too
short for its name keeps it as a tooltip.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from harness.facts import state_of
from harness.phases import Phase
from harness.timeline import Event
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
_LEFT: Final = 92
_RIGHT: Final = 14
_TOP: Final = 34
_LANE: Final = 34
_BAR: Final = 20
_CHARACTER: Final = 6.4
"""Width of a character of a bar's text, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that took time."""

    lane: str
    start_s: float
    end_s: float
    text: str = ""
    kind: str = "work"
    """A CSS class: ``work``, ``soft``, ``bad`` or ``open`` (it never ended)."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened at once."""

    lane: str
    at_s: float
    note: str
    kind: str = "work"


@dataclass(slots=True)
class _Drawing:
    """Collects bars and marks from events; times are seconds since power-on."""

    origin_s: float
    end_s: float
    bars: list[Bar] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    _open: dict[tuple[str, object], tuple[float, str]] = field(default_factory=dict)
    _bursts: dict[str, tuple[float, float, int]] = field(default_factory=dict)

    def at(self, event: Event) -> float:
        return max(0.0, event.t - self.origin_s)

    def bar(self, lane: str, start_s: float, end_s: float, text: str, **more: str) -> None:
        self.bars.append(Bar(lane=lane, start_s=start_s, end_s=end_s, text=text, **more))

    def begin(self, lane: str, key: object, event: Event, text: str) -> None:
        self._open.setdefault((lane, key), (self.at(event), text))

    def end(self, lane: str, key: object, event: Event, kind: str, note: str = "") -> None:
        started = self._open.pop((lane, key), None)
        if started:
            self.bar(lane, started[0], self.at(event), started[1], kind=kind, note=note)

    def burst(self, lane: str, name: str, event: Event) -> None:
        """Events close to each other about one thing make one bar."""
        now = self.at(event)
        start, last, count = self._bursts.get(f"{lane} {name}", (now, now, 0))
        if count and now - last > 8:
            self._close_burst(f"{lane} {name}")
            start, count = now, 0
        self._bursts[f"{lane} {name}"] = (start, now, count + 1)

    def _close_burst(self, key: str) -> None:
        start, last, count = self._bursts.pop(key)
        lane, _, name = key.partition(" ")
        self.bar(lane, start, last, name, note=f"{count} events")

    def close(self) -> None:
        for key in list(self._bursts):
            self._close_burst(key)
        for (lane, _), (start, text) in self._open.items():
            self.bar(lane, start, self.end_s, text, kind="open", note="did not end")


def _collect(events: Iterable[Event], drawing: _Drawing) -> None:
    for event in events:
        family = event.name.partition(".")[0]
        if family == "dhcp":
            _dhcp(event, drawing)
        elif family in ("tftp", "http"):
            _transfer(event, drawing, family.upper())
        elif family == "registry":
            _registry(event, drawing)
        elif family == "tink":
            _tink(event, drawing)
        elif event.name in ("guest.panicked", "guest.error.seen"):
            drawing.marks.append(
                Mark(lane="kernel", at_s=drawing.at(event), note=str(event.get("line")), kind="bad")
            )


def _dhcp(event: Event, drawing: _Drawing) -> None:
    message = event.name.split(".")[1]
    stage = str(event.get("stage", "?"))
    if message in ("discover", "request"):
        drawing.begin("DHCP", stage, event, stage)
    elif message == "ack":
        drawing.end("DHCP", stage, event, "work", f"{event.get('address', '')}")
    kind = "bad" if message in ("ignored", "malformed", "decline") else "soft"
    note = f"{message.upper()} {stage} {event.get('reason', '')}".rstrip()
    drawing.marks.append(Mark(lane="DHCP", at_s=drawing.at(event), note=note, kind=kind))


def _transfer(event: Event, drawing: _Drawing, lane: str) -> None:
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
    elif step in ("transfer.timed_out", "error.sent"):
        drawing.end(lane, key, event, "soft" if step == "error.sent" else "bad", step)


def _registry(event: Event, drawing: _Drawing) -> None:
    repository = event.get("repository")
    if repository:
        drawing.burst("registry", str(repository), event)
    elif event.name in ("registry.request.failed", "registry.tls.failed", "registry.auth.refused"):
        note = str(event.get("reason") or f"{event.get('status', '')} {event.get('path', '')}")
        drawing.marks.append(
            Mark(lane="registry", at_s=drawing.at(event), note=note.strip(), kind="bad")
        )


def _tink(event: Event, drawing: _Drawing) -> None:
    now = drawing.at(event)
    if event.name == "tink.rpc.received":
        drawing.marks.append(Mark(lane="gRPC", at_s=now, note=str(event.get("rpc"))))
    elif event.name == "tink.connection.failed":
        note = str(event.get("reason"))
        drawing.marks.append(Mark(lane="gRPC", at_s=now, note=note, kind="bad"))
    elif event.name == "tink.action.reported" and event.get("accepted", True):
        action, state = str(event.get("action")), state_of(event)
        if state == "RUNNING":
            drawing.begin("actions", action, event, action)
        else:
            drawing.end("actions", action, event, "work" if state == "SUCCESS" else "bad", state)


def _phases(tracker: PhaseTracker, drawing: _Drawing) -> None:
    """Draw what runs on the machine itself, by the phases."""
    spans = {span.phase: span for span in tracker.spans}

    def end_of(phase: Phase) -> float:
        span = spans[phase]
        return drawing.end_s if span.end_s is None else span.end_s

    firmware = [p for p in (Phase.FIRMWARE_DHCP, Phase.NBP_DOWNLOAD) if p in spans]
    if firmware:
        machine = tracker.machine
        name = str(machine.get("firmware", "firmware")).upper() if machine else "firmware"
        start = spans[firmware[0]].start_s
        drawing.bar("firmware", start, end_of(firmware[-1]), name, kind="work")
    ipxe = [p for p in (Phase.IPXE, Phase.KERNEL_INITRAMFS) if p in spans]
    if ipxe:
        drawing.bar("firmware", spans[ipxe[0]].start_s, end_of(ipxe[-1]), "iPXE", kind="soft")
    if Phase.HOOK_BOOT in spans:
        span = spans[Phase.HOOK_BOOT]
        drawing.bar("kernel", span.start_s, end_of(Phase.HOOK_BOOT), span.detail or "Linux")
    docker = [p for p in (Phase.WORKER_PULL, Phase.WORKFLOW) if p in spans]
    if docker:
        text = "docker" if len(docker) == 1 else "docker, tink-worker"
        drawing.bar("docker", spans[docker[0]].start_s, end_of(docker[-1]), text, kind="soft")


def boot_picture(events: Sequence[Event], tracker: PhaseTracker, *, width: int = 1160) -> str:
    """Return an ``<svg>`` of the boot, empty when the machine was never powered on."""
    if tracker.power_on_s is None:
        return ""
    done = next((span for span in tracker.spans if span.phase is Phase.DONE), None)
    end_s = max(0.1, done.start_s if done else tracker.last_s)
    drawing = _Drawing(origin_s=tracker.power_on_s, end_s=end_s)
    _collect((e for e in events if e.t >= tracker.power_on_s), drawing)
    _phases(tracker, drawing)
    drawing.close()
    height = _TOP + _LANE * len(LANES) + 24
    scale = (width - _LEFT - _RIGHT) / end_s
    parts = [
        f'<svg class="boot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="The boot on a time line of {end_s:.1f} seconds">'
    ]
    parts += _bands(tracker, end_s, scale, height)
    parts += _axis(end_s, scale, height)
    for number, lane in enumerate(LANES):
        y = _TOP + number * _LANE
        parts.append(
            f'<text class="lane" x="{_LEFT - 10}" y="{y + _LANE / 2 + 4:.0f}">{lane}</text>'
            f'<line class="rule" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y}" y2="{y}"/>'
        )
    parts += [_bar(bar, scale, end_s) for bar in drawing.bars]
    parts += [_mark(mark, scale, end_s) for mark in drawing.marks]
    parts.append("</svg>")
    return "\n".join(parts)


def _bands(tracker: PhaseTracker, end_s: float, scale: float, height: int) -> list[str]:
    parts = []
    for number, span in enumerate(tracker.spans):
        if span.phase is Phase.DONE:
            continue
        end = end_s if span.end_s is None else min(span.end_s, end_s)
        x, wide = _LEFT + span.start_s * scale, max(0.0, (end - span.start_s) * scale)
        failed = " failed" if span.end_s is None else ""
        shade = "even" if number % 2 == 0 else "odd"
        title = f"{span.phase.words}: {end - span.start_s:.1f} s"
        parts.append(
            f'<rect class="band {shade}{failed}" x="{x:.1f}" y="0" width="{wide:.1f}" '
            f'height="{height - 22}"><title>{escape(title)}</title></rect>'
        )
        words = span.phase.words
        if wide > len(words) * _CHARACTER + 8:
            parts.append(f'<text class="phase" x="{x + 5:.1f}" y="20">{escape(words)}</text>')
    return parts


def _axis(end_s: float, scale: float, height: int) -> list[str]:
    step = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300) if end_s / s <= 14), 600)
    parts = []
    for second in range(0, int(end_s) + 1, step):
        x = _LEFT + second * scale
        parts.append(
            f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - 22}"/>'
            f'<text class="time" x="{x:.1f}" y="{height - 6}">{second} s</text>'
        )
    return parts


def _bar(bar: Bar, scale: float, end_s: float) -> str:
    y = _TOP + LANES.index(bar.lane) * _LANE + (_LANE - _BAR) / 2
    start, end = min(bar.start_s, end_s), min(bar.end_s, end_s)
    x, wide = _LEFT + start * scale, max(2.0, (end - start) * scale)
    note = " · ".join(part for part in (bar.text, f"{end - start:.1f} s", bar.note) if part)
    shape = (
        f'<g class="bar {bar.kind}"><title>{escape(note)}</title>'
        f'<rect x="{x:.1f}" y="{y:.0f}" width="{wide:.1f}" height="{_BAR}" rx="3"/>'
    )
    room = int((wide - 8) / _CHARACTER)
    text = bar.text if len(bar.text) <= room else f"{bar.text[: room - 1]}…" if room > 4 else ""
    if text:
        shape += f'<text x="{x + 5:.1f}" y="{y + 14:.0f}">{escape(text)}</text>'
    return shape + "</g>"


def _mark(mark: Mark, scale: float, end_s: float) -> str:
    y = _TOP + LANES.index(mark.lane) * _LANE + _LANE / 2
    x = _LEFT + min(mark.at_s, end_s) * scale
    radius = 4 if mark.kind == "bad" else 2.5
    return (
        f'<circle class="mark {mark.kind}" cx="{x:.1f}" cy="{y:.0f}" r="{radius}">'
        f"<title>{escape(mark.note)} · {mark.at_s:.2f} s</title></circle>"
    )
