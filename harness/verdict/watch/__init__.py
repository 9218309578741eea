"""When a run need not go on: the events after which no later one can save it.

Sans-IO. ``Watch`` is fed every event and asked about once a second. Each rule knows how the real
program goes on from there: what it retries, how often, after how long.

* ``ending`` — what a rule says, and what it looks at.
* ``firmware`` — firmware that gave up, prompts nobody answers, machines that go in circles.
* ``downloads`` — files that can't be through in time.
* ``answers`` — servers that answer so that nothing comes of it.
* ``hook`` — an engine that does not start, an image that can't be pulled.
* ``calls`` — the worker and Tinkerbell's server.
* ``silence`` — nothing at all, for longer than anything that is still to come takes.
"""

from __future__ import annotations

from harness.verdict.watch.ending import Ending, Rule, Sight
from harness.verdict.watch.watch import RULES, Watch

__all__ = ["RULES", "Ending", "Rule", "Sight", "Watch"]
