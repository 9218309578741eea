"""What the tables of a report say, each a plain list told from the events."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.facts import action_reports, resumed_words, state_of
from harness.net.captured import CapturedFrames
from harness.report.packets import run_began_ns
from harness.report.record import Console, RunRecord
from harness.report.text import pace_notes
from harness.report.touched import Peers, asked_by, find_frames
from harness.scenario.item import DiskItem, NicItem
from harness.timeline import Event, named
from harness.verdict import overruns
from harness.verdict.durations import span as words

MOST_EVENTS: Final = 3000
_FIRST_EVENTS: Final = 1200
_QUIET: Final = ("console.line.seen", "syslog.message.received")
_MOST_PROOF: Final = 3
_MOST_CALLS: Final = 400


def phases(run: RunRecord) -> list[dict[str, Any]]:
    """Return a row for each phase that was reached."""
    longest = max(run.tracker.durations().values(), default=0.0) or 1.0
    slow = {one.phase: one for one in overruns(run.events, run.tracker)}
    rows = []
    for span in run.tracker.spans:
        late = slow.get(span.phase)
        seconds = run.tracker.durations().get(span.phase.value)
        if seconds is not None:
            rows.append(
                {
                    "name": span.phase.words,
                    "start": span.start_s,
                    "seconds": seconds,
                    "share": 100 * seconds / longest,
                    "detail": span.detail,
                    "ended": span.end_s is not None,
                    "slow": f"usually {words(late.low_s, late.high_s)}" if late else "",
                }
            )
    return rows


def notes(run: RunRecord) -> defaultdict[str, list[str]]:
    """Return what the terminal says below a boot, by its word: ``detour``, ``slow``, ``host``."""
    told: defaultdict[str, list[str]] = defaultdict(list)
    for word, text in pace_notes(run.events):
        told[word].append(text)
    return told


def actions(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return a row for each run of an action, in order."""
    rows: list[dict[str, Any]] = []
    for event in action_reports(events):
        state = state_of(event)
        same = rows and rows[-1]["name"] == event.get("action") and rows[-1]["end"] is None
        if state == "RUNNING" and not same:
            rows.append(
                {
                    "task": event.get("task", ""),
                    "name": event.get("action"),
                    "start": event.t,
                    "end": None,
                    "state": state,
                    "message": "",
                }
            )
        elif state != "RUNNING" and same:
            rows[-1] |= {"end": event.t, "state": state, "message": event.get("message") or ""}
    return rows


