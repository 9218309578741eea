"""Playing a conversation on both servers, and what they then differ in."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import grpc
import grpc.aio
from google.protobuf.json_format import MessageToDict

from fake_tink_server.answers import AllowPxe, Note
from fake_tink_server.catalog import Catalog
from fake_tink_server.engine import Engine
from fake_tink_server.proto import agent_pb2 as pb
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.tinkerbell.real import RealTinkerbell
from fake_tink_server.tests.tinkerbell.worlds import (
    NOW,
    Advance,
    Ask,
    BmcDone,
    Raw,
    Ref,
    Say,
    Step,
    World,
)
from fake_tink_server.workflow import Action, State, Workflow

Rpc: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
SERVICE = "/proto.WorkflowService/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a call came to."""

    code: str
    details: str = ""
    fields: dict[str, Any] | None = None
    """Of the response, as JSON has them; ids of tasks and actions by their places."""


@dataclass(slots=True)
class Ids:
    """The ids that one server drew: by place, and back."""

    of: dict[Ref, str] = field(default_factory=dict)

    def place(self, text: str) -> str:
        """Return an id as ``task 0``, ``action 0.1``; what is none of them as it is."""
        for ref, known in self.of.items():
            if known == text:
                where = f"{ref.workflow} task {ref.task}"
                return where if ref.action is None else f"{where} action {ref.action}"
        return text


class Side(Protocol):
    """One of the two servers."""

    ids: Ids

    async def load(self, world: World) -> None: ...
    async def call(self, method: str, data: bytes) -> Outcome: ...
    async def advance(self, seconds: float) -> None: ...
    async def bmc(self) -> None: ...
    async def state(self) -> dict[str, Any]: ...


async def called(channel: grpc.aio.Channel, method: str, data: bytes, ids: Ids) -> Outcome:
    """Make a call with bytes; return what came."""
    rpc: Rpc = channel.unary_unary(SERVICE + method)
    try:
        answer = await rpc(data)
    except grpc.aio.AioRpcError as error:
        # Go's protobuf writes a no-break space now and then, lest anyone compares its errors
        details = (error.details() or "").replace("\xa0", " ")
        return Outcome(code=error.code().name, details=details)
    kind = pb.ActionResponse if method == "GetAction" else pb.ActionStatusResponse
    fields = MessageToDict(kind.FromString(answer), preserving_proto_field_name=True)
    for key in ("task_id", "action_id"):
        if key in fields:
            fields[key] = ids.place(fields[key])
    return Outcome(code="OK", fields=fields)


class RealSide:
    """Tinkerbell's own."""

    def __init__(self, real: RealTinkerbell) -> None:
        self._real = real
        self._channel = grpc.aio.insecure_channel(real.once)
        self.ids = Ids()
        self._told: dict[str, Any] = {}

    async def load(self, world: World) -> None:
        self._told = await self._real.load(world.objects, NOW)
        self.ids = Ids()
        for workflow in self._told["workflows"] or ():
            name = workflow["metadata"]["name"]
            for t, task in enumerate(workflow["status"].get("tasks") or ()):
                self.ids.of[Ref(name, t)] = task["id"]
                for a, action in enumerate(task["actions"]):
                    self.ids.of[Ref(name, t, a)] = action["id"]

    async def call(self, method: str, data: bytes) -> Outcome:
        return await called(self._channel, method, data, self.ids)

    async def advance(self, seconds: float) -> None:
        await self._real.command("advance", seconds=seconds)

    async def bmc(self) -> None:
        await self._real.command("bmc")

    async def state(self) -> dict[str, Any]:
        told = await self._real.command("state")
        return {
            "workflows": {
                each["metadata"]["name"]: self._workflow(each["status"])
                for each in told["workflows"] or ()
            },
            "allow_pxe": {
                each["metadata"]["name"]: [
                    interface.get("netboot", {}).get("allowPXE", False)
                    for interface in each["spec"]["interfaces"]
                ]
                for each in told["hardware"] or ()
            },
        }

    def _workflow(self, status: Mapping[str, Any]) -> dict[str, Any]:
        here = status.get("currentState")
        stop = status.get("globalExecutionStop")
        return {
            "state": _state(status.get("state", "")),
            "agent": status.get("agentID", ""),
            "stop": _seconds(stop) if stop else None,
            "current": here and _current(
                here.get("agentID", ""), self.ids.place(here.get("taskID", "")),
                self.ids.place(here.get("actionID", "")), _state(here.get("state", "")),
            ),
            "actions": [
                [self._action(action) for action in task["actions"]]
                for task in status.get("tasks") or ()
            ],
        }  # fmt: skip

    def _action(self, action: Mapping[str, Any]) -> dict[str, Any]:
        start, stop = action.get("executionStart"), action.get("executionStop")
        seconds = _seconds(stop) - _seconds(start) if start and stop and _seconds(stop) > 0 else 0
        return _action(
            _state(action["state"]),
            _seconds(start) if start else None,
            max(0, seconds),
            action.get("executionDuration", ""),
            action.get("message", ""),
        )

    async def close(self) -> None:
        await self._channel.close()


