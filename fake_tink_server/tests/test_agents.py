"""Protocol v2: the engine's answers, and the server's, with a grpc.aio client on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_tink_server.answers import AgentReport, Change, Code, Note, Refused
from fake_tink_server.desk import Pace
from fake_tink_server.engine import Engine
from fake_tink_server.proto import agent_pb2 as pb
from fake_tink_server.proto import workflow_pb2 as pb1
from fake_tink_server.server import TinkServer
from fake_tink_server.workflow import Action, BootOptions, Namespaces, State, Task, Workflow
from harness.timeline import Timeline, named

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
ID = "default/w"
KINDS = pb.ActionStatusRequest


def make(*tasks: tuple[str, list[str]], **other: Any) -> Workflow:
    built = [
        Task(
            name=f"t{number}",
            worker=worker,
            actions=[Action(name=name, image="i", timeout_s=100) for name in names],
        )
        for number, (worker, names) in enumerate(tasks)
    ]
    return Workflow(**{"name": "w", "global_timeout_s": 1000, "tasks": built, **other})


def started(*tasks: tuple[str, list[str]], **other: Any) -> tuple[Engine, Workflow]:
    engine = Engine([make(*tasks, **other)])
    engine.start(0.0)
    return engine, engine.workflows[ID]


def say(
    engine: Engine, name: str, state: State, now: float = 10.0, *, began: float | None = 10.0
) -> list[Note]:
    workflow = engine.workflows[ID]
    task, action = next((t, a) for t, a in workflow.actions if a.name == name)
    return engine.agent_report(
        AgentReport(
            workflow_id=ID,
            agent=task.worker,
            task_id=task.id,
            action_id=action.id,
            action=name,
            state=state,
            started_at_s=began,
        ),
        now,
    )


def refusal(engine: Engine, agent: str = A) -> tuple[Code, str]:
    with pytest.raises(Refused) as caught:
        engine.next_action(agent)
    return caught.value.code, caught.value.details


def test_two_agents_take_turns() -> None:
    engine, workflow = started((A, ["a1", "a2"]), (B, ["b1"]))
    assert engine.next_action(A).order.name == "a1"
    assert refusal(engine, B) == (Code.NOT_FOUND, "no Workflows found")
    say(engine, "a1", State.RUNNING)
    assert engine.next_action(A).order.name == "a1"  # once more, until it has ended
    say(engine, "a1", State.SUCCESS)
    assert engine.next_action(A).order.name == "a2"
    say(engine, "a2", State.RUNNING)
    say(engine, "a2", State.SUCCESS)
    # from here the workflow is B's
    assert refusal(engine, A) == (Code.NOT_FOUND, "no Workflows found")
    assert engine.next_action(B).order.name == "b1"
    say(engine, "b1", State.RUNNING)
    notes = say(engine, "b1", State.SUCCESS)
    assert [n.state for n in notes if isinstance(n, Change)] == [State.POST, State.SUCCESS]
    assert workflow.state is State.SUCCESS
    gone = (Code.FAILED_PRECONDITION, "Workflow not in pending or running state")
    assert refusal(engine, B) == gone


def test_an_agent_without_a_name_and_one_without_work() -> None:
    engine, _ = started((A, ["x"]))
    assert refusal(engine, "") == (Code.INVALID_ARGUMENT, "invalid Agent ID")
    assert refusal(engine, A.upper()) == (Code.NOT_FOUND, "no Workflows found")


def test_preparing_hides_the_work_until_the_bmc_is_done() -> None:
    engine, _ = started((A, ["x"]), boot=BootOptions(mode="netboot"), hardware="h")
    assert refusal(engine) == (Code.FAILED_PRECONDITION, "Workflow is in preparing state")
    engine.booted(ID, 1.0)
    assert engine.next_action(A).order.name == "x"


def test_a_finished_workflow_hides_a_pending_one() -> None:
    failed, waiting = make((A, ["x"])), make((A, ["y"]), name="later")
    engine = Engine([failed, waiting])
    engine.start(0.0)
    say(engine, "x", State.FAILED)
    for _ in range(5):
        assert refusal(engine)[1] == "Workflow not in pending or running state"
    # the real server looks in random order at each try, and so finds it at one of the next
    engine = Engine([failed, waiting], seed=1)
    found = 0
    for _ in range(40):
        try:
            found += engine.next_action(A).order.name == "y"
        except Refused:
            continue
    assert 5 < found < 35


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"workflow_id": ""}, (Code.INVALID_ARGUMENT, "invalid workflow id")),
        ({"task_id": ""}, (Code.INVALID_ARGUMENT, "invalid task name")),
        ({"action_id": ""}, (Code.INVALID_ARGUMENT, "invalid action name")),
        ({"action_id": "other"}, (Code.NOT_FOUND, "action not found")),
        ({"agent": B}, (Code.NOT_FOUND, "action not found")),
        (
            {"workflow_id": "default/none"},
            (
                Code.INTERNAL,
                "error reading from backend\nrpc error: code = Internal desc = error getting "
                "workflow: failed to get workflow default/none: "
                'Workflow.tinkerbell.org "none" not found',
            ),
        ),
    ],
)
def test_reports_that_are_refused(change: dict[str, str], expected: tuple[Code, str]) -> None:
    engine, workflow = started((A, ["x"]))
    fields: dict[str, Any] = {
        "workflow_id": ID,
        "agent": A,
        "task_id": "any",  # only that there is one is looked at
        "action_id": workflow.tasks[0].actions[0].id,
        "action": "x",
        "state": State.RUNNING,
    }
    engine.agent_report(AgentReport(**fields), 1.0)
    with pytest.raises(Refused) as caught:
        engine.agent_report(AgentReport(**{**fields, **change}), 1.0)
    assert (caught.value.code, caught.value.details) == expected


def test_any_action_may_be_reported_and_any_state() -> None:
    engine, workflow = started((A, ["x", "y"]))
    say(engine, "y", State.UNSPECIFIED)
    assert str(workflow.state) == "STATE_UNSPECIFIED"
    assert refusal(engine)[1] == "Workflow not in pending or running state"
    say(engine, "x", State.RUNNING)
    assert workflow.state is State.RUNNING
    say(engine, "x", State.FAILED)
    say(engine, "y", State.RUNNING)
    assert engine.next_action(A).order.name == "y"


def test_the_global_timeout_strikes_by_itself() -> None:
    engine, workflow = started((A, ["x"]), global_timeout_s=100)
    assert engine.next_wake_s is None
    say(engine, "x", State.RUNNING, 10.5, began=8.5)  # an agent's clock 2 s behind
    assert engine.next_wake_s == 113  # 10.5 + 100 + 2.5: 8.5 is stored as 8
    assert engine.tick(113.0) == []
    [change] = engine.tick(113.1)
    assert isinstance(change, Change)
    assert workflow.state is State.TIMEOUT
    assert workflow.tasks[0].actions[0].state is State.RUNNING  # the controller leaves it
    assert engine.next_wake_s is None


def test_no_global_timeout_is_one_that_has_passed() -> None:
    engine, workflow = started((A, ["x"]), global_timeout_s=0)
    say(engine, "x", State.RUNNING, 10.9, began=10.8)
    assert workflow.global_stop_s == 11
    assert len(engine.tick(11.1)) == 1


# -- the server


class Client:
    """The agent's calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def action(self, agent: str = A, **other: Any) -> pb.ActionResponse:
        request = pb.ActionRequest(agent_id=agent, **other).SerializeToString()
        return pb.ActionResponse.FromString(await self.send("GetAction", request))

    async def report(self, order: pb.ActionResponse, state: Any, **other: Any) -> bytes:
        message: Any = pb.ActionStatusRequest(
            workflow_id=order.workflow_id,
            agent_id=order.agent_id,
            task_id=order.task_id,
            action_id=order.action_id,
            action_name=order.name,
            action_state=state,
            **other,
        )
        return await self.send("ReportActionStatus", message.SerializeToString())

    async def send(self, rpc: str, request: bytes) -> bytes:
        call: Any = self._channel.unary_unary(f"/proto.WorkflowService/{rpc}")
        answer: bytes = await call(request)
        return answer


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(None)


