"""``hooklab faults [PLACE]``: what a scenario's ``faults`` can say."""

from __future__ import annotations

import json
from pathlib import Path

from harness.documents.validation import suggest
from harness.errors import ScenarioError
from harness.faults.page import as_data, describe, overview
from harness.faults.vocabulary import places


def faults_command(place: str | None, *, json_file: Path | None = None) -> int:
    """Print every place, or all about one; return the exit status. Raises ``ScenarioError``."""
    known = places()
    if place is not None and place not in known:
        raise ScenarioError(f"there is no place {place!r}", hint=suggest(place, known))
    shown = [known[place]] if place else list(known.values())
    if json_file:
        text = json.dumps([as_data(one) for one in shown], indent=2, ensure_ascii=False)
        json_file.write_text(text + "\n", encoding="utf-8")
    print(describe(shown[0]) if place else overview())
    return 0