def _state(text: str) -> str:
    """A number that is no state is kept as its digits by Go, and as UNSPECIFIED here."""
    return "UNSPECIFIED" if text.isdigit() else text


def _current(agent: str, task: str, action: str, state: str) -> dict[str, str]:
    return {"agent": agent, "task": task, "action": action, "state": state}


def _action(
    state: str, started: int | None, seconds: int, duration: str, message: str
) -> dict[str, Any]:
    return {
        "state": state,
        "started": started,
        "seconds": seconds,
        "duration": duration,
        "message": message,
    }


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _read(world: World) -> tuple[list[Workflow], dict[str, list[bool]]]:
    """Return the workflows of a world, and ``allowPXE`` of its machines' interfaces."""
    catalog = Catalog()
    for each in world.objects:
        catalog.add(json.dumps(each), file=Path(f"{world.cluster}.json"))
    allow = {
        name: [
            bool(interface.netboot and interface.netboot.allow_pxe)
            for interface in loaded.object.spec.interfaces
        ]
        for (_, name), loaded in catalog.hardware.items()
    }
    return [job.run for job in catalog.jobs(disabled=True)], allow


class OurSide:
    """This server, whose clock stands still unless it is moved."""

    def __init__(self) -> None:
        self.now_s = float(NOW)
        self.ids = Ids()
        self._allow: dict[str, list[bool]] = {}
        self._loaded: tuple[int, list[Workflow], dict[str, list[bool]]] | None = None
        self._server = TinkServer(
            engine=Engine(),
            record=lambda name, **fields: None,
            port=0,
            wall=lambda: self.now_s,
            allow_pxe=self._set_allow,
        )
        self._channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        await self._server.start()
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._server.port}")

    async def close(self) -> None:
        assert self._channel is not None
        await self._channel.close()
        await self._server.stop()

    def _set_allow(self, name: str, allow: bool) -> None:
        self._allow[name] = [allow for _ in self._allow[name]]

    def _heed(self, notes: list[Note]) -> None:
        for note in notes:
            if isinstance(note, AllowPxe):
                self._set_allow(note.hardware, note.allow)

    async def load(self, world: World) -> None:
        if self._loaded is None or self._loaded[0] != world.cluster:
            self._loaded = (world.cluster, *_read(world))
        _, runs, allow = self._loaded
        self._allow = copy.deepcopy(allow)
        self.now_s = float(NOW)
        engine = Engine(copy.deepcopy(runs))
        self._server.engine = engine
        self._heed(engine.start(self.now_s))
        self.ids = Ids()
        for workflow in engine.workflows.values():
            if workflow.state is State.NEW:
                continue
            for t, task in enumerate(workflow.tasks):
                self.ids.of[Ref(workflow.name, t)] = task.id
                for a, action in enumerate(task.actions):
                    self.ids.of[Ref(workflow.name, t, a)] = action.id

    async def call(self, method: str, data: bytes) -> Outcome:
        assert self._channel is not None
        return await called(self._channel, method, data, self.ids)

    async def advance(self, seconds: float) -> None:
        self.now_s += seconds
        self._heed(self._server.engine.tick(self.now_s))

    async def bmc(self) -> None:
        engine = self._server.engine
        for workflow in engine.workflows:
            self._heed(engine.booted(workflow, self.now_s))

    async def state(self) -> dict[str, Any]:
        return {
            "workflows": {
                each.name: self._workflow(each) for each in self._server.engine.workflows.values()
            },
            "allow_pxe": dict(self._allow),
        }

    def _workflow(self, workflow: Workflow) -> dict[str, Any]:
        here = workflow.current_state
        return {
            "state": workflow.state.short,
            "agent": workflow.agent,
            "stop": workflow.global_stop_s,
            "current": here and _current(
                here.agent, self.ids.place(here.task_id),
                self.ids.place(here.action_id), here.state.short,
            ),
            "actions": [
                [self._action(action) for action in task.actions]
                for task in workflow.tasks
                if workflow.state is not State.NEW
            ],
        }  # fmt: skip

    def _action(self, action: Action) -> dict[str, Any]:
        return _action(
            action.state.short, action.started_at_s, action.seconds, action.duration, action.message
        )


