"""Runs rules against a worker program: each on a stage of its own, several at a time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from fake_tink_server.conformance.rule import (
    Broken,
    Judgement,
    NotJudged,
    Outcome,
    Rule,
)
from fake_tink_server.conformance.rules import RULES
from fake_tink_server.conformance.scene import POLLS, Scene, Setup
from fake_tink_server.protocol import Protocol
from harness.errors import LabError

DEFAULT_JOBS: Final = 4

Tell = Callable[[Judgement], None]


async def find_protocol(setup: Setup) -> Protocol | None:
    """Return the protocol of the first call that the worker makes; None when it makes none.

    Raises ``SetupFailed`` when the program can't be started.
    """
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        async with Scene(setup=setup, protocol=Protocol.V1, folder=Path(folder)) as scene:
            await scene.begin()
            rpcs = {rpc: protocol for protocol, rpc in POLLS.items()}
            try:
                call = await scene.see(
                    lambda e: e.name == "tink.rpc.received" and e.get("rpc") in rpcs,
                    "a call for work",
                )
            except Broken:
                return None
            return rpcs[call["rpc"]]


async def judge(
    setup: Setup,
    protocol: Protocol,
    *,
    rules: Sequence[Rule] = RULES,
    jobs: int = DEFAULT_JOBS,
    tell: Tell | None = None,
) -> list[Judgement]:
    """Judge ``rules``, ``jobs`` of them at a time, and return what became of each, in order.

    ``tell`` is called with each judgement, in the order of the rules. Raises ``LabError`` when the
    program can't be started at all.
    """
    gate = asyncio.Semaphore(jobs)

    async def one(rule: Rule) -> Judgement:
        number = RULES.index(rule) + 1 if rule in RULES else 0
        if protocol not in rule.protocols:
            evidence = f"protocol {protocol} has no such thing"
            return Judgement(
                number=number, rule=rule, outcome=Outcome.NOT_APPLICABLE, evidence=evidence
            )
        async with gate:
            return await _judge_one(setup, protocol, rule, number)

    waiting: list[Awaitable[Judgement]] = []
    judged: list[Judgement] = []
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(one(rule)) for rule in rules]
        for task in waiting:
            judged.append(await task)
            if tell:
                tell(judged[-1])
    return judged


async def _judge_one(setup: Setup, protocol: Protocol, rule: Rule, number: int) -> Judgement:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        async with Scene(setup=setup, protocol=protocol, folder=Path(folder)) as scene:
            try:
                outcome, evidence = Outcome.PASS, await rule.check(scene)
            except Broken as broken:
                outcome, evidence = Outcome.FAIL, str(broken)
            except NotJudged as reason:
                outcome, evidence = Outcome.SKIP, str(reason)
            except LabError as error:
                outcome, evidence = Outcome.SKIP, str(error)
            finished = [e for e in scene.reports() if e["state"] != "STATE_RUNNING"]
            if rule.containers and finished and not scene.docker.calls:
                outcome = Outcome.NOT_APPLICABLE
                evidence = "it ran actions without one call to the docker engine"
    return Judgement(
        number=number,
        rule=rule,
        outcome=outcome,
        evidence=evidence,
        seconds=round(time.monotonic() - began_s, 3),
    )


def conforms(judged: Sequence[Judgement]) -> bool:
    """Tell whether every required rule that applies was judged, and honoured."""
    fine = (Outcome.PASS, Outcome.NOT_APPLICABLE)
    return all(item.outcome in fine for item in judged if item.rule.required)