@pytest.fixture
async def server(timeline: Timeline) -> AsyncIterator[TinkServer]:
    def record(name: str, /, **fields: Any) -> None:
        timeline.record("tink", name, **fields)

    workflow = make((A, ["one", "two"]))
    workflow.tasks[0].environment = {"B": "1", "A": "2"}
    workflow.tasks[0].actions[1].namespaces = Namespaces(network="host")
    pace = Pace(interval_s=0.02, limit_s=2.0)
    async with TinkServer(engine=Engine([workflow]), record=record, port=0, pace=pace) as server:
        yield server


@pytest.fixture
async def client(server: TinkServer) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Client(channel)


async def test_a_workflow_to_its_end(
    client: Client, server: TinkServer, timeline: Timeline
) -> None:
    order = await client.action(agent_attributes={"network": [{"mac": A}]})
    assert (order.workflow_id, order.name, order.agent_id) == (ID, "one", A)
    assert order.HasField("pid")
    assert not order.HasField("namespaces")
    assert list(order.environment) == ["A=2", "B=1"]
    always: dict[str, object] = {
        key: {} for key in ("cpu", "memory", "chassis", "bios", "baseboard", "product")
    }
    assert server.attributes == {A: {**always, "networkInterfaces": [{"mac": A}]}}
    await client.report(order, KINDS.RUNNING, execution_start={"seconds": 5})
    await client.report(
        order,
        KINDS.SUCCESS,
        execution_start={"seconds": 5},
        execution_stop={"seconds": 9},
        message={"message": "done"},
    )
    order = await client.action()
    assert (order.name, order.namespaces.network) == ("two", "host")
    await client.report(order, KINDS.RUNNING)
    await client.report(order, KINDS.SUCCESS)
    assert await server.wait_until_finished() == {ID: State.SUCCESS}
    reports = [
        (e["action"], e["state"], e["seconds"]) for e in named(timeline, "tink.action.reported")
    ]
    assert reports == [
        ("one", "STATE_RUNNING", 0),
        ("one", "STATE_SUCCESS", 4),
        ("two", "STATE_RUNNING", 0),
        ("two", "STATE_SUCCESS", 0),
    ]
    assert {e["protocol"] for e in named(timeline, "tink.rpc.received")} == {"v2"}


