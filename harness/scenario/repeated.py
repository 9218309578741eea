"""The same boots once more with other seeds, and whether all of them came to the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from harness.scenario.item import Item
from harness.scenario.runner import RunResult

_TIMES: Final = re.compile(r"\bonce\b|\btwice\b|\b\d+ times\b")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def with_seeds(items: Sequence[Item], times: int) -> list[Item]:
    """Return each of ``items`` ``times`` times, with its own seed and those that follow it."""
    return [
        replace(item, seed=item.seed + step) if step else item
        for item in items
        for step in range(times)
    ]


def comparison(results: Sequence[RunResult]) -> str:
    """Return one line an item: what its runs came to, and how often if not always the same.

    Sentences are the same when they differ in numbers only: how often was asked, after how long.
    """
    runs: dict[str, list[RunResult]] = {}
    for result in results:
        runs.setdefault(f"{result.item.name} [{result.item.variant}]", []).append(result)
    width = max((len(name) for name in runs), default=0)
    lines = []
    for name, each in runs.items():
        seeds: dict[str, list[RunResult]] = {}
        for result in each:
            seeds.setdefault(plain(result), []).append(result)
        if len(seeds) == 1:
            lines.append(f"{name:<{width}}  {len(each)} × {told(each[0])}")
            continue
        lines.append(f"{name:<{width}}  not always the same:")
        lines += [
            f"  {len(same)} × {told(same[0])}"
            f" (seed {', '.join(str(result.item.seed) for result in same)})"
            for same in sorted(seeds.values(), key=len, reverse=True)
        ]
    return "\n".join(lines)


def told(result: RunResult) -> str:
    """Return outcome, phase, blame and sentence: ``passed: in ipxe, by http: HTTP answered …``."""
    verdict = result.verdict
    if verdict.failed_in is None:
        return f"{result.outcome.value}: {verdict.because}"
    blame = verdict.blame.value if verdict.blame else "nobody"
    return f"{result.outcome.value}: in {verdict.failed_in.value}, by {blame}: {verdict.because}"


def plain(result: RunResult) -> str:
    """Return what ``told`` says without its numbers."""
    return _NUMBER.sub("#", _TIMES.sub("# times", told(result)))
