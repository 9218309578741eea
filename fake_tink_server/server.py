"""The gRPC server: a thin grpc.aio shell around the engine.

Handlers are generic and see bytes: protocol v2 has a ``ReportActionStatus`` of the same full name
with other messages, and only the bytes tell the two apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from fake_tink_server import codec
from fake_tink_server.conduct import Decide
from fake_tink_server.engine import AllowPxe, Code, Engine, Note, Refused, Report
from fake_tink_server.front import Front, Issue
from fake_tink_server.misbehaviour import Misbehaviour, Stream, Unary
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.workflow import TERMINAL, State
from harness.certificates import Certificate
from harness.errors import SetupFailed
from harness.faults.plan import Strike, no_strike

Record = Callable[..., object]
"""Called as ``record(name, **fields)`` with a name of ``harness.events.EVENTS``."""

Context = grpc.aio.ServicerContext[bytes, bytes]
T = TypeVar("T")

SERVICE: Final = "proto.WorkflowService"
DEFAULT_PORT: Final = 42113

_OPTIONS: Final = (
    # two labs on one port must be an error, not a lottery
    ("grpc.so_reuseport", 0),
    # Go clients may ping; without these the answer is GOAWAY "too_many_pings"
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)
_CODES: Final = {
    Code.UNKNOWN: grpc.StatusCode.UNKNOWN,
    Code.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """What the server shows and asks for, as PEM."""

    certificate_chain: bytes
    private_key: bytes
    client_ca: bytes | None = None
    """When given, clients must show a certificate that this CA signed."""


class TinkServer:
    """Serves an engine's workflows to workers."""

    name = "tink"

    def __init__(
        self,
        *,
        engine: Engine,
        record: Record,
        bind: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        tls: ServerTls | None = None,
        allow_pxe: Callable[[str, bool], None] | None = None,
        wall: Callable[[], float] = time.time,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        decide: Decide | None = None,
        issue: Issue | None = None,
        strike: Strike | None = None,
        identify: Callable[[str], str | None] = lambda address: None,
    ) -> None:
        """Prepare to listen on ``bind``:``port`` (0: any free port).

        ``allow_pxe`` is called with a Hardware's name when the controller would toggle its
        ``allowPXE``; ``wall`` gives seconds since the epoch. ``interceptors`` see every call first.
        ``decide`` says how each connection is to misbehave, and ``issue`` makes the wrong
        certificates for that. ``strike`` decides for calls as well, and for connections instead
        of ``decide``; ``identify`` tells it the MAC of a client's address.
        """
        self.engine = engine
        self.port = port
        self._bind = bind
        self._record = record
        self._tls = tls
        self._allow_pxe = allow_pxe
        self._wall = wall
        self._interceptors = tuple(interceptors)
        self._server: grpc.aio.Server | None = None
        self._front: Front | None = None
        self._decide = decide
        self._issue = issue
        self._misbehaviour: Misbehaviour | None = None
        if strike is not None and strike is not no_strike:
            self._misbehaviour = Misbehaviour(
                strike,
                record=record,
                workflows=lambda: self.engine.workflows,
                relay_of=lambda peer: self._front.relay_of(peer) if self._front else None,
                peer_of=lambda peer: self._front.peer_of(peer) if self._front else peer,
                tls=tls is not None,
                number=self._number,
                identify=identify,
            )
            self._decide = self._misbehaviour.decide
        self._calls = 0
        self._moved = asyncio.Event()

    async def start(self) -> None:
        """Listen, and let the controller bring new workflows to PENDING.

        Raises ``SetupFailed`` when the port can't be had or the certificate is none.
        """
        front = self._make_front()
        server = grpc.aio.server(interceptors=self._interceptors, options=_OPTIONS)
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            server.add_insecure_port(f"unix-abstract:{front.inner}")
        except RuntimeError as error:
            raise SetupFailed(f"the Tinkerbell server can't listen: {error}") from error
        await server.start()
        try:
            await front.start()
        except SetupFailed:
            await server.stop(0)
            raise
        port = front.port
        self.port, self._server, self._front = port, server, front
        self._record(
            "service.started",
            service=self.name,
            address=self._bind,
            port=port,
            transport="grpc+tls" if self._tls else "grpc",
        )
        self._publish(self.engine.start(self._wall()))

    async def stop(self) -> None:
        """Close every connection. Idempotent; takes no longer than a second."""
        server, self._server = self._server, None
        front, self._front = self._front, None
        if server is not None and front is not None:
            await server.stop(0)
            await front.stop()
            self._record("service.stopped", service=self.name)

    async def __aenter__(self) -> TinkServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def wait_until_finished(self, workflow_id: str | None = None) -> dict[str, State]:
        """Return the workflows' states as soon as all (or the one named) are terminal.

        Has no deadline of its own. Raises ``KeyError`` for an unknown workflow.
        """
        known = self.engine.workflows
        wanted = [known[workflow_id]] if workflow_id else list(known.values())
        while any(workflow.state not in TERMINAL for workflow in wanted):
            self._moved.clear()
            await self._moved.wait()
        return {workflow.id: workflow.state for workflow in wanted}

    def _publish(self, notes: list[Note]) -> None:
        for note in notes:
            if isinstance(note, AllowPxe):
                if self._allow_pxe is not None:
                    self._allow_pxe(note.hardware, note.allow)
                continue
            self._record(
                "tink.workflow.changed",
                workflow_id=note.workflow_id,
                state=str(note.state),
                before=str(note.before) or None,
            )
            self._moved.set()

    def _handlers(self) -> grpc.GenericRpcHandler:
        methods = {
            "GetWorkflowContexts": self._streamed("GetWorkflowContexts", self._contexts),
            "GetWorkflowActions": self._single("GetWorkflowActions", self._actions),
            "ReportActionStatus": self._single("ReportActionStatus", self._report),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _single(self, rpc: str, handler: Unary) -> grpc.RpcMethodHandler[bytes, bytes]:
        if self._misbehaviour is not None:
            handler = self._misbehaviour.unary(rpc, handler)
        return grpc.unary_unary_rpc_method_handler(handler)

    def _streamed(self, rpc: str, handler: Stream) -> grpc.RpcMethodHandler[bytes, bytes]:
        if self._misbehaviour is not None:
            handler = self._misbehaviour.stream(rpc, handler)
        return grpc.unary_stream_rpc_method_handler(handler)

    def _number(self) -> int:
        self._calls += 1
        return self._calls

    async def _contexts(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        call = self._call("GetWorkflowContexts", context)
        message = await call.parse(pb.WorkflowContextRequest, request)
        worker = message.worker_id
        call.received(worker_id=worker)
        contexts = await call.answer(lambda: self.engine.contexts_for(worker))
        for item in contexts:
            yield codec.encode_context(item).SerializeToString()
        self._record(
            "tink.contexts.sent",
            id=call.id,
            worker_id=worker,
            workflows=[item.workflow_id for item in contexts],
        )
        call.finished()

    async def _actions(self, request: bytes, context: Context) -> bytes:
        call = self._call("GetWorkflowActions", context)
        message = await call.parse(pb.WorkflowActionsRequest, request)
        call.received(workflow_id=message.workflow_id)
        orders = await call.answer(lambda: self.engine.actions(message.workflow_id))
        self._record(
            "tink.actions.sent",
            id=call.id,
            workflow_id=message.workflow_id,
            actions=[order.name for order in orders],
        )
        call.finished()
        return codec.encode_actions(orders).SerializeToString()

    async def _report(self, request: bytes, context: Context) -> bytes:
        call = self._call("ReportActionStatus", context)
        message = await call.parse(pb.WorkflowActionStatus, request)
        report = codec.decode_report(message)
        call.received(worker_id=report.worker, workflow_id=report.workflow_id)
        notes = await call.answer(lambda: self._hear(report, call.id, int(message.action_status)))
        self._publish(notes)
        call.finished()
        return pb.Empty().SerializeToString()

    def _hear(self, report: Report, call_id: int, number: int) -> list[Note]:
        accepted = False
        try:
            notes = self.engine.report(report, self._wall())
            accepted = True
            return notes
        finally:
            self._record(
                "tink.action.reported",
                id=call_id,
                workflow_id=report.workflow_id,
                worker_id=report.worker,
                task=report.task,
                action=report.action,
                state=str(report.state) if report.state else f"STATE_{number}",
                seconds=report.seconds,
                message=report.message,
                accepted=accepted,
            )

    def _call(self, rpc: str, context: Context) -> _Call:
        self._calls += 1
        peer = self._front.peer_of(context.peer()) if self._front else context.peer()
        return _Call(self._calls, rpc, context, self._record, peer)

    def _make_front(self) -> Front:
        tls, certificate = self._tls, None
        if tls is not None:
            certificate = Certificate(chain=tls.certificate_chain, key=tls.private_key)
        return Front(
            bind=self._bind,
            port=self.port,
            record=self._record,
            certificate=certificate,
            client_ca=tls.client_ca if tls else None,
            decide=self._decide,
            issue=self._issue,
        )


class _Call:
    """One RPC: its number, its events, its errors."""

    def __init__(self, number: int, rpc: str, context: Context, record: Record, peer: str) -> None:
        self._peer = peer
        self.id = number
        self._rpc = rpc
        self._context = context
        self._record = record
        self._began_s = time.monotonic()

    async def parse(self, kind: Callable[[], Any], request: bytes) -> Any:
        """Return ``request`` as a message, or end the call as grpc-go ends it."""
        from google.protobuf.message import DecodeError

        message = kind()
        try:
            message.ParseFromString(request)
        except DecodeError as error:
            self.received()
            await self._abort(grpc.StatusCode.INTERNAL, f"grpc: error unmarshalling: {error}")
        return message

    def received(self, worker_id: str | None = None, workflow_id: str | None = None) -> None:
        self._record(
            "tink.rpc.received",
            id=self.id,
            rpc=self._rpc,
            worker_id=worker_id,
            workflow_id=workflow_id,
            peer=self._peer,
        )

    async def answer(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; end the call when it is refused."""
        try:
            return work()
        except Refused as refused:
            await self._abort(_CODES[refused.code], refused.details)
            raise

    def finished(self, code: grpc.StatusCode = grpc.StatusCode.OK, details: str = "") -> None:
        self._record(
            "tink.rpc.finished",
            id=self.id,
            rpc=self._rpc,
            code=code.name,
            details=details or None,
            duration_s=round(time.monotonic() - self._began_s, 6),
        )

    async def _abort(self, code: grpc.StatusCode, details: str) -> None:
        self.finished(code, details)
        await self._context.abort(code, details)
