"""How far a boot came, whose fault it was and why: computed from the timeline alone.

``phases`` follows a boot event by event, ``rules`` knows what each phase looks like when it
fails, ``judge`` says one sentence. ``watch`` tells while a run goes on that it need not.
``durations`` says how long phases took, ``haste`` whether the deadline left them the time, ``host``
what the computer under the lab had to do with it.
"""

from __future__ import annotations

from harness.verdict.durations import how_busy, overruns
from harness.verdict.host import blame_host
from harness.verdict.judge import Verdict, judge, told_to_the_end
from harness.verdict.phases import PhaseTracker, Span, track
from harness.verdict.watch import Ending, Watch

__all__ = [
    "Ending",
    "PhaseTracker",
    "Span",
    "Verdict",
    "Watch",
    "blame_host",
    "how_busy",
    "judge",
    "overruns",
    "told_to_the_end",
    "track",
]
