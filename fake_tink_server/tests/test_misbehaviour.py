"""Each fault of single calls fires, and the same exchange without it passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server.conduct import Conduct, Goaway, Silence
from fake_tink_server.engine import Engine
from fake_tink_server.misbehaviour import conduct_of
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.seen import facts_of
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.test_server import MAC, Client, make_workflow
from fake_tink_server.workflow import State
from harness.certificates import Kind
from harness.faults import deeds as do
from harness.faults.plan import FaultPlan
from harness.faults.reading import FaultReader
from harness.timeline import Event, Timeline, named

ID = "default/hello"


def plan_of(timeline: Timeline, *texts: str) -> FaultPlan:
    faults = []
    for text in texts:
        reader = FaultReader(load(text))
        fault = reader.read()
        assert not reader.mistakes, reader.mistakes
        assert fault is not None
        faults.append(fault)

    def record(name: str, /, **fields: Any) -> Event:
        return timeline.record("faults", name, **fields)

    return FaultPlan(faults, record=record, now=timeline.clock.now)


def load(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


class Bench:
    """A server with faults, and a client of it."""

    def __init__(self) -> None:
        self.timeline = Timeline(None)
        self.server: TinkServer | None = None
        self.channel: grpc.aio.Channel | None = None

    async def serve(self, *faults: str) -> Client:
        def record(name: str, /, **fields: Any) -> Event:
            return self.timeline.record("tink", name, **fields)

        plan = plan_of(self.timeline, *faults)
        self.server = TinkServer(
            engine=Engine([make_workflow("one", "two")]),
            record=record,
            port=0,
            strike=plan.at("tink"),
            identify={"127.0.0.1": MAC}.get,
        )
        await self.server.start()
        plan.begin()
        return await self.connect()

    async def connect(self) -> Client:
        """Return a client on a connection of its own; the one before is closed."""
        assert self.server is not None
        if self.channel is not None:
            await self.channel.close()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}", options)
        return Client(self.channel)

    def reports(self) -> list[tuple[str, str, bool]]:
        return [
            (e["action"], e["state"].removeprefix("STATE_"), e["accepted"])
            for e in named(self.timeline, "tink.action.reported")
        ]

    def fired(self) -> list[str]:
        return [e["deed"] for e in named(self.timeline, "fault.fired")]

    @property
    def state(self) -> State:
        assert self.server is not None
        return self.server.engine.workflows[ID].state


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    if made.channel is not None:
        await made.channel.close()
    if made.server is not None:
        await made.server.stop()


async def refused(work: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await work
    return caught.value.code().name, caught.value.details() or ""


async def work_through(client: Client) -> None:
    assert len(await client.contexts(MAC)) == 1
    for name in ("one", "two"):
        await client.report(pb.STATE_RUNNING, name)
        await client.report(pb.STATE_SUCCESS, name)


async def test_a_plan_that_names_another_worker_changes_nothing(bench: Bench) -> None:
    client = await bench.serve("{at: tink, when: {worker: other}, do: drop}")
    await work_through(client)
    assert (bench.state, bench.fired()) == (State.SUCCESS, [])


async def test_latency(bench: Bench) -> None:
    client = await bench.serve(
        "{at: tink, when: {rpc: GetWorkflowContexts}, do: {delay: 50 ms}}",
        "{at: tink, when: {occasion: answer, rpc: GetWorkflowActions}, do: {delay: 50 ms}}",
    )
    loop = asyncio.get_running_loop()
    for call in (client.contexts(MAC), client.actions(ID)):
        began = loop.time()
        await call
        assert loop.time() - began >= 0.05
    assert bench.fired() == ["delay", "delay"]


async def test_a_status_instead_of_being_heard(bench: Bench) -> None:
    client = await bench.serve(
        "{at: tink, when: {state: RUNNING, nth: 1}, do: {status: {code: UNAVAILABLE, message: no}}}"
    )
    assert await refused(client.report(pb.STATE_RUNNING)) == ("UNAVAILABLE", "no")
    assert bench.reports() == []
    [finished] = named(bench.timeline, "tink.rpc.finished")
    assert (finished["code"], finished["details"]) == ("UNAVAILABLE", "no")
    await client.report(pb.STATE_RUNNING)
    assert bench.reports() == [("one", "RUNNING", True)]


async def test_heard_and_an_error_all_the_same(bench: Bench) -> None:
    client = await bench.serve(
        "{at: tink, when: {occasion: answer, rpc: ReportActionStatus, nth: 1}, do: {status: 14}}"
    )
    assert (await refused(client.report(pb.STATE_RUNNING)))[0] == "UNAVAILABLE"
    assert bench.reports() == [("one", "RUNNING", True)]


async def test_accepted_and_lost(bench: Bench) -> None:
    client = await bench.serve("{at: tink, when: {action: two, state: SUCCESS}, do: drop}")
    await work_through(client)
    assert bench.state is State.RUNNING
    assert bench.fired() == ["drop"]


async def test_empty_contexts(bench: Bench) -> None:
    client = await bench.serve("{at: tink, when: {rpc: GetWorkflowContexts, first: 2}, do: drop}")
    assert [len(await client.contexts(MAC)) for _ in range(3)] == [0, 0, 1]
    told = named(bench.timeline, "tink.contexts.sent")
    assert [(one["worker_id"], one["workflows"]) for one in told] == [
        (MAC, []), (MAC, []), (MAC, [ID])
    ]  # fmt: skip


async def test_calls_of_a_machine_are_counted_together_whatever_they_tell(bench: Bench) -> None:
    """GetWorkflowActions has no worker in it; who calls follows from the address."""
    client = await bench.serve("{at: tink, when: {rpc: Get*, first: 3}, do: {status: ABORTED}}")
    for call in (client.contexts(MAC), client.actions(ID), client.contexts(MAC)):
        assert (await refused(call))[0] == "ABORTED"
    assert len(await client.contexts(MAC)) == 1
    assert await client.actions(ID)


async def test_heard_twice(bench: Bench) -> None:
    client = await bench.serve("{at: tink, when: {action: one, state: SUCCESS}, do: duplicate}")
    await work_through(client)
    assert bench.reports()[1:3] == [("one", "SUCCESS", True), ("one", "SUCCESS", False)]
    assert bench.state is State.SUCCESS


async def test_heard_in_another_order(bench: Bench) -> None:
    client = await bench.serve("{at: tink, when: {action: one, state: RUNNING}, do: reorder}")
    await client.report(pb.STATE_RUNNING)
    assert bench.reports() == []
    await client.report(pb.STATE_SUCCESS)
    assert [state for _, state, _ in bench.reports()] == ["SUCCESS", "RUNNING"]


async def test_stale_state(bench: Bench) -> None:
    client = await bench.serve(
        "{at: tink, when: {rpc: GetWorkflowContexts, nth: 2}, do: {rollback: 4}}"
    )
    await work_through(client)
    assert len(bench.reports()) == 4
    [context] = await client.contexts(MAC)
    assert context.current_action == "one"
    assert bench.state is State.PENDING
    last = named(bench.timeline, "tink.workflow.changed")[-1]
    assert (last["before"], last["state"]) == ("STATE_SUCCESS", "STATE_PENDING")


@pytest.mark.parametrize("occasion", ["call", "answer"])
async def test_never_answered(bench: Bench, occasion: str) -> None:
    client = await bench.serve(
        f"{{at: tink, when: {{occasion: {occasion}, rpc: ReportActionStatus, nth: 1}}, do: stall}}"
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await client.report(pb.STATE_RUNNING)
    assert len(bench.reports()) == (occasion == "answer")
    assert len(named(bench.timeline, "tink.rpc.received")) == 1
    assert len(await client.contexts(MAC)) == 1


@pytest.mark.parametrize("occasion", ["call", "answer"])
@pytest.mark.parametrize("deed", ["cut", "reset", "close", "{goaway: 11}"])
async def test_what_breaks_a_call(bench: Bench, deed: str, occasion: str) -> None:
    client = await bench.serve(
        f"{{at: tink, when: {{occasion: {occasion}, rpc: ReportActionStatus, nth: 1}}, do: {deed}}}"
    )
    await client.contexts(MAC)
    code, _ = await refused(client.report(pb.STATE_RUNNING))
    assert code in ("CANCELLED", "UNAVAILABLE")
    assert len(bench.reports()) == (occasion == "answer")
    if deed != "cut":  # grpcio may still try the connection that is being torn down
        client = await bench.connect()
    await client.report(pb.STATE_RUNNING)
    opened = named(bench.timeline, "tink.connection.opened")
    assert len(opened) == (1 if deed == "cut" else 2)


async def test_connections_by_number(bench: Bench) -> None:
    client = await bench.serve("{at: tink, when: {occasion: connection, nth: 1}, do: reset}")
    assert (await refused(client.contexts(MAC)))[0] == "UNAVAILABLE"
    [failed] = named(bench.timeline, "tink.connection.failed")
    assert failed["reason"] == "reset by the server"
    [fired] = named(bench.timeline, "fault.fired")
    assert fired["facts"]["peer"] == failed["peer"]


def test_deeds_of_a_connection() -> None:
    assert conduct_of(()) == Conduct()
    assert conduct_of([do.Lifetime(seconds=3, ends="stall"), do.Close(at=5)]) == Conduct(
        stall_after_s=3, close_at=5
    )
    assert conduct_of([do.Silence(since="settings"), do.Speak(what="plaintext")]) == Conduct(
        silent_from=Silence.SETTINGS, tls=False
    )
    assert conduct_of([do.Certificate(kind="expired"), do.Stall(at=7)]) == Conduct(
        certificate=Kind.EXPIRED, stall_at=7
    )
    assert conduct_of([do.Goaway(code=11, debug="x", seconds=2.0)]).goaway == Goaway(
        after_s=2.0, code=11, debug="x"
    )


def test_facts() -> None:
    v1 = pb.WorkflowActionStatus(
        workflow_id="w",
        task_name="t",
        action_name="a",
        action_status=pb.STATE_SUCCESS,
        worker_id="m",
    ).SerializeToString()
    assert facts_of("ReportActionStatus", v1) == {
        "protocol": "v1",
        "workflow": "w",
        "worker": "m",
        "action": "a",
        "state": "SUCCESS",
    }
    v2 = b"\x0a\x01w\x12\x01m\x1a\x01t\x22\x01i\x2a\x01a\x30\x02"
    assert facts_of("ReportActionStatus", v2) == {
        "protocol": "v2",
        "workflow": "w",
        "worker": "m",
        "action": "a",
        "state": "RUNNING",
    }


@given(st.sampled_from(["ReportActionStatus", "GetAction", "X"]), st.binary(max_size=60))
def test_any_bytes_have_facts(rpc: str, request: bytes) -> None:
    assert isinstance(facts_of(rpc, request), dict)
