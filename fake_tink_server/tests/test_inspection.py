"""Health and reflection, asked as grpcurl asks: list, describe, call what was described."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from fake_tink_server.engine import Engine
from fake_tink_server.inspection import HEALTH, REFLECTIONS, WORKFLOWS
from fake_tink_server.proto.health_pb2 import HealthCheckRequest, HealthCheckResponse
from fake_tink_server.proto.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.test_agents import A, make


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    def record(_name: str, /, **_fields: Any) -> None:
        return

    server = TinkServer(engine=Engine([make((A, ["one"]))]), record=record, port=0)
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def ask(channel: grpc.aio.Channel, service: str, *requests: Any) -> list[Any]:
    call: Any = channel.stream_stream(f"/{service}/ServerReflectionInfo")
    answers = call([ServerReflectionRequest(**each).SerializeToString() for each in requests])
    return [ServerReflectionResponse.FromString(each) async for each in answers]


@pytest.mark.parametrize("reflection", REFLECTIONS)
async def test_listing_and_calling_what_is_described(
    channel: grpc.aio.Channel, reflection: str
) -> None:
    [listed] = await ask(channel, reflection, {"list_services": "*"})
    names = [service.name for service in listed.list_services_response.service]
    assert names == [HEALTH, *REFLECTIONS, WORKFLOWS]
    pool = DescriptorPool()
    for name in names:
        [answer] = await ask(channel, reflection, {"file_containing_symbol": name})
        files = [
            FileDescriptorProto.FromString(each)
            for each in answer.file_descriptor_response.file_descriptor_proto
        ]
        for file in reversed(files):
            pool.AddSerializedFile(file.SerializeToString())
        assert pool.FindServiceByName(name).full_name == name
    service = pool.FindServiceByName(WORKFLOWS)
    assert sorted(method.name for method in service.methods) == [
        "GetAction", "GetWorkflowActions", "GetWorkflowContexts", "ReportActionStatus",
    ]  # fmt: skip
    method = service.FindMethodByName("GetAction")
    request = GetMessageClass(method.input_type)(agent_id=A)
    call: Any = channel.unary_unary(f"/{WORKFLOWS}/GetAction")
    answer = GetMessageClass(method.output_type).FromString(await call(request.SerializeToString()))
    assert getattr(answer, "name") == "one"  # noqa: B009 - a class made at run time


async def test_a_file_is_sent_once_a_stream_and_what_is_not_there_is_not_found(
    channel: grpc.aio.Channel,
) -> None:
    first, again, by_name, wrong, nothing = await ask(
        channel,
        REFLECTIONS[0],
        {"file_containing_symbol": "proto.WorkflowService.GetAction"},
        {"file_containing_symbol": "proto.ActionRequest"},
        {"file_by_filename": "workflow.proto"},
        {"file_containing_symbol": "proto.None"},
        {},
    )
    assert len(first.file_descriptor_response.file_descriptor_proto) == 4
    assert len(again.file_descriptor_response.file_descriptor_proto) == 1
    assert len(by_name.file_descriptor_response.file_descriptor_proto) == 1
    assert (wrong.error_response.error_code, nothing.error_response.error_code) == (5, 3)


async def test_health(channel: grpc.aio.Channel) -> None:
    check: Any = channel.unary_unary(f"/{HEALTH}/Check")
    for service in ("", WORKFLOWS):
        answer = await check(HealthCheckRequest(service=service).SerializeToString())
        assert HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await check(HealthCheckRequest(service="none").SerializeToString())
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch: Any = channel.unary_stream(f"/{HEALTH}/Watch")
    call = watch(HealthCheckRequest().SerializeToString())
    answer = await call.read()
    assert HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING
    call.cancel()
