"""``report.html``: one self-contained page about a run, readable without network or JavaScript."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.report import contents
from harness.report.bootchart import bootchart
from harness.report.dossier import exhibit_dossier
from harness.report.packets import read_packets
from harness.report.picture import boot_picture
from harness.report.record import RunRecord, fit_for, read_run
from harness.report.text import event_line, relative
from harness.scenario.item import LOCK_NAME

if TYPE_CHECKING:
    from jinja2 import Environment

REPORT_NAME: Final = "report.html"
_LONGEST_VALUE: Final = 400
_LONGEST_LINE: Final = 240


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` from what is in ``run_dir``; return its path.

    Raises what ``read_run`` raises, and ``OSError``.
    """
    file = run_dir / REPORT_NAME
    run = read_run(run_dir)
    with fit_for(run_dir, "shown"):
        page = render(run)
    file.write_text(page, encoding="utf-8")
    return file


def render(run: RunRecord) -> str:
    """Return the page. The same run folder gives the same bytes."""
    from markupsafe import Markup

    power_on_s = run.tracker.power_on_s
    shown = contents.shown_events(run)
    verdict = run.verdict
    proofs = contents.proofs(run) if verdict.failed_in else []
    picture = boot_picture(
        run.events, run.tracker, proof=verdict.evidence if verdict.failed_in else ()
    )
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            run=run,
            item=run.item,
            verdict=verdict,
            headline=headline(run),
            expected=as_expected(run),
            tone=tone(run),
            sentence=sentence(run),
            proofs=proofs,
            more_proof=sorted(set(verdict.evidence) - {one.event.seq for one in proofs}),
            total_s=total_s(run),
            power_on_s=power_on_s or 0.0,
            picture=Markup(picture),
            faults=contents.faults(run),
            phases=contents.phases(run),
            notes=contents.notes(run),
            chart=bootchart(run.events, power_on_s),
            actions=contents.actions(run.events),
            calls=contents.calls(run.events),
            packets=read_packets(run.run_dir / "capture.pcapng", run.events),
            dossier=exhibit_dossier(run.run_dir),
            scripts=contents.scripts(run.events),
            cmdline=contents.kernel_arguments(run.events),
            environment=contents.environment(run),
            versions=contents.versions(run),
            timeline=shown,
            evidence=set(verdict.evidence),
            hidden=sum(map(contents.is_minor, run.events)),
            cut=sum(not contents.is_minor(event) for event in run.events) - len(shown),
            files=sorted(p.name for p in run.run_dir.iterdir() if p.name != REPORT_NAME),
            again=f"./hooklab run {relative(run.run_dir / LOCK_NAME)}",
        )
    )


@functools.cache  # a session of many runs writes many pages
def templates() -> Environment:
    """Return the templates of this package, with what they use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"value": _value, "line": lambda e: _cut(event_line(e), _LONGEST_LINE)}
    return environment


def _value(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return _cut(text, _LONGEST_VALUE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def headline(run: RunRecord) -> str:
    """Return ``Failed in worker pull after 58.1 s``."""
    failed_in = run.verdict.failed_in
    word = {
        "passed": "Passed",
        "failed": "Failed",
        "error": "The lab failed",
        "interrupted": "Interrupted",
        "host too slow": "The host was too slow",
    }[run.outcome]
    if failed_in and (run.outcome != "passed" or as_expected(run)):
        word = "Failed" if run.outcome == "passed" else word
        return f"{word} in {failed_in.words} after {total_s(run):.1f} s"
    return f"{word} in {total_s(run):.1f} s"


def as_expected(run: RunRecord) -> bool:
    """Whether the boot failed just as its scenario says."""
    return run.outcome == "passed" and run.verdict.failed_in is not None


def tone(run: RunRecord) -> str:
    """Return the CSS class of how a run ended: an expected failure is a failure to look at."""
    return "failed" if as_expected(run) else run.outcome.replace(" ", "-")


def sentence(run: RunRecord) -> str:
    """Return why, as one sentence."""
    unmet = [finding for finding in run.findings if not finding.met]
    if run.verdict.failed_in is None and unmet:
        first = f"{unmet[0].expectation}: found {unmet[0].found}"
        more = f", and {len(unmet) - 1} more" if len(unmet) > 1 else ""
        return f"The boot went all the way, but not everything expected holds: {first}{more}."
    text = run.error or run.verdict.because
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "”", "…")) else ".")


def total_s(run: RunRecord) -> float:
    """Return how long the boot took, from power-on."""
    return sum(run.tracker.durations().values())
