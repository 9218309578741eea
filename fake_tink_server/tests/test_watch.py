"""Edits of files while a server serves."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from fake_tink_server.sources import Sources
from fake_tink_server.standalone import Server
from fake_tink_server.tests.command import command
from fake_tink_server.tests.test_server import Client
from harness.errors import ScenarioError
from harness.timeline import Event, named

HARDWARE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Hardware
metadata: {name: m1}
spec:
  disks: [{device: /dev/sda}]
  interfaces:
    - dhcp: {mac: "52:54:00:00:00:01"}
      netboot: {allowPXE: true}
"""
TEMPLATE = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata: {name: install}
spec:
  data: |
    version: "0.1"
    name: install
    global_timeout: 600
    tasks:
      - name: os
        worker: "{{.device_1}}"
        actions:
          - name: write
            image: writer:v1
            timeout: 60
            environment:
              DISK: "{{ index .Hardware.Disks 0 }}"
"""
WORKFLOW = """\
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata: {name: NAME}
spec: {templateRef: install, hardwareRef: m1, hardwareMap: {device_1: w1}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hardware.yaml").write_text(HARDWARE)
    (tmp_path / "template.yml").write_text(TEMPLATE)
    (tmp_path / "a.yaml").write_text(WORKFLOW.replace("NAME", "a"))
    (tmp_path / "notes.txt").write_text("no YAML")
    return tmp_path


def environment(server: Server, name: str) -> dict[str, str]:
    [(_, action)] = server.workflow(name).actions
    return action.environment


async def test_edits_are_taken_over(folder: Path) -> None:
    sources = Sources(paths=[folder])
    async with Server(sources, watch=True) as server:
        async with grpc.aio.insecure_channel(server.authority) as channel:
            await Client(channel).report(
                "STATE_RUNNING", "write", workflow_id="default/a", task_name="os"
            )
        assert server.state("a") == "RUNNING"

        (folder / "b.yaml").write_text(WORKFLOW.replace("NAME", "b"))
        await server.seen(taken(1), what="b")
        assert (server.state("a"), server.state("b")) == ("RUNNING", "PENDING")

        text = HARDWARE.replace("allowPXE: true", "allowPXE: false")
        (folder / "hardware.yaml").write_text(text)
        await server.seen(taken(2), what="allowPXE")
        assert server.hardware == {"default/m1": False}
        assert server.state("a") == "RUNNING"

        (folder / "hardware.yaml").write_text(text.replace("/dev/sda", "/dev/vda"))
        await server.seen(taken(3), what="disk")
        assert server.state("a") == "PENDING"  # comes out otherwise: begun anew
        assert environment(server, "a") == environment(server, "b") == {"DISK": "/dev/vda"}

        (folder / "a.yaml").unlink()
        await server.seen(taken(4), what="a gone")
        assert list(server.workflows) == ["default/b"]

        asleep = WORKFLOW.replace("NAME", "b").replace("spec: {", "spec: {disabled: true, ")
        (folder / "b.yaml").write_text(asleep)
        await server.seen(taken(5), what="b disabled")
        assert not server.workflows
    said = [
        (event.get("added"), event.get("changed"), event.get("removed"))
        for event in named(server.events, "tink.files.taken")
    ]
    a, b = "default/a", "default/b"
    assert said == [([b], [], []), ([], [], []), ([], [a, b], []), ([], [], [a]), ([], [], [b])]
    changes = [e["change"] for e in named(server.events, "tink.hardware.changed")]
    assert changes == ["edited", "edited"]


def taken(count: int) -> Callable[[Event], bool]:
    """Return a predicate that is true of the ``count``-th time that files were taken over."""
    seen = 0

    def wanted(event: Event) -> bool:
        nonlocal seen
        seen += event.name == "tink.files.taken"
        return seen == count

    return wanted


async def test_a_mistake_keeps_the_last_good_state(folder: Path) -> None:
    async with command(".", "--watch", cwd=folder) as tool:
        line = await tool.until("listening on")
        port = line.partition("127.0.0.1:")[2].split()[0]
        bad = TEMPLATE.replace("image: writer:v1", "image: Writer:v1")
        (folder / "template.yml").write_text(bad)
        await tool.until("files NOT taken over")
        line = await tool.until("template.yml:14:20: ")
        assert "image: invalid action image (Writer:v1)" in line
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            actions = await Client(channel).actions("default/a")
        assert actions.action_list[0].image == "writer:v1"
        (folder / "template.yml").write_text(TEMPLATE.replace("writer:v1", "writer:v2"))
        assert "changed: default/a" in await tool.until("files taken over")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            actions = await Client(channel).actions("default/a")
        assert actions.action_list[0].image == "writer:v2"
        tool.process.send_signal(signal.SIGTERM)
        status, out, err = await tool.ended()
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].endswith("stopped")


def test_a_disabled_workflow_that_runs_goes_on(folder: Path) -> None:
    from fake_tink_server.edits import differences
    from fake_tink_server.workflow import State, Workflow

    running = Workflow(name="a", tasks=[], state=State.RUNNING)
    new = Workflow(name="a", tasks=[])
    for served, removed in ((running, []), (new, ["default/a"])):
        found = differences({"default/a": new}, {}, {"default/a": served}, asleep={"default/a"})
        assert found.removed == removed


def test_a_folder_without_yaml_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"there is no YAML in this folder: \.yaml"):
        Sources(paths=[tmp_path]).read()