def calls(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return a row for each gRPC call: what was asked, what was said, how it ended."""
    rows: dict[object, dict[str, Any]] = {}
    for event in events:
        key = event.get("id")
        if event.name == "tink.rpc.received":
            rows[key] = {
                "seq": event.seq, "start": event.t, "rpc": event.get("rpc"), "code": "",
                "who": event.get("worker_id") or event.get("workflow_id") or "",
                "said": "", "took": None, "peer": event.get("peer", ""),
            }  # fmt: skip
        elif key in rows and event.name.startswith("tink."):
            row = rows[key]
            if event.name == "tink.rpc.finished":
                details = str(event.get("details") or "")
                row |= {"code": event.get("code", ""), "took": event.get("duration_s")}
                row["said"] = ": ".join(part for part in (row["said"], details) if part)
            elif event.name == "tink.action.reported":
                row["said"] = f"{event.get('action')} {state_of(event)}"
            elif event.name == "tink.actions.sent":
                row["said"] = "actions " + ", ".join(_names(event.get("actions")))
            elif event.name == "tink.contexts.sent":
                row["said"] = "workflows " + (", ".join(_names(event.get("workflows"))) or "none")
            elif event.name == "tink.action.sent":
                row["said"] = f"action {event.get('action')}"
    return list(rows.values())[-_MOST_CALLS:]


def _names(values: object) -> list[str]:
    listed = values if isinstance(values, list) else []
    return [str(v.get("name", v)) if isinstance(v, dict) else str(v) for v in listed]


def faults(run: RunRecord) -> list[dict[str, Any]]:
    """Return a row for each declared fault: how often it fired, and when."""
    rows = []
    for number, fault in enumerate(run.item.faults, 1):
        fired = [e for e in named(run.events, "fault.fired") if e.get("fault") == number]
        missed = [e for e in named(run.events, "fault.unfired") if e.get("fault") == number]
        rows.append(
            {
                "number": number,
                "text": fault.text,
                "where": fault.at or "",
                "times": len(fired),
                "first": fired[0] if fired else None,
                "last": fired[-1] if len(fired) > 1 else None,
                "nearest": missed[0].get("nearest", "") if missed else "",
            }
        )
    return rows


def kernel_arguments(events: Sequence[Event]) -> list[str]:
    """Return the kernel command line's words: what Linux printed, or the script it came from."""
    for event in named(events, "guest.cmdline.seen"):
        return str(event.get("cmdline")).split()
    for event in reversed(named(events, "http.script.served")):
        for line in str(event.get("script")).splitlines():
            if line.strip().startswith("kernel "):
                return line.split()[1:]
    return []


def scripts(events: Sequence[Event]) -> list[tuple[str, str]]:
    """Return path and text of each boot script that was served, the same one once."""
    found = {
        str(event.get("script")): str(event.get("path"))
        for event in named(events, "http.script.served")
    }
    return [(path, text) for text, path in found.items()][:4]


def environment(run: RunRecord) -> list[tuple[str, str]]:
    """Return what the machine and the lab around it were."""
    item = run.item
    started = next(iter(named(run.events, "run.started")), None)
    powered = run.tracker.machine
    rows = [
        ("machine", f"{item.mac}, {item.firmware}, {item.memory_mib} MiB"),
        ("NICs", "; ".join(map(_card, item.nics))),
        ("disks", ", ".join(map(_disk, item.disks)) or "none"),
        ("hook", item.hook.origin),
        ("worker", item.worker_image),
        ("registry", f"{item.registry.scheme}://{item.registry.address}, {item.registry.auth}"),
        ("tinkerbell", f"{item.tink.address}, {'TLS' if item.tink.tls else 'plaintext'}"),
        ("netboot by", "the real smee" if item.stack == "smee" else ""),
        ("network", f"{item.network.subnet}, machine {item.network.machine}"),
        ("scenario", str(item.source)),
        ("seed", str(item.seed) if item.faults else ""),
    ]
    if powered:
        because = item.accel_because
        why = f" ({because})" if because not in ("", "asked for") else ""
        accel = f"{powered.get('accel')}, {powered.get('cpus')} vCPU{why}"
        rows.insert(1, ("accelerator", accel))
    for event in named(run.events, "host.calibrated")[-1:]:
        ratio, factor = event["cpu_ratio"], event["factor"]
        speed = f"a fixed piece of work takes {ratio:.2f} times as long as on the reference host"
        rows.append(("host", f"{speed}; deadlines × {factor:.2f}"))
    if started:
        rows.append(("started", str(started.get("wall", ""))))
    for event in named(run.events, "lab.resumed")[:1]:
        rows.append(
            (
                "checkpoint",
                f"{resumed_words([event])}: what is before {event.t:.1f} s"
                f" happened in a run of {event.get('built_by')}, saved {event.get('saved_at')};"
                " clocks in the lab go on from there",
            )
        )
    return [(name, value) for name, value in rows if value]


def _card(nic: NicItem) -> str:
    words = [nic.mac, nic.model]
    if nic.network != "lab":
        words.append("not in the lab's network")
    if not nic.link:
        words.append("no cable at power-on")
    return ", ".join(words)


def _disk(disk: DiskItem) -> str:
    return f"{disk.name} {disk.size_bytes >> 20} MiB {disk.model}"


_AGENT: Final = re.compile(r"[^\s]+/[^\s]+")


def versions(run: RunRecord) -> list[tuple[str, str]]:
    """Return which versions of what took part, as the run itself told."""
    found: dict[str, str] = {}
    for event in run.events:
        if event.name == "run.started":
            found["hooklab"] = str(event.get("version", ""))
        elif event.name in ("http.request.received", "registry.request.received"):
            agent = str(event.get("agent") or "")
            if match := _AGENT.match(agent):
                name, _, version = match[0].partition("/")
                found.setdefault(name, version)
        elif event.name == "guest.kernel.started":
            found["Linux"] = str(event.get("version", ""))
    item = run.item
    for name, digest in (("kernel", item.hook.kernel_sha256),
                         ("initramfs", item.hook.initramfs_sha256)):  # fmt: skip
        if digest:
            found[name] = f"sha256:{digest}"
    used = {item.worker_image, *item.action_images}
    for pin in item.pins:
        if pin.reference in used:
            found[pin.reference] = pin.digest
    return [(name, value) for name, value in found.items() if value]


# -- events


def shown_events(run: RunRecord) -> list[Event]:
    """Return the events that the page lists: no console lines, no steps of progress, bounded.

    What proves the verdict and what faults did is always there.
    """
    kept = [event for event in run.events if not is_minor(event)]
    if len(kept) <= MOST_EVENTS:
        return kept
    first, last = kept[:_FIRST_EVENTS], kept[_FIRST_EVENTS - MOST_EVENTS :]
    proof = set(run.verdict.evidence)
    between = [
        event
        for event in kept[_FIRST_EVENTS : _FIRST_EVENTS - MOST_EVENTS]
        if event.seq in proof or event.name == "fault.unfired"
    ]
    return [*first, *between, *last]


def is_minor(event: Event) -> bool:
    """Whether an event says too little for a list of all."""
    return event.name in _QUIET or event.name.endswith(".progressed")


# -- proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One event that proves the verdict, and where else it can be seen."""

    event: Event
    console: str
    """``ttyS1 line 903``, or empty."""
    frames: tuple[int, ...]
    """Frames of the capture."""


def proofs(run: RunRecord) -> list[Proof]:
    """Return events that prove the verdict, with their console lines and frames: a few."""
    wanted = set(run.verdict.evidence)
    events = [event for event in run.events if event.seq in wanted]
    if len(events) > _MOST_PROOF:
        events = [*events[: _MOST_PROOF - 1], events[-1]]
    frames = _frames_of(run, events)
    return [
        Proof(event=event, console=_console_line(event, run.consoles), frames=frames[event.seq])
        for event in events
    ]


def _frames_of(run: RunRecord, events: Sequence[Event]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {event.seq: () for event in events}
    began_ns = run_began_ns(run.events)
    peers = Peers(run.events)
    asked = {event.seq: asked_by(event, peers) for event in events}
    questions = {seq: question for seq, question in asked.items() if question}
    if not questions or began_ns is None:
        return found
    try:
        with CapturedFrames(run.run_dir / "capture.pcapng") as capture:
            find_frames(capture, questions.values(), began_ns=began_ns)
    except (OSError, ValueError):
        return found  # no capture, or one of somebody else's
    return found | {seq: tuple(question.numbers) for seq, question in questions.items()}


def _console_line(event: Event, consoles: Sequence[Console]) -> str:
    """Return where a console shows the line that an event is about."""
    text = str(event.get("line") or event.get("text") or "").strip()
    if not text:
        return ""
    for console in consoles:
        if event.get("console") in (None, console.name) and not console.cut:
            for number, line in enumerate(console.text.split("\n"), 1):
                if text in line:
                    return f"{console.name} line {number}"
    return str(event.get("console") or "")
