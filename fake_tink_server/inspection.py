"""gRPC health and reflection: what a tool can ask a server about itself.

Both real tink-servers register reflection (v1 and v1alpha), neither registers health: that one is
an addition, for programs that wait for a server.

Reflection shows one ``proto.WorkflowService`` with the methods of both protocols. A method name
can have one description only, so ``ReportActionStatus`` is described with v2's messages; to report
as a v1 worker a tool needs ``workflow.proto``, which reflection hands out by that name too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from fake_tink_server.proto import health_pb2, reflection_pb2, service_pb2
from fake_tink_server.proto.health_pb2 import HealthCheckResponse
from fake_tink_server.proto.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

Context = grpc.aio.ServicerContext[bytes, bytes]

WORKFLOWS: Final = "proto.WorkflowService"
HEALTH: Final = "grpc.health.v1.Health"
REFLECTIONS: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
SERVICES: Final = (HEALTH, *REFLECTIONS, WORKFLOWS)

_NOT_FOUND: Final = 5


class Inspection:
    """Answers health checks and reflection."""

    def __init__(self) -> None:
        self._files = _files()
        self._symbols = {name: file for file in self._files.values() for name in _symbols(file)}

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return what a server has to be given."""
        health: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }
        reflect: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(self._reflect)
        }
        return [
            grpc.method_handlers_generic_handler(HEALTH, health),
            *(grpc.method_handlers_generic_handler(name, reflect) for name in REFLECTIONS),
        ]

    async def _check(self, request: bytes, context: Context) -> bytes:
        service = await _service(request, context)
        if service not in ("", *SERVICES):
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()

    async def _watch(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        known = await _service(request, context) in ("", *SERVICES)
        status = HealthCheckResponse.SERVING if known else HealthCheckResponse.SERVICE_UNKNOWN
        yield HealthCheckResponse(status=status).SerializeToString()
        # nothing changes while the server lives: until the client or the server goes
        await asyncio.get_running_loop().create_future()

    async def _reflect(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        sent: set[str] = set()
        async for request in requests:
            try:
                message = ServerReflectionRequest.FromString(request)
            except DecodeError:
                await context.abort(grpc.StatusCode.INTERNAL, "this is no reflection request")
                return
            yield self._answer(message, sent).SerializeToString()

    def _answer(self, request: ServerReflectionRequest, sent: set[str]) -> ServerReflectionResponse:
        answer = ServerReflectionResponse(valid_host=request.host, original_request=request)
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in SERVICES:
                    answer.list_services_response.service.add(name=name)
            case "file_by_filename":
                self._put(answer, self._files.get(request.file_by_filename), sent)
            case "file_containing_symbol":
                self._put(answer, self._symbols.get(request.file_containing_symbol), sent)
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                if name in self._symbols:
                    answer.all_extension_numbers_response.base_type_name = name
                else:
                    self._put(answer, None, sent)
            case "file_containing_extension":
                self._put(answer, None, sent)
            case _:
                answer.error_response.error_code = 3
                answer.error_response.error_message = "this asks for nothing"
        return answer

    def _put(
        self, answer: ServerReflectionResponse, file: FileDescriptorProto | None, sent: set[str]
    ) -> None:
        """Answer with ``file`` and what it imports, what was sent already left out."""
        if file is None:
            answer.error_response.error_code = _NOT_FOUND
            answer.error_response.error_message = "not found"
            return
        wanted, found = [file], list[FileDescriptorProto]()
        while wanted:
            each = wanted.pop(0)
            if each is file or each.name not in sent:
                found.append(each)
                sent.add(each.name)
                wanted += [self._files[name] for name in each.dependency if name not in sent]
        unique = {each.name: each.SerializeToString() for each in found}
        answer.file_descriptor_response.file_descriptor_proto.extend(unique.values())


async def _service(request: bytes, context: Context) -> str:
    try:
        return health_pb2.HealthCheckRequest.FromString(request).service
    except DecodeError:
        await context.abort(grpc.StatusCode.INTERNAL, "this is no health request")
        raise


def _files() -> Mapping[str, FileDescriptorProto]:
    """Return every file that reflection knows, by name."""
    found: dict[str, FileDescriptorProto] = {}

    def add(descriptor: FileDescriptor) -> None:
        file = FileDescriptorProto()
        descriptor.CopyToProto(file)
        found[file.name] = file
        for each in descriptor.dependencies:
            add(each)

    add(service_pb2.DESCRIPTOR)
    for service in (HEALTH, *REFLECTIONS):
        package = service.rpartition(".")[0]
        source = health_pb2 if service == HEALTH else reflection_pb2
        file = _renamed(source.DESCRIPTOR, package)
        found[file.name] = file
    return found


def _renamed(descriptor: FileDescriptor, package: str) -> FileDescriptorProto:
    """Return a file with its real package and path instead of ours."""
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    ours, real = f".{file.package}.", f".{package}."
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # set to nothing is not the same as unset
                field.type_name = field.type_name.replace(ours, real)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(ours, real)
            method.output_type = method.output_type.replace(ours, real)
    file.name = f"{package.replace('.', '/')}/{file.name}"
    file.package = package
    return file


def _symbols(file: FileDescriptorProto) -> Iterable[str]:
    prefix = f"{file.package}." if file.package else ""
    for message in file.message_type:
        yield prefix + message.name
        yield from (f"{prefix}{message.name}.{each.name}" for each in message.nested_type)
        yield from (f"{prefix}{message.name}.{each.name}" for each in message.enum_type)
    yield from (prefix + enum.name for enum in file.enum_type)
    for service in file.service:
        yield prefix + service.name
        yield from (f"{prefix}{service.name}.{method.name}" for method in service.method)
