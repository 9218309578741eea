"""Hundreds of conversations with workers: as the tink-server of Tinkerbell v0.12.2 has them."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToDict

from fake_tink_server.catalog import Catalog
from fake_tink_server.engine import Engine
from fake_tink_server.proto import workflow_pb2 as pb
from fake_tink_server.release import Release
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.tinkerbell.real import RealTinkerbell, real_tinkerbell
from fake_tink_server.tests.tinkerbell.worlds import (
    NOW,
    Advance,
    Ask,
    Ref,
    Say,
    World,
    world_of,
)
from fake_tink_server.workflow import Workflow

pytestmark = pytest.mark.service

SEED: Final = 20261121
COUNT: Final = 400
SERVICE: Final = "/proto.WorkflowService/"
Rpc: TypeAlias = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
Stream: TypeAlias = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
Outcome: TypeAlias = tuple[str, str, Any]
"""Code, text, and what was answered."""


def plain(world: World) -> World:
    """Return ``world`` without what v0.12.2 does not have, or does with a BMC."""
    objects = copy.deepcopy(world.objects)
    for each in objects:
        if each["kind"] == "Workflow":
            each["spec"].pop("disabled", None)
            boot = each["spec"].pop("bootOptions", {})
            if boot.get("toggleAllowNetboot"):
                each["spec"]["bootOptions"] = {"toggleAllowNetboot": True}
        if each["kind"] == "Hardware":
            # its controller dies of an interface without
            each["spec"]["interfaces"][0].setdefault("netboot", {"allowPXE": False})
    return World(
        number=world.number, cluster=world.cluster, objects=objects, steps=world.steps,
        refs=world.refs,
    )  # fmt: skip


async def asked(channel: grpc.aio.Channel, method: str, data: bytes) -> Outcome:
    """Make a call; return what it came to."""
    found: list[dict[str, Any]] = []
    try:
        if method == "GetWorkflowContexts":
            stream: Stream = channel.unary_stream(SERVICE + method)
            async for each in stream(data):
                found.append(MessageToDict(pb.WorkflowContext.FromString(each)))
            return "OK", "", sorted(found, key=lambda each: str(each["workflowId"]))
        rpc: Rpc = channel.unary_unary(SERVICE + method)
        answer = await rpc(data)
    except grpc.aio.AioRpcError as error:
        return error.code().name, (error.details() or "").replace("\xa0", " "), found
    kind = pb.WorkflowActionList if method == "GetWorkflowActions" else pb.Empty
    return "OK", "", MessageToDict(kind.FromString(answer))


def real_state(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the real workflows' states."""
    return {
        each["metadata"]["name"]: (
            each["status"].get("state", ""),
            [
                [
                    (
                        action.get("status", ""),
                        _seconds(action.get("startedAt")),
                        action.get("seconds", 0),
                        action.get("message", ""),
                    )
                    for action in task["actions"]
                ]
                for task in each["status"].get("tasks") or ()
            ],
        )
        for each in told["workflows"] or ()
    }


def _seconds(text: str | None) -> int | None:
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def our_state(engine: Engine) -> dict[str, Any]:
    """Return the same of ours."""
    return {each.name: _state(each) for each in engine.workflows.values()}


def _state(workflow: Workflow) -> tuple[str, Any]:
    return workflow.state.value, [
        [(a.state.value, a.started_at_s, a.seconds, a.message) for a in task.actions]
        for task in workflow.tasks
    ]


def request_of(step: Ask | Say, last: Mapping[str, tuple[str, str, str]]) -> tuple[str, bytes]:
    """Return the call that ``step`` is in this protocol."""
    if isinstance(step, Ask):
        worker = pb.WorkflowContextRequest(worker_id=step.agent or "")
        return "GetWorkflowContexts", worker.SerializeToString()
    workflow, task, action = step.workflow or "", _name(step.task), _name(step.action)
    if step.last:
        workflow, task, action = last.get(step.agent or "", ("default/w0", "t0", "a0"))
    status = pb.WorkflowActionStatus(
        workflow_id=workflow, task_name=task, action_name=action, worker_id=step.agent or "",
        seconds=4, message=step.message or "m",
    )  # fmt: skip
    number = max(0, (step.state or 0) - 1) % 5  # of a number that is no state see TINK_SERVER.md
    status.MergeFromString(bytes((0x20, number)))
    return "ReportActionStatus", status.SerializeToString()


