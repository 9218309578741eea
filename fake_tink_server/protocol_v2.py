"""The handlers of tink-agent's protocol: bytes in, bytes out."""

from __future__ import annotations

from typing import Any

from fake_tink_server import codec
from fake_tink_server.answers import AgentOrder, AgentReport, Note
from fake_tink_server.attributes import attributes_of
from fake_tink_server.calls import Call, Context
from fake_tink_server.desk import Desk
from fake_tink_server.proto import agent_pb2 as pb
from fake_tink_server.protocol import Protocol


class AgentProtocol:
    """GetAction and v2's ReportActionStatus."""

    def __init__(self, desk: Desk, *, image_prefix: str = "") -> None:
        """``image_prefix`` is put in front of every action's image."""
        self._desk = desk
        self._image_prefix = image_prefix
        self.attributes: dict[str, dict[str, Any]] = {}
        """What each agent said last of the machine it runs on, by the agent's id."""

    async def get_action(self, request: bytes, context: Context) -> bytes:
        """Answer with the agent's next action."""
        desk = self._desk
        call = desk.call("GetAction", Protocol.V2, context)
        message = await call.parse(pb.ActionRequest, request)
        call.worker = message.agent_id
        call.received()
        attributes = self._note_attributes(call, message)

        def attend() -> AgentOrder:
            engine = desk.engine
            self._publish(engine.discover(call.worker, attributes))
            self._publish(engine.enroll(call.worker, attributes, desk.wall()))
            return engine.next_action(call.worker)

        found = await desk.patiently(call, attend)
        call.workflow, call.action = found.workflow_id, found.order.name
        call.task = found.order.task
        desk.publish(desk.engine.look(found.workflow_id, desk.wall()))
        desk.record(
            "tink.action.sent",
            id=call.id,
            worker_id=call.worker,
            workflow_id=found.workflow_id,
            task=call.task,
            action=call.action,
            timeout_s=found.order.timeout_s,
        )
        call.finished()
        answer = codec.encode_agent_order(found)
        answer.image = self._image_prefix + answer.image
        return answer.SerializeToString()

    async def report(self, request: bytes, context: Context) -> bytes:
        """Hear what became of an action."""
        desk = self._desk
        call = desk.call("ReportActionStatus", Protocol.V2, context)
        message = await call.parse(pb.ActionStatusRequest, request)
        said = codec.decode_agent_report(message)
        call.worker, call.workflow = said.agent, said.workflow_id
        call.task, call.action = self._task_name(said), said.action
        call.state = said.state.short
        call.received()
        desk.publish(await desk.patiently(call, lambda: self._hear(call, said)))
        call.finished()
        return pb.ActionStatusResponse().SerializeToString()

    def _hear(self, call: Call, said: AgentReport) -> list[Note]:
        accepted = False
        try:
            notes = self._desk.engine.agent_report(said, self._desk.wall())
            accepted = True
            return notes
        finally:
            if accepted or call.tries == 1:  # not once more for each of the server's own tries
                seconds = self._seconds(said)
                call.reported(accepted=accepted, seconds=seconds, message=said.message)

    def _seconds(self, said: AgentReport) -> int:
        workflow = self._desk.engine.workflows.get(said.workflow_id)
        actions = [action for _, action in workflow.actions] if workflow else []
        return next((each.seconds for each in actions if each.id == said.action_id), 0)

    def _task_name(self, said: AgentReport) -> str:
        workflow = self._desk.engine.workflows.get(said.workflow_id)
        tasks = workflow.tasks if workflow else []
        return next((task.name for task in tasks if task.id == said.task_id), said.task_id)

    def _publish(self, notes: list[Note]) -> None:
        if notes:  # each publication writes the state file
            self._desk.publish(notes)

    def _note_attributes(self, call: Call, message: pb.ActionRequest) -> dict[str, Any] | None:
        if not message.HasField("agent_attributes"):
            return None
        found = attributes_of(message.agent_attributes)
        if self.attributes.get(call.worker) != found:
            self.attributes[call.worker] = found
            self._desk.record("tink.agent.described", worker_id=call.worker, attributes=found)
        return found
