"""The server object: TLS, state, files, workers of a kind that a test suite has."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import fake_tink_server
from fake_tink_server.tests.real_workers import TINK_WORKER, VIRTUAL_WORKER, setup_of
from fake_tink_server.tests.test_server import Client
from harness.errors import DeadlineExpired, ScenarioError, SetupFailed
from harness.process import minimal_environment

SHORT = timedelta(milliseconds=50)


async def report(authority: str, state: str, action: str = "one", **other: Any) -> None:
    named = {"workflow_id": "default/work", "task_name": "work", "worker_id": "w1", **other}
    async with grpc.aio.insecure_channel(authority) as channel:
        await Client(channel).report(f"STATE_{state}", action, **named)


@pytest.mark.service
@pytest.mark.parametrize("real", [VIRTUAL_WORKER, TINK_WORKER], ids=lambda real: real.name)
async def test_a_real_worker_trusts_the_throwaway_ca(real: Any) -> None:
    """The variables are all it needs, with the certificate verified."""
    setup = await setup_of(real)
    async with fake_tink_server.serve(actions=["one"], worker="w1", tls=True) as server:
        environment = {**server.environment(), **setup.environment}
        assert environment["TINKERBELL_INSECURE_TLS"] == "false"
        worker = await asyncio.create_subprocess_exec(
            *setup.command,
            env=minimal_environment({**environment, "DOCKER_HOST": "unix:///nowhere"}),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await server.seen(lambda event: event.name == "tink.contexts.sent", what="a call")
        finally:
            worker.kill()
            await worker.wait()


async def test_mutual_tls() -> None:
    async with fake_tink_server.serve(actions=["one"], worker="w1", tls="mutual") as server:
        assert server.ca_file is not None
        assert server.client_files is not None
        chain, key = (file.read_bytes() for file in server.client_files)
        for shown, admitted in (((), False), ((key, chain), True)):
            credentials = grpc.ssl_channel_credentials(server.ca_file.read_bytes(), *shown)
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.secure_channel(server.authority, credentials, options) as channel:
                if admitted:
                    assert len(await Client(channel).contexts("w1")) == 1
                else:
                    with pytest.raises(grpc.aio.AioRpcError):
                        await Client(channel).contexts("w1")
        folder = server.ca_file.parent
    assert not folder.exists()


async def test_state_and_events_are_kept_in_files(tmp_path: Path) -> None:
    state, events = tmp_path / "state.json", tmp_path / "events.jsonl"
    given: dict[str, Any] = {"actions": ["one", "two"], "worker": "w1", "state_file": state}
    async with fake_tink_server.serve(**given, events=events) as server:
        await report(server.authority, "RUNNING")
        await report(server.authority, "SUCCESS")
    names = [json.loads(line)["name"] for line in events.read_text().splitlines()]
    assert (names[0], names[-1]) == ("service.started", "service.stopped")
    async with fake_tink_server.serve(**given) as server:
        assert (server.state(), server.history("one")) == ("RUNNING", [])
        await report(server.authority, "RUNNING", "two")
        await report(server.authority, "FAILED", "two", message="broken")
        assert await server.finished() == {"default/work": "FAILED"}
        assert server.workflow("work").actions[1][1].state.short == "FAILED"


async def test_a_restart_without_state() -> None:
    async with fake_tink_server.serve(actions=["one"], worker="w1") as server:
        port = server.port
        await report(server.authority, "RUNNING")
        await server.restart(keep_state=False)
        assert (server.port, server.state()) == (port, "PENDING")
        await report(server.authority, "FAILED")
        assert await server.finished() == {"default/work": "FAILED"}
        refused = "reported task name does not match"
        with pytest.raises(grpc.aio.AioRpcError, match=refused):
            await report(server.authority, "RUNNING", task_name="other")
        assert server.history("one") == ["RUNNING", "FAILED"]


async def test_waits_end() -> None:
    async with fake_tink_server.serve(actions=["one"], worker=["w1", "w2"]) as server:
        with pytest.raises(DeadlineExpired, match="the end of every workflow"):
            await server.finished(within=SHORT)
        with pytest.raises(DeadlineExpired, match="one SUCCESS"):
            await server.reported("one", within=SHORT)


async def test_netboot_is_toggled() -> None:
    hardware = """
apiVersion: tinkerbell.org/v1alpha1
kind: Hardware
metadata: {name: m}
spec:
  interfaces: [{dhcp: {mac: "52:54:00:00:00:01"}, netboot: {allowPXE: false}}]
"""
    workflow = """
apiVersion: tinkerbell.org/v1alpha1
kind: Workflow
metadata: {name: work}
spec:
  templateRef: work
  hardwareRef: m
  hardwareMap: {device_1: w1}
  bootOptions: {toggleAllowNetboot: true}
"""
    served = fake_tink_server.serve(actions=["one"], hardware=hardware, workflow=workflow)
    assert served.hardware == {"default/m": False}
    async with served as server:
        assert server.hardware == {"default/m": True}
        await report(server.authority, "RUNNING")
        await report(server.authority, "SUCCESS")
        assert server.hardware == {"default/m": False}


def test_before_the_start_and_bad_wishes(tmp_path: Path) -> None:
    server = fake_tink_server.serve(actions=["one"], worker="w1")
    assert (server.port, list(server.workflows)) == (0, ["default/work"])
    with pytest.raises(RuntimeError, match="async with"):
        server.delete("work")
    with pytest.raises(KeyError, match="default/other"):
        server.workflow("other")
    for given, complaint in (
        ({"actions": ["one"]}, "actions need a worker"),
        ({"actions": ["one"], "worker": [""]}, "a worker's id is empty"),
        ({"actions": [{"nam": "x"}], "worker": "w"}, "'name' is missing"),
        ({"template": "tasks:\n  - x\n", "worker": "w"}, "<template>:"),
        ({"template": tmp_path / "none.yaml"}, "there is no such file"),
    ):
        with pytest.raises(ScenarioError, match=complaint):
            fake_tink_server.serve(**given)


async def test_a_port_that_is_taken() -> None:
    async with fake_tink_server.serve(actions=["one"], worker="w1") as server:
        other = fake_tink_server.serve(actions=["one"], worker="w1", port=server.port)
        with pytest.raises(SetupFailed, match="can't listen"):
            await other.start()
        await other.stop()


async def test_objects_come_through_a_pipe() -> None:
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fake_tink_server", f"/dev/fd/{reading}", "--worker", "w1"),
        *("--port", "0", "--until-done"),
        cwd=Path(__file__).parents[2],
        pass_fds=[reading],
        stdout=asyncio.subprocess.PIPE,
    )
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        pipe.write("name: t\ntasks:\n  - {name: t, worker: w1, actions: []}\nglobal_timeout: 60\n")
    assert process.stdout is not None
    assert b"listening" in await process.stdout.readline()
    process.terminate()
    await process.communicate()
    assert process.returncode == 1  # not done