async def test_work_that_comes_while_the_server_tries_again(
    client: Client, server: TinkServer, timeline: Timeline
) -> None:
    asked = asyncio.gather(client.action(B))
    await timeline.wait_for(lambda event: event.name == "tink.rpc.received")
    server.engine.add(make((B, ["late"]), name="late"))
    server.engine.start(0.0)
    [order] = await asked
    assert order.name == "late"
    assert named(timeline, "tink.rpc.finished")[-1]["tries"] > 1


async def test_without_work_the_error_comes_when_the_patience_ends(timeline: Timeline) -> None:
    def record(name: str, /, **fields: Any) -> None:
        timeline.record("tink", name, **fields)

    pace = Pace(interval_s=0.05, limit_s=0.2)
    async with (
        TinkServer(engine=Engine(), record=record, port=0, pace=pace) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Client(channel).action()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no Workflows found"
    [finished] = named(timeline, "tink.rpc.finished")
    assert 0.1 < finished["duration_s"] < 0.25
    assert 2 < finished["tries"] <= 4


async def test_both_protocols_at_once(client: Client) -> None:
    """A v1 worker takes up what a v2 agent began: one engine, one state."""
    order = await client.action()
    await client.report(order, KINDS.SUCCESS, execution_start={"seconds": int(time.time())})
    message = pb1.WorkflowActionStatus(
        workflow_id=ID, task_name="t0", action_name="two", action_status=pb1.STATE_RUNNING
    )
    assert await client.send("ReportActionStatus", message.SerializeToString()) == b""
    assert (await client.action()).name == "two"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rpc=st.sampled_from(["GetAction", "ReportActionStatus", "GetWorkflowActions"]),
    request_=st.binary(max_size=60),
)
def test_any_bytes_are_answered(rpc: str, request_: bytes) -> None:
    async def ask() -> None:
        async with (
            TinkServer(
                engine=Engine([make((A, ["one"]))]),
                record=lambda name, /, **fields: None,
                port=0,
            ) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            client = Client(channel)
            try:
                await client.send(rpc, request_)
            except grpc.aio.AioRpcError as error:
                # UNKNOWN with grpc's own words would be an exception in a handler
                assert "Unexpected" not in str(error.details())  # noqa: PT017
            assert (await client.action()).name == "one"

    asyncio.run(ask())
