"""A server that starts again with the state of the one before."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_tink_server import state
from fake_tink_server.engine import Engine
from fake_tink_server.server import TinkServer
from fake_tink_server.tests.test_agents import ID, KINDS, Client, make, say, started
from fake_tink_server.workflow import BootOptions, Namespaces, State, Workflow
from harness.errors import ScenarioError
from harness.timeline import Timeline, named

AGENT = "52:54:00:00:00:0a"


def server(timeline: Timeline, workflow: Workflow, **other: Any) -> TinkServer:
    def record(name: str, /, **fields: Any) -> None:
        timeline.record("tink", name, **fields)

    return TinkServer(engine=Engine([workflow]), record=record, port=0, **other)


@given(
    st.lists(st.sampled_from(["x", "y"]), max_size=6),
    st.sampled_from([State.RUNNING, State.SUCCESS, State.FAILED]),
)
def test_what_is_written_is_read(actions: list[str], end: State) -> None:
    engine, workflow = started((AGENT, ["x", "y"]), boot=BootOptions(toggle_allow_netboot=False))
    workflow.tasks[0].actions[1].namespaces = Namespaces(pid="host")
    for action in actions:
        say(engine, action, end)
    assert state.parse(state.dump(engine.snapshot()), Path("f")) == [workflow]


async def test_an_agent_goes_on_where_the_server_ended(tmp_path: Path) -> None:
    timeline, file, workflow = (
        Timeline(None),
        tmp_path / "state.json",
        make((AGENT, ["one", "two"])),
    )
    fresh = copy.deepcopy(workflow)
    async with server(timeline, workflow, state_file=file) as first:
        old = file.read_bytes()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{first.port}") as channel:
            order = await Client(channel).action()
            await Client(channel).report(order, KINDS.RUNNING)
    assert old != file.read_bytes()
    # the same files, read anew: other ids, were it not for the state
    async with (
        server(timeline, copy.deepcopy(fresh), state_file=file) as second,
        grpc.aio.insecure_channel(f"127.0.0.1:{second.port}") as channel,
    ):
        await Client(channel).report(order, KINDS.SUCCESS)
        assert (await Client(channel).action()).name == "two"
    # an old state: the server has forgotten the report, and hands the action out again
    file.write_bytes(old)
    async with (
        server(timeline, copy.deepcopy(fresh), state_file=file) as third,
        grpc.aio.insecure_channel(f"127.0.0.1:{third.port}") as channel,
    ):
        assert await Client(channel).action() == order


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '[{"name": 1}]', "\xff"])
async def test_a_file_that_is_no_state(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ScenarioError, match="no state of a server"):
        await server(Timeline(None), make((AGENT, ["x"])), state_file=file).start()


async def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    timeline = Timeline(None)
    async with server(timeline, make((AGENT, ["x"])), state_file=tmp_path / "none" / "f") as one:
        assert one.engine.workflows[ID].state is State.PENDING
    assert len(named(timeline, "tink.state.lost")) == 1


async def test_a_bmc_that_does_at_once_what_is_asked() -> None:
    timeline = Timeline(None)
    boot = BootOptions(mode="iso", iso_url="http://x/hook.iso")
    async with (
        server(timeline, make((AGENT, ["x"]), boot=boot, hardware="h"), bmc=True) as one,
        grpc.aio.insecure_channel(f"127.0.0.1:{one.port}") as channel,
    ):
        order = await Client(channel).action()
        await Client(channel).report(order, KINDS.SUCCESS)
        assert await one.wait_until_finished() == {ID: State.SUCCESS}
    wanted = [(event["mode"], event["post"]) for event in named(timeline, "tink.bmc.wanted")]
    assert wanted == [("iso", False), ("iso", True)]
