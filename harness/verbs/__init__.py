"""One table of verbs: what ``hooklab`` can do, in the order in which it is shown."""

from __future__ import annotations

from typing import Final

from harness.verbs.boots import BOOTS
from harness.verbs.host import HOST
from harness.verbs.pages import PAGES
from harness.verbs.verb import Verb

_ORDER: Final = (
    *("run", "up", "attach", "build", "test", "doctor", "schema", "faults"),
    *("tink", "report", "diff", "bench", "trend", "cache", "storm"),
)
_ALL: Final = BOOTS | HOST | PAGES
VERBS: Final[dict[str, Verb]] = {name: _ALL[name] for name in _ORDER}