def _name(part: Ref | str | None) -> str:
    if isinstance(part, Ref):
        return f"t{part.task}" if part.action is None else f"a{part.action}"
    return part or ""


async def play(
    world: World, real: RealTinkerbell, ours: TinkServer, clock: dict[str, float],
    channels: tuple[grpc.aio.Channel, grpc.aio.Channel], tally: dict[str, int],
) -> str | None:  # fmt: skip
    """Hold a conversation with both; return the first difference."""
    told = await real.load(world.objects, NOW)
    clock["now"] = float(NOW)
    engine = ours.engine
    engine.start(clock["now"])
    last: dict[str, tuple[str, str, str]] = {}
    for number, step in enumerate(world.steps):
        if isinstance(step, Advance):
            clock["now"] += step.seconds
            await real.command("advance", seconds=step.seconds)
            continue
        if not isinstance(step, Ask | Say):
            continue
        calls = [request_of(step, last)]
        if isinstance(step, Ask):
            listed = pb.WorkflowActionsRequest(workflow_id=("default/w0", "", "x/y")[number % 3])
            calls.append(("GetWorkflowActions", listed.SerializeToString()))
        for method, data in calls:
            first, second = await asyncio.gather(*(asked(each, method, data) for each in channels))
            tally[f"{method} {first[0]}"] = tally.get(f"{method} {first[0]}", 0) + 1
            if first != second:
                return f"{world.number}, step {number}, {step}:\n  real {first}\n  ours {second}"
            if method == "GetWorkflowContexts" and isinstance(step, Ask):
                for each in first[2]:
                    here = (each.get(key, "") for key in ("currentTask", "currentAction"))
                    last[step.agent or ""] = (each["workflowId"], *here)
        told = await real.command("state")
        if real_state(told) != our_state(engine):
            return (
                f"{world.number}, step {number}, {step}:\n  real {real_state(told)}\n"
                f"  ours {our_state(engine)}"
            )
    return None


async def test_every_conversation_goes_the_same_way() -> None:
    differences, tally, clock = [], dict[str, int](), {"now": float(NOW)}
    loaded: tuple[int, list[Workflow]] = (-1, [])
    async with real_tinkerbell("tink") as real:
        server = TinkServer(
            engine=Engine(), record=lambda name, **fields: None, port=0, wall=lambda: clock["now"]
        )
        async with (
            server,
            grpc.aio.insecure_channel(real.once) as theirs,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as ours,
        ):
            for number in range(COUNT):
                world = plain(world_of(SEED, number))
                if loaded[0] != world.cluster:
                    catalog = Catalog()
                    for each in world.objects:
                        catalog.add(json.dumps(each), file=Path("w.json"))
                    loaded = world.cluster, [j.run for j in catalog.jobs(release=Release.V0_12)]
                server.engine = Engine(copy.deepcopy(loaded[1]))
                found = await play(world, real, server, clock, (theirs, ours), tally)
                differences += [found] if found else []
    print(f"{COUNT} conversations, {sum(tally.values())} calls, {len(differences)} differences")
    print(", ".join(f"{key} {count}" for key, count in sorted(tally.items())))
    assert not differences, "\n".join(differences[:12])
    assert tally["ReportActionStatus OK"] > COUNT


async def test_a_text_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_tink_server.worker_calls.WRONG_TASK", "wrong task")
    monkeypatch.setattr(__name__ + ".COUNT", 12)
    with pytest.raises(AssertionError, match=r"ours .*wrong task"):
        await test_every_conversation_goes_the_same_way()
