"""The list of rules, and the page that explains it."""

from __future__ import annotations

import re
from pathlib import Path

from fake_tink_server.conformance.rule import Judgement, Outcome, Rule
from fake_tink_server.conformance.rules import RULES, find_rule

PAGE = Path(__file__).parents[2] / "WORKERS.md"


def marks(rule: Rule) -> list[str]:
    found = [] if rule.required else ["recommended"]
    found += ["v1 only"] if len(rule.protocols) == 1 else []
    return found + (["containers"] if rule.containers else [])


def test_the_page_and_the_kit_have_the_same_rules() -> None:
    line = re.compile(r"^(\d+)\. `([a-z0-9-]+)`: A worker (.*)\.(?: \*\((.*)\)\*)?$", re.M)
    on_page = [
        (int(n), name, must, said.split(", ") if said else [])
        for n, name, must, said in line.findall(PAGE.read_text().partition("## The rules")[2])
    ]
    in_kit = [(n, rule.name, rule.must, marks(rule)) for n, rule in enumerate(RULES, 1)]
    assert on_page == in_kit


def test_names_are_unique_and_found_by_name_and_number() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert find_rule("1") is RULES[0]
    assert find_rule(RULES[-1].name) is RULES[-1]
    assert find_rule("0") is find_rule("nothing") is None


def judged(outcome: Outcome, *, required: bool = True) -> Judgement:
    async def check(_: object) -> str:
        return ""

    rule = Rule(name="r", must="…", check=check, required=required)
    return Judgement(number=1, rule=rule, outcome=outcome, evidence="")


def test_what_conforms() -> None:
    from fake_tink_server.conformance.kit import conforms

    assert conforms([judged(Outcome.PASS), judged(Outcome.NOT_APPLICABLE)])
    assert conforms([judged(Outcome.FAIL, required=False)])
    assert not conforms([judged(Outcome.FAIL)])
    assert not conforms([judged(Outcome.PASS), judged(Outcome.SKIP)])
