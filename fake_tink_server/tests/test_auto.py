"""Auto-discovery and enrolment as a user has them: files, server, events.

That the answers are Tinkerbell's own is tested in ``tinkerbell/test_enrollment``.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fake_tink_server
from fake_tink_server.answers import Refused
from fake_tink_server.auto import Auto, valid_name
from fake_tink_server.catalog import Catalog
from fake_tink_server.engine import Engine
from fake_tink_server.lines import line_of
from fake_tink_server.proto import agent_pb2 as pb
from harness.errors import ScenarioError
from harness.timeline import named

A = "52:54:00:00:00:0A"
TEMPLATE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata: {name: wipe}
spec:
  data: |
    name: wipe
    global_timeout: 600
    tasks:
      - name: t
        worker: "{{.worker_id}}"
        actions:
          - {name: wipe, image: "{{.image}}", timeout: 60,
             environment: {DISK: "{{ index .Hardware.Disks 0 }}"}}
"""
RULES = """\
apiVersion: tinkerbell.org/v1alpha1
kind: WorkflowRuleSet
metadata: {name: qemu}
spec:
  rules:
    - '{"chassis": {"vendor": ["QEMU"]}}'
    - |
      {"networkInterfaces":
        {"mac": [{"prefix": "52:54:00"}]}}
  workflow:
    namespace: default
    addAttributes: true
    template: {ref: wipe, agentValue: worker_id, kvs: {image: "wipe:v1"}}
"""


async def ask(authority: str, agent: str = A, **attributes: Any) -> pb.ActionResponse:
    request = pb.ActionRequest(agent_id=agent, agent_attributes=pb.AgentAttributes(**attributes))
    async with grpc.aio.insecure_channel(authority) as channel:
        call: Any = channel.unary_unary("/proto.WorkflowService/GetAction")
        return pb.ActionResponse.FromString(await call(request.SerializeToString()))


async def refused(authority: str, **attributes: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(authority, **attributes)
    return caught.value.details() or ""


MACHINE: dict[str, Any] = {
    "network": [{"name": "eno1", "mac": "52:54:00:00:00:0a"}],
    "block": [{"name": "vda", "size": "64MB"}, {"name": "loop0"}],
}


async def test_an_unknown_agent_gets_hardware_and_work() -> None:
    async with fake_tink_server.serve(template=TEMPLATE, workflow=RULES, discovery=True) as server:
        assert not server.workflows
        order = await ask(server.authority, **MACHINE)
        assert (order.workflow_id, order.image) == (
            "default/enrollment-52-54-00-00-00-0a",
            "wipe:v1",
        )
        assert list(order.environment) == ["DISK=/dev/vda"]
        assert server.hardware == {"default/discovery-52-54-00-00-00-0a": None}
        assert server.agents[A]["networkInterfaces"] == MACHINE["network"]
        # no edit takes away what was made
        server.apply(TEMPLATE.replace("global_timeout: 600", "global_timeout: 700"))
        assert (await ask(server.authority, **MACHINE)).action_id == order.action_id
        assert list(server.hardware) == ["default/discovery-52-54-00-00-00-0a"]
        # and none that is made twice
        server.delete("enrollment-52-54-00-00-00-0a")
        said = await refused(server.authority, **MACHINE)
        assert said == "auto enrollment is disabled for this hardware"
    told = [line_of(event) for event in server.events]
    assert f"agent {A} is new: Hardware default/discovery-52-54-00-00-00-0a made" in told
    assert (
        f"agent {A} matches default/qemu: "
        "Workflow default/enrollment-52-54-00-00-00-0a made from default/wipe"
    ) in told


async def test_who_matches_no_rule_gets_nothing() -> None:
    async with fake_tink_server.serve(template=TEMPLATE, workflow=RULES, discovery=True) as server:
        said = await refused(server.authority, network=[{"mac": "02:00:00:00:00:01"}])
        assert said == f"no Workflow Rule Sets found or matched for Agent {A}"
        assert len(server.hardware) == 1


async def test_a_template_that_does_not_fit_the_agent_is_told() -> None:
    async with fake_tink_server.serve(template=TEMPLATE, workflow=RULES) as server:
        assert await refused(server.authority, **MACHINE) == "no Workflows found"
        assert await refused(server.authority, **MACHINE) == "existing workflow found"
    [event] = named(server.events, "tink.enrollment.failed")
    assert "<template>:13:" in event["reason"]
    assert "can't be rendered:\n<template>:13:" in (line_of(event) or "")


@pytest.mark.parametrize(
    ("find", "put", "complaint"),
    [
        ('"vendor": ["QEMU"]', '"vendor": "QEMU"', ":6:31: expected a list of alternatives"),
        ('"prefix"', '"regexp"', ":9:19: regexp is not supported"),
        ("ref: wipe", "ref: wpie", ":13:21: there is no template 'wpie'"),
        ("addAttributes", "addAttribute", ":12:5: unknown key 'addAttribute'"),
        ("    namespace: default\n", "", ":10:3: 'namespace' is missing"),
        (
            "kvs: {image",
            "kvs: {image: 5, x",
            ":13:63: spec.workflow.template.kvs.image: expected a text",
        ),
    ],
)
def test_mistakes_stand_where_they_are(tmp_path: Path, find: str, put: str, complaint: str) -> None:
    (tmp_path / "t.yaml").write_text(TEMPLATE)
    file = tmp_path / "rules.yaml"
    file.write_text(RULES.replace(find, put))
    with pytest.raises(ScenarioError) as caught:
        fake_tink_server.serve(tmp_path)
    assert str(file) in str(caught.value)
    assert complaint in str(caught.value)


TEXT = st.text(max_size=12)


@given(
    agent=TEXT,
    macs=st.lists(TEXT | st.just("52:54:00:00:00:01"), max_size=3),
    disks=st.lists(st.fixed_dictionaries({}, optional={"name": TEXT, "size": TEXT}), max_size=3),
)
@example(agent="\x00\x85\ufeff: #", macs=["\ud7ff"], disks=[{"size": "1"}])
def test_whatever_an_agent_says(agent: str, macs: list[str], disks: list[dict[str, str]]) -> None:
    catalog = Catalog()
    catalog.add(TEMPLATE, file=Path("t"))
    catalog.add(RULES, file=Path("r"))
    engine = Engine(auto=Auto(catalog, discovery=True))
    said = {"networkInterfaces": [{"mac": mac} for mac in macs], "blockDevices": disks}
    for _ in range(2):
        notes = engine.discover(agent, said)
        assert len(catalog.hardware) <= 1
        assert not notes or [each.object.spec.agent_id for each in catalog.hardware.values()] == [
            agent
        ]
        with contextlib.suppress(Refused):
            engine.enroll(agent, said, 0.0)


def test_names() -> None:
    assert valid_name("52:54:00:AA", "discovery-") == "discovery-52-54-00-aa"
    assert valid_name(" _x_ ", "enrollment-") == "enrollment-x-e"
    with pytest.raises(ValueError, match="name cannot be empty"):
        valid_name(" ", "x-")


async def test_attributes_are_annotated_as_go_writes_them() -> None:
    from fake_tink_server.attributes import attributes_of
    from fake_tink_server.auto import _json

    message = pb.AgentAttributes(chassis={"vendor": "<A&B>é"}, gpu=[{"class": "x"}])
    text = _json(attributes_of(message))
    assert '"chassis":{"vendor":"\\u003cA\\u0026B\\u003eé"}' in text
    assert list(json.loads(text)) == [
        *("cpu", "memory", "gpuDevices", "chassis", "bios", "baseboard", "product"),
    ]
