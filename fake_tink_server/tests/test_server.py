"""The server, with a grpc.aio client on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme

from fake_tink_server.engine import Engine
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.server import ServerTls, TinkServer
from fake_tink_server.workflow import Action, State, Task, Workflow
from harness.errors import SetupFailed
from harness.timeline import Timeline, named

MAC = "52:54:00:00:00:01"


def make_workflow(*names: str) -> Workflow:
    actions = [Action(name=name, image="print:v1", timeout_s=60) for name in names]
    return Workflow(
        name="hello",
        global_timeout_s=600,
        tasks=[Task(name="task", worker=MAC, actions=actions, environment={"B": "1", "A": "2"})],
    )


class Client:
    """The v1 worker's calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def contexts(self, worker: str) -> list[pb.WorkflowContext]:
        call: Any = self._channel.unary_stream(
            "/proto.WorkflowService/GetWorkflowContexts",
            request_serializer=pb.WorkflowContextRequest.SerializeToString,
            response_deserializer=pb.WorkflowContext.FromString,
        )(pb.WorkflowContextRequest(worker_id=worker))
        return [item async for item in call]

    async def actions(self, workflow: str) -> pb.WorkflowActionList:
        call: Any = self._channel.unary_unary(
            "/proto.WorkflowService/GetWorkflowActions",
            request_serializer=pb.WorkflowActionsRequest.SerializeToString,
            response_deserializer=pb.WorkflowActionList.FromString,
        )
        answer: pb.WorkflowActionList = await call(pb.WorkflowActionsRequest(workflow_id=workflow))
        return answer

    async def report(self, state: Any, action: str = "one", **other: Any) -> None:
        given = {"workflow_id": "default/hello", "task_name": "task", "worker_id": MAC, **other}
        message = pb.WorkflowActionStatus(action_name=action, action_status=state, **given)
        await self.send("ReportActionStatus", message.SerializeToString())

    async def send(self, rpc: str, request: bytes) -> None:
        call: Any = self._channel.unary_unary(f"/proto.WorkflowService/{rpc}")
        await call(request)


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(None)


@pytest.fixture
async def server(timeline: Timeline) -> AsyncIterator[TinkServer]:
    engine = Engine([make_workflow("one", "two")])

    def record(name: str, /, **fields: Any) -> None:
        timeline.record("tink", name, **fields)

    async with TinkServer(engine=engine, record=record, port=0) as server:
        yield server


@pytest.fixture
async def client(server: TinkServer) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Client(channel)


async def test_a_workflow_to_its_end(
    client: Client, server: TinkServer, timeline: Timeline
) -> None:
    [context] = await client.contexts(MAC)
    assert context == pb.WorkflowContext(
        workflow_id="default/hello",
        current_worker=MAC,
        current_task="task",
        current_action="one",
        current_action_index=0,
        current_action_state=pb.STATE_PENDING,
        total_number_of_actions=2,
    )
    orders = await client.actions("default/hello")
    assert [order.name for order in orders.action_list] == ["one", "two"]
    assert list(orders.action_list[0].environment) == ["A=2", "B=1"]
    await client.report(pb.STATE_RUNNING, "one")
    await client.report(pb.STATE_SUCCESS, "one")
    [context] = await client.contexts(MAC)
    assert (context.current_action, context.current_action_index) == ("two", 1)
    await client.report(pb.STATE_RUNNING, "two")
    await client.report(pb.STATE_SUCCESS, "two", seconds=3, message="done")
    assert await server.wait_until_finished() == {"default/hello": State.SUCCESS}
    assert await client.contexts(MAC) == []
    changes = [(e.get("before"), e["state"]) for e in named(timeline, "tink.workflow.changed")]
    assert changes == [
        (None, "STATE_PENDING"),
        ("STATE_PENDING", "STATE_RUNNING"),
        ("STATE_RUNNING", "STATE_POST"),
        ("STATE_POST", "STATE_SUCCESS"),
    ]
    last = named(timeline, "tink.action.reported")[-1]
    assert {k: last[k] for k in ("action", "state", "seconds", "message", "accepted")} == {
        "action": "two",
        "state": "STATE_SUCCESS",
        "seconds": 3,
        "message": "done",
        "accepted": True,
    }
    received = named(timeline, "tink.rpc.received")
    finished = named(timeline, "tink.rpc.finished")
    assert [e["id"] for e in received] == [e["id"] for e in finished] == list(range(1, 9))
    assert received[0]["peer"].startswith("127.0.0.1:")
    assert [e["workflows"] for e in named(timeline, "tink.contexts.sent")] == [
        ["default/hello"],
        ["default/hello"],
        [],
    ]


