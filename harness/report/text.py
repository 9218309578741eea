"""What the terminal shows: a line per phase while a boot runs, and how it ended.

On a terminal the running phase is one redrawn line; elsewhere only what is final is printed.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from harness.facts import MachineTime, detours, nearest, resumed_words
from harness.phases import Phase
from harness.scenario.expectations import Outcome
from harness.scenario.item import Item
from harness.timeline import Event
from harness.verdict import PhaseTracker, Span, Verdict, how_busy, overruns, track
from harness.verdict.phases import Transfer, megabytes

_REDRAW_S = 0.1
_NAME_WIDTH = 17
_LONGEST_REASON = 80
"""A longer one is cut to its first part; ``hooklab doctor`` says all of it."""


@dataclass(frozen=True, slots=True)
class Style:
    """Escape sequences, or nothing."""

    colour: bool

    def __call__(self, text: str, code: str) -> str:
        """Return ``text`` in an SGR ``code`` (ECMA-48 §8.3.117), unchanged without colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def good(self, text: str) -> str:
        """Green and bold."""
        return self(text, "1;32")

    def bad(self, text: str) -> str:
        """Red and bold."""
        return self(text, "1;31")

    def bold(self, text: str) -> str:
        """Bold."""
        return self(text, "1")

    def accent(self, text: str) -> str:
        """Yellow: what to look at."""
        return self(text, "33")

    def dim(self, text: str) -> str:
        """Faint."""
        return self(text, "2")


