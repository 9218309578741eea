"""The handlers of tink-worker's protocol: bytes in, bytes out."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fake_tink_server import codec
from fake_tink_server.answers import Note, Report
from fake_tink_server.calls import Call, Context
from fake_tink_server.desk import Desk
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.protocol import Protocol


class WorkerProtocol:
    """GetWorkflowContexts, GetWorkflowActions and v1's ReportActionStatus."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def contexts(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Stream a context for each workflow that waits for the worker."""
        desk = self._desk
        call = desk.call("GetWorkflowContexts", Protocol.V1, context)
        message = await call.parse(pb.WorkflowContextRequest, request, stream=True)
        call.worker = message.worker_id
        call.received()
        contexts = await call.answer(lambda: desk.engine.contexts_for(call.worker))
        answers = [codec.encode_context(item).SerializeToString() for item in contexts]
        for answer in answers:
            yield answer
        desk.record(
            "tink.contexts.sent",
            id=call.id,
            worker_id=call.worker,
            workflows=[item.workflow_id for item in contexts],
        )
        call.finished()

    async def actions(self, request: bytes, context: Context) -> bytes:
        """Answer with every action of a workflow."""
        desk = self._desk
        call = desk.call("GetWorkflowActions", Protocol.V1, context)
        message = await call.parse(pb.WorkflowActionsRequest, request)
        call.workflow = message.workflow_id
        call.received()
        orders = await call.answer(lambda: desk.engine.actions(call.workflow))
        desk.record(
            "tink.actions.sent",
            id=call.id,
            workflow_id=call.workflow,
            actions=[order.name for order in orders],
            timeouts_s=[order.timeout_s for order in orders],
        )
        call.finished()
        return codec.encode_actions(orders).SerializeToString()

    async def report(self, request: bytes, context: Context) -> bytes:
        """Hear what became of an action."""
        desk = self._desk
        call = desk.call("ReportActionStatus", Protocol.V1, context)
        message = await call.parse(pb.WorkflowActionStatus, request)
        said = codec.decode_report(message)
        call.worker, call.workflow = said.worker, said.workflow_id
        call.task, call.action = said.task, said.action
        call.state = said.state.short if said.state else str(int(message.action_status))
        call.received()
        desk.publish(await call.answer(lambda: self._hear(call, said)))
        call.finished()
        return pb.Empty().SerializeToString()

    def _hear(self, call: Call, said: Report) -> list[Note]:
        accepted = False
        try:
            notes = self._desk.engine.report(said, self._desk.wall())
            accepted = True
            return notes
        finally:
            call.reported(accepted=accepted, seconds=said.seconds, message=said.message)