async def test_errors_are_the_real_servers(client: Client, timeline: Timeline) -> None:
    async def refusal(work: Any) -> tuple[str, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work
        return caught.value.code().name, caught.value.details() or ""

    bad = "INVALID_ARGUMENT"
    assert await refusal(client.contexts("")) == (bad, "invalid workflow id")
    assert await refusal(client.actions("")) == (bad, "invalid workflow id")
    assert await refusal(client.actions("default/other")) == (
        "UNKNOWN",
        'Workflow.tinkerbell.org "other" not found',
    )
    assert await refusal(client.report(1, workflow_id="x/y")) == (bad, "invalid workflow id")
    assert await refusal(client.report(1, task_name="")) == (bad, "invalid task name")
    assert await refusal(client.report(1, "")) == (bad, "invalid action name")
    assert await refusal(client.report(1, task_name="x")) == (
        bad,
        "reported task name does not match the current action details",
    )
    assert await refusal(client.report(1, "two")) == (
        bad,
        "reported action name does not match the current action details",
    )
    assert await refusal(client.report(0)) == (bad, "invalid workflow id")
    assert await refusal(client.report(99)) == (bad, "invalid workflow id")
    code, _ = await refusal(client.send("ReportActionStatus", b"\xff\xff\xff"))
    assert code == "INTERNAL"
    assert (await refusal(client.send("NoSuchCall", b"")))[0] == "UNIMPLEMENTED"
    refused = [e for e in named(timeline, "tink.rpc.finished") if e["code"] != "OK"]
    assert len(refused) == 11
    assert [e["accepted"] for e in named(timeline, "tink.action.reported")] == [False] * 7


async def test_a_taken_port_is_a_setup_failure(server: TinkServer) -> None:
    other = TinkServer(engine=Engine(), record=lambda *_a, **_k: None, port=server.port)
    with pytest.raises(SetupFailed, match=f"can't listen on 127.0.0.1:{server.port}"):
        await other.start()
    await other.stop()


@pytest.mark.parametrize("mutual", [False, True])
async def test_tls(mutual: bool) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("localhost")
    own = ca.issue_cert("worker")
    tls = ServerTls(
        certificate_chain=b"".join(blob.bytes() for blob in cert.cert_chain_pems),
        private_key=cert.private_key_pem.bytes(),
        client_ca=ca.cert_pem.bytes() if mutual else None,
    )
    engine = Engine([make_workflow("one")])
    events: list[tuple[str, dict[str, Any]]] = []

    def record(name: str, /, **fields: Any) -> None:
        events.append((name, fields))

    async with TinkServer(engine=engine, record=record, port=0, tls=tls) as server:
        assert events[0][1]["transport"] == "grpc+tls"
        credentials = grpc.ssl_channel_credentials(
            ca.cert_pem.bytes(),
            own.private_key_pem.bytes() if mutual else None,
            own.cert_chain_pems[0].bytes() if mutual else None,
        )
        async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
            assert len(await Client(channel).contexts(MAC)) == 1


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff" * 4096,
        b"",
    ],
)
async def test_noise_on_the_port_does_no_harm(
    server: TinkServer, client: Client, noise: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(noise)
    writer.write_eof()
    async with asyncio.timeout(10):
        await reader.read()
    writer.close()
    assert len(await client.contexts(MAC)) == 1


async def test_a_hundred_workers_at_once() -> None:
    flows = []
    for number in range(100):
        flow = make_workflow("one")
        flow.name, flow.tasks[0].worker = f"w{number}", f"worker-{number}"
        flows.append(flow)

    async def work(client: Client, number: int) -> None:
        worker = f"worker-{number}"
        [context] = await client.contexts(worker)
        assert context.workflow_id == f"default/w{number}"
        for state in (pb.STATE_RUNNING, pb.STATE_SUCCESS):
            await client.report(state, workflow_id=context.workflow_id, worker_id=worker)

    engine = Engine(flows)
    async with (
        TinkServer(engine=engine, record=lambda *_a, **_k: None, port=0) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        client = Client(channel)
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(work(client, number))
        assert set((await server.wait_until_finished()).values()) == {State.SUCCESS}