def wants_colour(out: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether ``out`` is a terminal that may be coloured (https://no-color.org)."""
    values = os.environ if environ is None else environ
    return out.isatty() and not values.get("NO_COLOR") and values.get("TERM") != "dumb"


@dataclass(slots=True, kw_only=True)
class LiveProgress:
    """Shows one boot while it runs. Feed it every event; it never waits for one.

    ``now`` moves the elapsed time on between events; it is redrawn ten times a second at most.
    """

    item: Item
    out: TextIO
    live: bool
    """Whether the line of the running phase may be redrawn."""
    style: Style
    now: Callable[[], float] = time.monotonic
    tracker: PhaseTracker = field(default_factory=PhaseTracker)
    _begun: bool = False
    _drawn: bool = False
    _drawn_at: float = 0.0
    _fed_at: float = 0.0
    _shown: set[Phase] = field(default_factory=set)

    @classmethod
    def on(cls, out: TextIO, item: Item, *, live: bool | None = None) -> LiveProgress:
        """Return progress for ``out`` as that can show it; ``live=False`` for one of several."""
        colour = wants_colour(out)
        alive = out.isatty() and os.environ.get("TERM") != "dumb"
        return cls(
            item=item, out=out, live=alive if live is None else live and alive, style=Style(colour)
        )

    def feed(self, event: Event) -> None:
        """Take in the next event."""
        ended = self.tracker.feed(event)
        if self.live:
            self._fed_at = self.now()
        if not self._begun and event.name == "machine.powered_on":
            self._begun = True
            self._line(heading(self.item, event, self.style))
        if ended:
            self._final(ended)
        elif self.live and self.now() - self._drawn_at >= _REDRAW_S:
            self._draw(self.tracker.last_s)

    def tick(self) -> None:
        """Redraw the running phase; call it now and then so that the elapsed time moves on."""
        if self.live:
            self._draw(self.tracker.last_s + (self.now() - self._fed_at))

    def _draw(self, elapsed_s: float) -> None:
        span = self.tracker.span
        if span is None or span.phase is Phase.DONE:
            return
        text = phase_line(span, elapsed_s, self.style, self.tracker.transfer)
        self._erase()
        self.out.write(cut(text, shutil.get_terminal_size().columns - 1))
        self.out.flush()
        self._drawn, self._drawn_at = True, self.now()

    def finish(self) -> None:
        """Print what is left of the running phase."""
        span = self.tracker.span
        if span and span.phase is not Phase.DONE and span.phase not in self._shown:
            self._final(span)
        self._erase()
        self.out.flush()

    def _final(self, span: Span) -> None:
        self._shown.add(span.phase)
        self._line(phase_line(span, self.tracker.last_s, self.style))

    def _line(self, text: str) -> None:
        self._erase()
        self.out.write(text + "\n")
        self.out.flush()

    def _erase(self) -> None:
        if self._drawn:
            self.out.write("\r\x1b[2K")
            self._drawn = False


def cut(text: str, width: int) -> str:
    """Shorten a line to ``width`` columns; escape sequences take none."""
    out, columns, position = [], 0, 0
    while position < len(text):
        if text[position] == "\x1b":
            end = text.index("m", position) + 1
            out.append(text[position:end])
            position = end
            continue
        if columns < width:
            out.append(text[position])
        columns += 1
        position += 1
    return "".join(out)


def heading(item: Item, powered_on: Event | None, style: Style) -> str:
    """Return ``hello [uefi]   52:54:00:12:34:56   tcg, 1 vCPU (KVM opens but does not run)``."""
    words = [style(f"{item.name} [{item.variant}]", "1"), item.mac]
    if item.faults:
        plural = "faults" if len(item.faults) > 1 else "fault"
        words.append(f"{len(item.faults)} {plural}, seed {item.seed}")
    if powered_on:
        cpus = powered_on.get("cpus")
        accel = powered_on.get("accel", "?")
        words.append(f"{accel}, {cpus} vCPU" + (_why_slow(item) if accel == "tcg" else ""))
    if item.stack == "smee":
        words.append("netboot by the real smee")
    return "   ".join(words)


def _why_slow(item: Item) -> str:
    """Return why the machine is emulated, in brackets; nothing when that was asked for."""
    reason = item.accel_because
    if reason in ("", "asked for"):
        return ""
    return f" ({reason if len(reason) <= _LONGEST_REASON else reason.partition(': ')[0]})"


def phase_line(span: Span, last_s: float, style: Style, transfer: Transfer | None = None) -> str:
    """Return ``  firmware dhcp     0.0 →  5.1 s   192.168.77.10, ipxe.efi from 192.168.77.1``."""
    end = last_s if span.end_s is None else span.end_s
    # "kernel, initramfs" is as wide as the column: its times move one place to the left
    times = f"{span.start_s:4.1f} → {end:4.1f} s"
    detail = span.detail
    if transfer and span.end_s is None:
        detail = "  ".join(part for part in (detail, transfer_text(transfer)) if part)
    name = f"{span.phase.words:<{_NAME_WIDTH}}"
    running = span.end_s is None and transfer is not None
    return f"  {name} {style.dim(times) if not running else times}   {detail}".rstrip()


def transfer_text(transfer: Transfer) -> str:
    """Return ``initramfs-x86_64 23 of 52 MB``."""
    if not transfer.length_bytes:
        return f"{transfer.name} {megabytes(transfer.done_bytes)}"
    share = min(1.0, transfer.done_bytes / transfer.length_bytes)
    done, whole = megabytes(transfer.done_bytes), megabytes(transfer.length_bytes)
    return f"{transfer.name} {done} of {whole} ({share:.0%})"


def final_block(
    *,
    item: Item,
    passed: bool,
    verdict: Verdict,
    total_s: float,
    run_dir: Path,
    style: Style,
    outcomes: Sequence[Outcome] = (),
    differences: Sequence[str] = (),
    events: Sequence[Event] = (),
    width: int | None = None,
    host_too_slow: bool = False,
) -> str:
    """Return how a boot ended: one line when it passed, the whole story when it did not.

    Below it stands which phases took longer than usual, and how much the host held it up.

    ``differences`` is what ``check_verdict`` found; ``total_s`` counts from power-on. Of a boot
    that failed and should not have, ``events`` gives the nearest ten, each cut to ``width``
    columns (None: not at all); sentences are wrapped to that.
    """
    report = relative(run_dir / "report.html")
    unmet = [outcome for outcome in outcomes if not outcome.met]
    pace, resumed = pace_notes(events), resumed_words(events)
    if passed and item.expected_verdict is None:
        lines = [f"{style.good('PASSED')} in {total_s:.1f} s   report {report}"]
        if resumed:
            lines.append(_entry("begun", resumed))
        lines += [_entry(name, style.dim(text)) for name, text in pace]
        return "\n".join(part for line in lines for part in _wrapped(line, width))
    lines = []
    failed_in = verdict.failed_in
    where = f" in {failed_in.words}" if failed_in else ""
    expected = ", as expected" if passed else ""
    word = style.good("FAILED") if passed else style.bad("FAILED")
    if host_too_slow:
        word = style.accent("HOST TOO SLOW")
    lines.append(f"{word}{where} after {total_s:.1f} s{expected}")
    if resumed:
        lines.append(_entry("begun", resumed))
    if failed_in or not unmet:
        lines.append(_entry("what", style.bold(verdict.because)))
    if verdict.blame:
        lines.append(_entry("blame", style.accent(verdict.blame.value)))
    if not passed:
        lines += [_entry("differs", text) for text in differences if item.expected_verdict]
        for outcome in unmet:
            lines.append(_entry("expect", f"{outcome.expectation}   {style.dim(outcome.at)}"))
            lines.append(_entry("", f"expected  {outcome.expected}"))
            lines.append(_entry("", f"found     {outcome.found}"))
    if verdict.ended:
        lines.append(_entry("ended", f"early: {verdict.ended}"))
    if verdict.evidence:
        lines.append(_entry("proof", f"events {ranges(verdict.evidence)} of timeline.jsonl"))
    if verdict.hint and failed_in:
        lines.append(_entry("try", verdict.hint))
    lines += [_entry(name, text) for name, text in pace]
    lines.append(_entry("report", report))
    lines = [part for line in lines for part in _wrapped(line, width)]
    if not passed and failed_in:
        lines += _nearest_events(verdict, events, style, width)
    return "\n".join(lines)


def pace_notes(events: Sequence[Event]) -> list[tuple[str, str]]:
    """Return what took longer than usual, and how busy the host was: a word and a sentence."""
    notes = [("detour", f"the firmware went on after {text}") for text in detours(events)]
    notes += [("slow", one.words) for one in overruns(events, track(events))]
    busy = how_busy(events)
    if busy is not None and busy.stalled_s >= _NOTABLE * busy.total_s:
        stretch = f"deadlines were stretched {busy.stretch:.1f} times"
        notes.append(("host", f"busy: {busy.words}; {stretch}"))
    return notes


_NOTABLE: Final = 0.1


def _nearest_events(
    verdict: Verdict, events: Sequence[Event], style: Style, width: int | None
) -> list[str]:
    """Return the ten events nearest to what proves the verdict, the proof itself marked."""
    proof = set(verdict.evidence)
    about = nearest(events, (), anchor=max(proof) if proof else None)
    lines = []
    for event in about:
        text = event_line(event)
        text = text if width is None else cut(text, max(20, width - 5))
        proves = event.seq in proof
        lines.append(
            f"  {style.accent('▸') if proves else ' '} {text if proves else style.dim(text)}"
        )
    return ["  nearest events", *lines] if lines else []


def _wrapped(line: str, width: int | None) -> list[str]:
    """Return a line of the final block in lines of ``width`` columns, hanging below its text."""
    if width is None or _columns(line) <= width:
        return [line]
    lines, current = [], ""
    for word in line[_HANGING:].split(" "):
        joined = f"{current} {word}" if current else word
        if current and _HANGING + _columns(joined) > width:
            lines.append(current)
            current = word
        else:
            current = joined
    lines.append(current)
    return [line[:_HANGING] + lines[0], *(" " * _HANGING + more for more in lines[1:])]


_HANGING: Final = 10
_SGR: Final = re.compile(r"\x1b\[[0-9;]*m")


def _columns(text: str) -> int:
    return len(_SGR.sub("", text))


def _entry(name: str, text: str) -> str:
    return f"  {name:<7} {text}"


def relative(path: Path) -> str:
    """Return ``path`` as seen from the current folder when it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def ranges(numbers: Sequence[int]) -> str:
    """Return ``412–431, 500`` for sequence numbers."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in parts)


def event_line(event: Event) -> str:
    """Return an event as one line of a failure's excerpt."""
    fields = "  ".join(
        f"{key}={_short(value, 200 if key in _WORDS else 60)}"
        for key, value in event.fields.items()
    )
    return f"#{event.seq:<5} {event.t:8.3f} s  {event.name:<26} {fields}".rstrip()


_WORDS = ("line", "text", "message", "reason", "error", "last_lines", "found")
"""Fields that say what went wrong: shown at length."""


def _short(value: object, most: int) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    text = text.replace("\n", "⏎").replace("\r", "")
    return text if len(text) <= most else text[: most - 1] + "…"


_OUTCOMES: Final = ("passed", "failed", "host too slow", "error", "interrupted", "unreadable")


def tally(outcomes: Sequence[str], times: Iterable[MachineTime | None]) -> str:
    """Return ``12 runs: 10 passed, 2 failed; machines on for 312 s, 41 % of it waiting``."""
    counted = Counter(outcomes)
    told = ", ".join(f"{counted[name]} {name}" for name in _OUTCOMES if counted[name])
    known = [time for time in times if time is not None]
    waited = f"; {sum(known[1:], start=known[0]).words}" if known else ""
    return f"{len(outcomes)} run{'s' if len(outcomes) != 1 else ''}: {told}{waited}"
