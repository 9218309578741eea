"""The page says what the code does."""

from __future__ import annotations

import inspect

from harness.verdict.page import PAGE, page
from harness.verdict.rules import anywhere, by_phase


def test_the_page_is_up_to_date() -> None:
    written = PAGE.read_text("utf-8")
    assert written == page(), "write it anew: python -m harness.dev.verdicts"


def test_every_rule_says_what_it_is_for() -> None:
    rules = [rule for rules in by_phase().values() for rule in rules]
    silent = [
        rule.__name__
        for rule in (*anywhere.FIRST, *rules, *anywhere.LAST)
        if not inspect.getdoc(rule)
    ]
    assert not silent
