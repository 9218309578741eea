"""Agents that nobody knows: discovered and enrolled as by Tinkerbell v0.25.0's own server.

The rules here have plain values only: the real program was built with a stand-in for quamina. What
the operators mean is in ``test_patterns``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, Final

import grpc.aio
import pytest

from fake_tink_server.auto import Auto
from fake_tink_server.catalog import Catalog
from fake_tink_server.engine import Engine
from fake_tink_server.proto import agent_pb2 as pb
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.tinkerbell.play import Ids, Outcome, called
from fake_tink_server.tests.tinkerbell.real import RealTinkerbell, real_tinkerbell
from fake_tink_server.tests.tinkerbell.worlds import NOW, object_of

pytestmark = pytest.mark.service

SEED: Final = 20261121
COUNT: Final = 250
AGENTS: Final = (
    *("52:54:00:00:00:0a", "52:54:00:00:00:0B", "agent-c", "_odd id_", "  ", ""),
    *("x" * 80, "y" * 51 + "-tail"),
)
NICS: Final = ("52:54:00:00:00:0a", "02:00:00:00:00:01", "00:00:00:00", "")
VENDORS: Final = ("Dell <&>", "HPE", "Größe")


def attributes(rng: random.Random) -> dict[str, Any] | None:
    if rng.random() < 0.15:
        return None
    found: dict[str, Any] = {}
    if rng.random() < 0.8:
        found["network"] = [
            {"name": f"eno{n}", "mac": rng.choice(NICS)} for n in range(rng.randrange(3))
        ]
    if rng.random() < 0.5:
        found["block"] = [
            {"name": "sda", "size": "10GB"},
            {"name": "sdb", "size": rng.choice(("", "1GB"))},
            {"name": "loop0"},
        ][: rng.randrange(4)]
    if rng.random() < 0.6:
        found["chassis"] = {"vendor": rng.choice(VENDORS)}
    if rng.random() < 0.5:
        found["cpu"] = {"total_cores": rng.choice((0, 4, 8))}
    return found


def rule(rng: random.Random) -> str:
    found: dict[str, Any] = {}
    if rng.random() < 0.5:
        found["networkInterfaces"] = {"mac": rng.sample(NICS, 2)}
        if rng.random() < 0.4:
            found["networkInterfaces"]["name"] = [rng.choice(("eno0", "eno1"))]
    if rng.random() < 0.4 or not found:
        found["chassis"] = {"vendor": rng.sample(VENDORS, 2)}
    if rng.random() < 0.2:
        found["cpu"] = {"totalCores": [4, 0]}
    return json.dumps(found, ensure_ascii=False)


def template(name: str, worker: str, disk: str = "") -> dict[str, Any]:
    action = {"name": "a", "image": "print:v1", "timeout": 60, "environment": {"DISK": disk}}
    data = {
        "version": "0.1",
        "name": name,
        "global_timeout": 600,
        "tasks": [{"name": "t", "worker": worker, "actions": [action]}],
    }
    return object_of("Template", name, {"data": json.dumps(data)})


def objects(rng: random.Random) -> list[dict[str, Any]]:
    found = [
        template("plain", "{{.worker_id}}", "{{.extra}}"),
        template("disk", "{{.worker_id}}", "{{ index .Hardware.Disks 0 }}"),
        template("other", "somebody-else"),
    ]
    for number in range(rng.choice((0, 1, 2, 3))):
        spec: dict[str, Any] = {
            "rules": [rule(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))],
            "workflow": {
                "namespace": "default",
                "addAttributes": rng.random() < 0.5,
                "template": {
                    "ref": rng.choice(("plain", "plain", "disk", "other")),
                    "agentValue": rng.choice(("worker_id", "worker_id", "extra")),
                    "kvs": {"extra": f"set{number}"},
                },
            },
        }
        if rng.random() < 0.3:
            spec["workflow"]["disabled"] = rng.random() < 0.7
        found.append(object_of("WorkflowRuleSet", f"rules{number}", spec))
    for agent in rng.sample(AGENTS[:3], rng.randrange(3)):
        for copy in range(rng.choice((1, 1, 1, 2))):
            known: dict[str, Any] = {"agentID": agent, "disks": [{"device": "/dev/vda"}]}
            if rng.random() < 0.6:
                known["auto"] = {"enrollmentEnabled": rng.random() < 0.6}
            name = f"hw-{AGENTS.index(agent)}-{copy}"
            found.append(object_of("Hardware", name, known))
    return found


class Ours:
    """This server with the same objects."""

    def __init__(self, given: list[dict[str, Any]], auto: dict[str, Any]) -> None:
        self.catalog = Catalog()
        for each in given:
            self.catalog.add(json.dumps(each, ensure_ascii=False), file=Path("<object>"))
        made = Auto(
            self.catalog,
            discovery=auto["Discovery"],
            namespace=auto["Namespace"],
            enroll_discovered=auto["EnrollmentEnabled"],
        )
        self.engine = Engine(auto=made)
        self.failed: set[str] = set()
        self.server = TinkServer(
            engine=self.engine, record=self._record, port=0, wall=lambda: float(NOW)
        )

    def _record(self, name: str, /, **fields: Any) -> None:
        if name == "tink.enrollment.failed":
            self.failed.add(fields["workflow_id"])

    def state(self) -> dict[str, Any]:
        return {
            # the real one keeps a Workflow that its Template can't be rendered for
            "workflows": {
                **{each.id: [each.state.short, each.hardware, each.agent]
                   for each in self.engine.workflows.values()},
                **{each: ["", None, ""] for each in self.failed},
            },
            "hardware": {
                name: hardware_view(json.loads(each.object.model_dump_json(by_alias=True)))
                for (_, name), each in self.catalog.hardware.items()
            },
        }  # fmt: skip


def hardware_view(given: dict[str, Any]) -> dict[str, Any]:
    spec, metadata = given["spec"], given["metadata"]
    annotations = metadata.get("annotations") or {}
    text = annotations.get("tinkerbell.org/agent-attributes", "")
    return {
        "agent": spec.get("agentID", ""),
        "auto": (spec.get("auto") or {}).get("enrollmentEnabled", False),
        "disks": [each["device"] for each in spec.get("disks") or ()],
        "macs": [each["dhcp"]["mac"] for each in spec.get("interfaces") or ()],
        "labels": metadata.get("labels") or {},
        # of Hardware that was there before, the annotation is not kept here
        "attributes": text if metadata["name"].startswith("discovery-") else "",
    }


def real_state(told: dict[str, Any]) -> dict[str, Any]:
    workflows = {}
    for each in told["workflows"] or ():
        status = each["status"]
        key = f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        rendered = bool(status.get("agentID"))
        hardware = each["spec"].get("hardwareRef", "") if rendered else None
        state = status.get("state", "")
        workflows[key] = [state, hardware, status.get("agentID", "") if rendered else ""]
    hardware = {each["metadata"]["name"]: hardware_view(each) for each in told["hardware"] or ()}
    return {"workflows": workflows, "hardware": hardware}


async def one(rng: random.Random, real: RealTinkerbell, tally: Counter[str]) -> list[str]:
    """Play one world on both; return the differences."""
    given = objects(rng)
    auto = {
        "Enrollment": any(each["kind"] == "WorkflowRuleSet" for each in given),
        "Discovery": rng.random() < 0.5,
        "Namespace": "default",
        "EnrollmentEnabled": rng.random() < 0.5,
    }
    await real.load(given, NOW, auto=auto)
    ours = Ours(given, auto)
    different: list[str] = []
    async with (
        ours.server,
        grpc.aio.insecure_channel(f"127.0.0.1:{ours.server.port}") as own,
        grpc.aio.insecure_channel(real.once) as theirs,
    ):
        for _ in range(5):
            agent = rng.choice(AGENTS[: rng.choice((2, 3, len(AGENTS)))])
            request = pb.ActionRequest(agent_id=agent)
            said = attributes(rng)
            if said is not None:
                request.agent_attributes.CopyFrom(pb.AgentAttributes(**said))
            data = request.SerializeToString()
            outcomes = await asyncio.gather(
                *(called(channel, "GetAction", data, Ids()) for channel in (own, theirs))
            )
            mine, wanted = map(stripped, outcomes)
            tally[f"{wanted.code} {wanted.details}".replace(agent or "?", "AGENT").strip()] += 1
            if mine != wanted:
                different.append(f"{agent!r} {said}\n  ours {mine}\n  real {wanted}")
        mine_after, wanted_after = ours.state(), real_state(await real.command("state"))
        tally["hardware made"] += sum(n.startswith("disc") for n in wanted_after["hardware"])
        tally["workflows made"] += len(wanted_after["workflows"])
        if mine_after != wanted_after:
            different.append(f"state\n  ours {mine_after}\n  real {wanted_after}")
    return [f"{each}\n  {auto} {json.dumps(given)}" for each in different]


def stripped(outcome: Outcome) -> Outcome:
    fields = {k: v for k, v in (outcome.fields or {}).items() if k not in ("task_id", "action_id")}
    return Outcome(code=outcome.code, details=outcome.details, fields=fields or None)


async def test_unknown_agents_fare_the_same() -> None:
    tally: Counter[str] = Counter()
    different: list[str] = []
    async with real_tinkerbell() as real:
        for number in range(COUNT):
            different += await one(random.Random(f"{SEED} {number}"), real, tally)
    for text, count in sorted(tally.items()):
        print(f"{count:5} {text}")
    assert not different, f"{len(different)}:\n" + "\n".join(different[:4])
    assert tally["workflows made"] > 100
    assert tally["hardware made"] > 100
    assert len(tally) >= 9