@dataclass(slots=True)
class Tally:
    """What was compared, and what was found."""

    conversations: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    """By method and status code."""
    states: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def called(self) -> int:
        """How many calls there were."""
        return sum(self.calls.values())


async def play(world: World, real: Side, ours: Side, tally: Tally) -> None:
    """Play a conversation; a difference ends it, since what follows would differ as well."""
    tally.conversations += 1
    for side in (real, ours):
        await side.load(world)
    if await _differ(world, "at the start", real, ours, tally):
        return
    last: dict[str, tuple[str, Ref]] = {}
    for number, step in enumerate(world.steps):
        where = f"step {number}, {step}"
        match step:
            case Advance(seconds=seconds):
                for side in (real, ours):
                    await side.advance(seconds)
            case BmcDone():
                for side in (real, ours):
                    await side.bmc()
            case _:
                asked = [_request(step, side.ids, last) for side in (real, ours)]
                if asked[0] is None or asked[1] is None:
                    continue  # about an action that was never given
                outcomes = await asyncio.gather(real.call(*asked[0]), ours.call(*asked[1]))
                method = step.method if isinstance(step, Raw) else _METHODS[type(step)]
                key = f"{method} {outcomes[0].code}"
                tally.calls[key] = tally.calls.get(key, 0) + 1
                if outcomes[0] != outcomes[1]:
                    tally.differences.append(
                        f"{world.number}, {where}:\n  real {outcomes[0]}\n  ours {outcomes[1]}"
                    )
                    return
                _remember(step, outcomes[0], last)
        if await _differ(world, where, real, ours, tally):
            return


_METHODS = {Ask: "GetAction", Say: "ReportActionStatus"}


async def _differ(world: World, where: str, real: Side, ours: Side, tally: Tally) -> bool:
    tally.states += 1
    first, second = await asyncio.gather(real.state(), ours.state())
    if first == second:
        return False
    found = list(_paths(first, second, ""))
    tally.differences.append(f"{world.number}, {where}: state:\n  " + "\n  ".join(found))
    return True


def _paths(real: Any, ours: Any, at: str) -> list[str]:
    if isinstance(real, dict) and isinstance(ours, dict):
        keys = dict.fromkeys((*real, *ours))
        return [
            text
            for key in keys
            if real.get(key) != ours.get(key) or (key in real) != (key in ours)
            for text in _paths(real.get(key), ours.get(key), f"{at}.{key}")
        ]
    return [f"{at.lstrip('.')}: real {real!r}, ours {ours!r}"]


def _remember(step: Step, outcome: Outcome, last: dict[str, tuple[str, Ref]]) -> None:
    if not isinstance(step, Ask) or outcome.fields is None or step.agent is None:
        return
    name, _, task, _, action = outcome.fields["action_id"].split()
    last[step.agent] = (outcome.fields["workflow_id"], Ref(name, int(task), int(action)))


def _request(step: Step, ids: Ids, last: Mapping[str, tuple[str, Ref]]) -> tuple[str, bytes] | None:
    match step:
        case Raw(method=method, data=data):
            return method, data
        case Ask(agent=agent):
            return "GetAction", pb.ActionRequest(agent_id=agent).SerializeToString()
        case Say() as say:
            workflow, task, action = say.workflow, say.task, say.action
            if say.last:
                if say.agent is None or say.agent not in last:
                    return None
                workflow, action = last[say.agent]
                task = Ref(action.workflow, action.task)
            message = pb.ActionStatusRequest(
                workflow_id=workflow,
                agent_id=say.agent,
                task_id=ids.of.get(task, "none") if isinstance(task, Ref) else task,
                action_id=ids.of.get(action, "none") if isinstance(action, Ref) else action,
                action_name=say.name,
                execution_duration=say.duration,
            )
            if say.state is not None:
                # an open enum takes any number, Python's constructor only known names
                message.MergeFromString(bytes((0x30, say.state)))
            if say.message is not None:
                message.message.message = say.message
            for name, value in (("start", say.started), ("stop", say.stopped)):
                if value is not None:
                    stamp = getattr(message, f"execution_{name}")
                    stamp.FromMicroseconds(int((NOW + value) * 1e6))
            return "ReportActionStatus", message.SerializeToString()
    raise AssertionError(step)
