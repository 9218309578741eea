"""``report.html``: one self-contained page about a run, readable without network or JavaScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from harness.facts import action_reports, state_of
from harness.report.picture import boot_picture
from harness.report.record import RunRecord, read_run
from harness.report.text import event_line, ranges, relative
from harness.scenario.item import LOCK_NAME
from harness.timeline import Event, named

REPORT_NAME: Final = "report.html"
_MOST_EVENTS: Final = 4000
_QUIET: Final = ("console.line.seen", "syslog.message.received")


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` from what is in ``run_dir``; return its path.

    Raises what ``read_run`` raises, and ``OSError``.
    """
    file = run_dir / REPORT_NAME
    file.write_text(render(read_run(run_dir)), encoding="utf-8")
    return file


def render(run: RunRecord) -> str:
    """Return the page. The same run folder gives the same bytes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["event_line"] = event_line
    return environment.get_template("page.html.j2").render(
        run=run,
        item=run.item,
        verdict=run.verdict,
        headline=_headline(run),
        sentence=_sentence(run),
        proof=ranges(run.verdict.evidence),
        total_s=_total_s(run),
        picture=Markup(boot_picture(run.events, run.tracker)),
        phases=_phases(run),
        actions=_actions(run.events),
        cmdline=_cmdline(run.events),
        environment=_environment(run),
        timeline=_timeline(run.events),
        hidden=sum(event.name in _QUIET or _minor(event) for event in run.events),
        files=sorted(p.name for p in run.run_dir.iterdir() if p.name != REPORT_NAME),
        again=f"./hooklab run {relative(run.run_dir / LOCK_NAME)}",
        dump=lambda value: json.dumps(value, ensure_ascii=False),
    )


def _headline(run: RunRecord) -> str:
    expected = ", as expected" if run.outcome == "passed" and run.item.expected_verdict else ""
    failed_in = run.verdict.failed_in
    word = {
        "passed": "Passed",
        "failed": "Failed",
        "error": "The lab failed",
        "interrupted": "Interrupted",
    }[run.outcome]
    if failed_in and (run.outcome != "passed" or expected):
        word = "Failed" if run.outcome == "passed" else word
        return f"{word} in {failed_in.words} after {_total_s(run):.1f} s{expected}"
    return f"{word} in {_total_s(run):.1f} s"


def _sentence(run: RunRecord) -> str:
    unmet = [finding for finding in run.findings if not finding.met]
    if run.verdict.failed_in is None and unmet:
        first = f"{unmet[0].expectation}: found {unmet[0].found}"
        more = f", and {len(unmet) - 1} more" if len(unmet) > 1 else ""
        return f"The boot went all the way, but not everything expected holds: {first}{more}."
    text = run.error or run.verdict.because
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "”", "…")) else ".")


def _total_s(run: RunRecord) -> float:
    return sum(run.tracker.durations().values())


def _phases(run: RunRecord) -> list[dict[str, Any]]:
    total = _total_s(run) or 1.0
    rows = []
    for span in run.tracker.spans:
        seconds = run.tracker.durations().get(span.phase.value)
        if seconds is not None:
            ended = span.end_s is not None
            rows.append(
                {
                    "name": span.phase.words,
                    "start": span.start_s,
                    "seconds": seconds,
                    "share": 100 * seconds / total,
                    "detail": span.detail,
                    "ended": ended,
                }
            )
    return rows


def _actions(events: list[Event]) -> list[dict[str, Any]]:
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


def _cmdline(events: list[Event]) -> list[str]:
    """Return the kernel command line's words: what Linux printed, or the script it came from."""
    for event in named(events, "guest.cmdline.seen"):
        return str(event.get("cmdline")).split()
    for event in reversed(named(events, "http.script.served")):
        for line in str(event.get("script")).splitlines():
            if line.strip().startswith("kernel "):
                return line.split()[1:]
    return []


def _environment(run: RunRecord) -> list[tuple[str, str]]:
    item = run.item
    started = next(iter(named(run.events, "run.started")), None)
    powered = run.tracker.machine
    rows = [
        ("machine", f"{item.mac}, {item.firmware}, {item.memory_mib} MiB, {item.nic_model}"),
        ("disks", ", ".join(f"{d.name} {d.size_bytes >> 20} MiB" for d in item.disks) or "none"),
        ("hook", item.hook.origin),
        ("worker", item.worker_image),
        ("registry", f"{item.registry.scheme}://{item.registry.address}, {item.registry.auth}"),
        ("tinkerbell", f"{item.tink.address}, {'TLS' if item.tink.tls else 'plaintext'}"),
        ("netboot by", "the real smee" if item.stack == "smee" else ""),
        ("network", f"{item.network.subnet}, machine {item.network.machine}"),
        ("scenario", str(item.source)),
    ]
    if powered:
        rows.insert(1, ("accelerator", f"{powered.get('accel')}, {powered.get('cpus')} vCPU"))
    if started:
        rows.append(("started", str(started.get("wall", ""))))
        rows.append(("hooklab", str(started.get("version", ""))))
    return [(name, value) for name, value in rows if value]


def _minor(event: Event) -> bool:
    return event.name.endswith(".progressed")


def _timeline(events: list[Event]) -> list[Event]:
    kept = [event for event in events if event.name not in _QUIET and not _minor(event)]
    return kept[:_MOST_EVENTS]
