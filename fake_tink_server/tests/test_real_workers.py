"""The real workers, judged by the kit: every rule's outcome for each of the three programs.

Success, failure, timeout, a restart of the server in mid-action and refused calls are rules of the
kit, so that what each real program does is asserted here rule by rule, and a change in the server,
in the docker engine's stand-in or in a pinned program shows.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from fake_tink_server.conformance.kit import conforms, find_protocol, judge
from fake_tink_server.conformance.rule import Judgement, Outcome
from fake_tink_server.conformance.rules import find_rule
from fake_tink_server.conformance.scene import Setup
from fake_tink_server.protocol import Protocol
from fake_tink_server.tests.real_workers import (
    TINK_AGENT,
    TINK_WORKER,
    VIRTUAL_WORKER,
    setup_of,
)

pytestmark = pytest.mark.service


def told(judged: list[Judgement]) -> str:
    """Return what pytest shows when an outcome is another than expected."""
    return "\n".join(f"{j.outcome:5} {j.rule.name:20} {j.evidence}" for j in judged)


def of(judged: list[Judgement], outcome: Outcome) -> set[str]:
    return {j.rule.name for j in judged if j.outcome is outcome}


async def run(setup: Setup, protocol: Protocol) -> list[Judgement]:
    assert await find_protocol(setup) is protocol
    return await judge(setup, protocol, jobs=6)


async def test_tink_worker(tmp_path: Path) -> None:
    judged = await run(await setup_of(TINK_WORKER), Protocol.V1)
    assert conforms(judged), told(judged)
    assert of(judged, Outcome.FAIL) == {"reason"}, told(judged)
    assert of(judged, Outcome.NOT_APPLICABLE) == set(), told(judged)


async def test_tink_agent(tmp_path: Path) -> None:
    judged = await run(await setup_of(TINK_AGENT), Protocol.V2)
    assert conforms(judged), told(judged)
    assert of(judged, Outcome.FAIL) == {"reason"}, told(judged)
    only_v1 = {j.rule.name for j in judged if Protocol.V2 not in j.rule.protocols}
    assert of(judged, Outcome.NOT_APPLICABLE) == only_v1, told(judged)


async def test_virtual_worker(tmp_path: Path) -> None:
    judged = await run(await setup_of(VIRTUAL_WORKER), Protocol.V1)
    assert conforms(judged), told(judged)
    assert of(judged, Outcome.FAIL) == set(), told(judged)
    containers = {j.rule.name for j in judged if j.rule.containers}
    assert of(judged, Outcome.NOT_APPLICABLE) == containers, told(judged)


async def test_patience_is_for_a_step_not_for_the_whole(tmp_path: Path) -> None:
    setup = await setup_of(VIRTUAL_WORKER)
    slow = ["--sleep-min", "500ms", "--sleep-jitter", "1ms"]
    setup = replace(setup, command=[setup.command[0], *slow], patience_s=3)
    rule = find_rule("in-order")
    assert rule is not None
    began_s = time.monotonic()
    judged = await judge(setup, Protocol.V1, rules=[rule])
    assert of(judged, Outcome.PASS) == {"in-order"}, told(judged)
    assert time.monotonic() - began_s > setup.patience_s
