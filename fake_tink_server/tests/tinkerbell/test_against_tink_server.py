"""Hundreds of conversations: this server must answer and end as Tinkerbell v0.25.0's does.

The differences that are allowed are listed in ``TINK_SERVER.md``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc.aio
import pytest

from fake_tink_server.answers import AgentOrder, Code, Refused
from fake_tink_server.catalog import Catalog
from fake_tink_server.desk import Profile
from fake_tink_server.engine import Engine
from fake_tink_server.proto import agent_pb2 as pb
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.tinkerbell.play import (
    SERVICE,
    OurSide,
    Outcome,
    RealSide,
    Rpc,
    Tally,
    play,
)
from fake_tink_server.tests.tinkerbell.real import real_tinkerbell
from fake_tink_server.tests.tinkerbell.worlds import AGENTS, NOW, object_of, world_of

pytestmark = pytest.mark.service

SEED: Final = 20261121
COUNT: Final = 400
TEMPLATE: Final = {
    "version": "0.1",
    "name": "t",
    "global_timeout": 600,
    "tasks": [
        {"name": "t", "worker": AGENTS[0], "actions": [{"name": "a", "image": "print:v1"}]},
    ],
}


@asynccontextmanager
async def sides(ours: OurSide) -> AsyncIterator[tuple[RealSide, OurSide]]:
    """Run the two servers."""
    async with real_tinkerbell() as real:
        theirs = RealSide(real)
        await ours.start()
        try:
            yield theirs, ours
        finally:
            await ours.close()
            await theirs.close()


async def test_every_conversation_goes_the_same_way() -> None:
    tally = Tally()
    async with sides(OurSide()) as (theirs, ours):
        for number in range(COUNT):
            await play(world_of(SEED, number), theirs, ours, tally)
    print(
        f"{tally.conversations} conversations, {tally.called} calls, {tally.states} states "
        f"compared, {len(tally.differences)} differences (seed {SEED})"
    )
    print(", ".join(f"{key} {count}" for key, count in sorted(tally.calls.items())))
    assert not tally.differences, "\n".join(tally.differences[:20])
    # a comparison of refusals only would say little
    assert tally.calls["GetAction OK"] > COUNT
    assert tally.calls["ReportActionStatus OK"] > COUNT


class Wrong(OurSide):
    """This server with one answer that is not the real one's."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    async def call(self, method: str, data: bytes) -> Outcome:
        outcome = await super().call(method, data)
        if self._kind == "text" and "no Workflows found" in outcome.details:
            return Outcome(code=outcome.code, details="no workflows found")
        if self._kind == "code" and outcome.code == "FAILED_PRECONDITION":
            return Outcome(code="UNAVAILABLE", details=outcome.details)
        if self._kind == "field" and method == "GetAction" and outcome.fields:
            # an empty text that is not sent reads the same as one that is
            return Outcome(code="OK", fields={k: v for k, v in outcome.fields.items() if v != ""})
        return outcome

    async def state(self) -> dict[str, object]:
        state = await super().state()
        if self._kind == "state":
            for workflow in state["workflows"].values():
                workflow["stop"] = None
        return state


@pytest.mark.parametrize("kind", ["text", "code", "field", "state"])
async def test_one_answer_that_is_wrong_is_found(kind: str) -> None:
    tally = Tally()
    async with sides(Wrong(kind)) as (theirs, ours):
        for number in range(0, 120, 8):
            await play(world_of(SEED, number), theirs, ours, tally)
    assert len(tally.differences) > 2


class Shy(Engine):
    """Does not find an agent's work the first times it is asked."""

    hidden = 2

    def next_action(self, agent_id: str) -> AgentOrder:
        if self.hidden:
            self.hidden -= 1
            raise Refused(Code.NOT_FOUND, "no Workflows found")
        return super().next_action(agent_id)


async def test_both_try_again_each_second_until_there_is_work() -> None:
    """Tinkerbell's server as its own program starts it, and this one's faithful profile."""
    objects = [
        object_of("Template", "t", {"data": json.dumps(TEMPLATE)}),
        object_of("Workflow", "w", {"templateRef": "t"}),
    ]
    catalog = Catalog()
    for each in objects:
        catalog.add(json.dumps(each), file=Path("w.json"))
    asked = pb.ActionRequest(agent_id=AGENTS[0]).SerializeToString()

    async def took_s(address: str) -> float:
        async with grpc.aio.insecure_channel(address) as channel:
            began_s = time.monotonic()
            rpc: Rpc = channel.unary_unary(f"{SERVICE}GetAction")
            assert pb.ActionResponse.FromString(await rpc(asked)).name == "a"
            return time.monotonic() - began_s

    async with real_tinkerbell() as real:
        await real.load(objects, NOW, hide=Shy.hidden)
        async with TinkServer(
            engine=Shy(job.run for job in catalog.jobs()),
            record=lambda name, **fields: None,
            port=0,
            profile=Profile.FAITHFUL,
        ) as ours:
            addresses = (real.patient, f"127.0.0.1:{ours.port}")
            both_s = await asyncio.gather(*(took_s(each) for each in addresses))
    # the first two tries find nothing, the third, two seconds after the first, does
    assert all(2.0 <= each < 3.0 for each in both_s), both_s
