"""The real v1 workers, built by ``golang``, against fake_tink_server, as host processes.

virtual-worker needs no containers and always succeeds; tink-worker talks to a docker engine, here
the conformance kit's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from fake_tink_server.conformance.containers import Program
from fake_tink_server.conformance.engine import DockerEngine
from fake_tink_server.engine import Engine
from fake_tink_server.server import ServerTls, TinkServer
from fake_tink_server.workflow import Action, State, Task, Workflow
from harness.clock import Deadline
from harness.hook.golang import go_build
from harness.paths import cache_root, source_root
from harness.process import run
from harness.progress import SilentProgress
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline, named

pytestmark = pytest.mark.service

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
ID = "default/hello"
REGISTRY = "registry.example:5000"
COMMANDS = "github.com/tinkerbell/tink/cmd"


async def build(name: str) -> Path:
    module = source_root() / "linuxkit/tools/tink-worker"
    cache = cache_root()
    return await go_build(
        module, f"{COMMANDS}/{name}", name, cache=cache, progress=SilentProgress()
    )


def workflow(*tasks: tuple[str, list[Action]]) -> Workflow:
    made = [
        Task(name=f"task {number}", worker=worker, actions=actions, volumes=["/dev:/dev"])
        for number, (worker, actions) in enumerate(tasks)
    ]
    return Workflow(name="hello", global_timeout_s=600, tasks=made)


def action(name: str, **other: Any) -> Action:
    return Action(**{"name": name, "image": "print:v1", "timeout_s": 60, **other})


class Bench:
    """A server, and the workers that were started against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timeline = Timeline(None)
        self.tasks = TaskKeeper()
        self.deadline = Deadline.after(timedelta(seconds=60))
        self.server: TinkServer | None = None

    def record(self, name: str, /, **fields: Any) -> Event:
        return self.timeline.record("tink", name, **fields)

    async def serve(self, engine: Engine, port: int = 0, tls: ServerTls | None = None) -> None:
        self.server = TinkServer(engine=engine, record=self.record, port=port, tls=tls)
        await self.server.start()

    def start(self, program: Path, worker: str, *arguments: str, **extra: str) -> None:
        assert self.server is not None
        environment = {
            "ID": worker,
            "TINKERBELL_GRPC_AUTHORITY": f"127.0.0.1:{self.server.port}",
            "TINKERBELL_TLS": "false",
            "RETRY_INTERVAL": "50ms",
            **extra,
        }
        work = run([program, *arguments], cwd=self.folder, env=environment)
        self.tasks.spawn(work, name=f"{program.name} {worker}")

    async def finished(self) -> State:
        assert self.server is not None
        done = self.server.wait_until_finished(ID)
        states = await self.tasks.race(done, self.deadline, waiting_for="the end of the workflow")
        return states[ID]

    async def seen(self, wanted: Callable[[Event], bool]) -> Event:
        found = self.timeline.wait_for(wanted)
        return await self.tasks.race(found, self.deadline, waiting_for="an event")

    def pulled(self) -> list[str]:
        return [e["image"] for e in named(self.timeline, "docker.image.pulled")]

    def reports(self) -> list[tuple[str, str]]:
        events = named(self.timeline, "tink.action.reported")
        return [(e["action"], e["state"].removeprefix("STATE_")) for e in events if e["accepted"]]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        await made.tasks.close()
        if made.server is not None:
            await made.server.stop()


QUICK = ("--sleep-min", "1ms", "--sleep-jitter", "1ms")


async def test_virtual_worker_runs_a_workflow(bench: Bench) -> None:
    program = await build("virtual-worker")
    await bench.serve(Engine([workflow((A, [action("one"), action("two"), action("three")]))]))
    bench.start(program, A, *QUICK)
    assert await bench.finished() is State.SUCCESS
    assert bench.reports() == [
        (name, state) for name in ("one", "two", "three") for state in ("RUNNING", "SUCCESS")
    ]
    last = named(bench.timeline, "tink.action.reported")[-1]
    assert last["message"] == "finished execution successfully"
    assert last["worker_id"] == A
    states = [e["state"] for e in named(bench.timeline, "tink.workflow.changed")]
    assert states == ["STATE_PENDING", "STATE_RUNNING", "STATE_POST", "STATE_SUCCESS"]


async def test_two_virtual_workers_take_turns_over_tls(bench: Bench) -> None:
    program = await build("virtual-worker")
    leaf = trustme.CA().issue_cert("127.0.0.1")
    tls = ServerTls(
        certificate_chain=b"".join(blob.bytes() for blob in leaf.cert_chain_pems),
        private_key=leaf.private_key_pem.bytes(),
    )
    tasks = ((A, [action("a")]), (B, [action("b")]), (A, [action("c")]))
    await bench.serve(Engine([workflow(*tasks)]), tls=tls)
    for worker in (A, B):
        given = {"TINKERBELL_TLS": "true", "TINKERBELL_INSECURE_TLS": "true"}
        bench.start(program, worker, *QUICK, **given)
    assert await bench.finished() is State.SUCCESS
    reports = [e for e in named(bench.timeline, "tink.action.reported") if e["accepted"]]
    assert [(e["action"], e["worker_id"]) for e in reports if e["state"] == "STATE_SUCCESS"] == [
        ("a", A),
        ("b", B),
        ("c", A),
    ]


async def test_a_worker_survives_a_restart_of_the_server(bench: Bench) -> None:
    program = await build("virtual-worker")
    engine = Engine([workflow((A, [action("one"), action("two")]))])
    await bench.serve(engine)
    assert bench.server is not None
    bench.start(program, A, "--sleep-min", "200ms", "--sleep-jitter", "1ms")
    await bench.seen(lambda e: e.name == "tink.action.reported" and e["state"] == "STATE_RUNNING")
    port = bench.server.port
    await bench.server.stop()
    await bench.serve(engine, port=port)
    assert await bench.finished() is State.SUCCESS
    assert bench.reports()[-1] == ("two", "SUCCESS")


async def run_tink_worker(bench: Bench, docker: DockerEngine, *actions: Action) -> State:
    program = await build("tink-worker")
    await bench.serve(Engine([workflow((A, list(actions)))]))
    async with docker:
        bench.start(program, A, DOCKER_HOST=docker.host, DOCKER_REGISTRY=REGISTRY)
        state = await bench.finished()
        await bench.tasks.close()
        return state


def engine(bench: Bench, **program: Any) -> DockerEngine:
    """Return a docker engine on which every image is this program."""
    socket = bench.folder / "docker.sock"
    return DockerEngine(socket=socket, programs=[Program(**program)], record=bench.record)


async def test_tink_worker_makes_the_container_that_the_template_says(bench: Bench) -> None:
    write = action(
        "write it", image="write:v1", command=["a", "b"], environment={"TEXT": "x"}, pid="host"
    )
    docker = engine(bench)
    assert await run_tink_worker(bench, docker, write, action("read")) is State.SUCCESS
    assert bench.pulled() == [f"{REGISTRY}/write:v1", f"{REGISTRY}/print:v1"]
    made, second = named(bench.timeline, "docker.container.created")
    assert (made["container"], second["container"]) == ("action_write_it", "action_read")
    assert (made["image"], made["command"]) == (f"{REGISTRY}/write:v1", ["a", "b"])
    assert made["environment"] == ["TEXT=x"]
    assert made["binds"] == ["/worker/default/hello:/workflow", "/dev:/dev"]
    assert (made["privileged"], made["pid"]) == (True, "host")


async def test_tink_worker_whose_container_fails(bench: Bench) -> None:
    docker = engine(bench, exit_code=3)
    assert await run_tink_worker(bench, docker, action("x"), action("y")) is State.FAILED
    assert bench.reports() == [("x", "RUNNING"), ("x", "FAILED")]


async def test_tink_worker_that_cannot_pull(bench: Bench) -> None:
    docker = engine(bench, pull_error="manifest unknown")
    assert await run_tink_worker(bench, docker, action("x")) is State.FAILED
    assert bench.pulled() == [f"{REGISTRY}/print:v1"]  # once: v1 does not try again
    assert not named(bench.timeline, "docker.container.created")


async def test_tink_worker_whose_container_hangs(bench: Bench) -> None:
    docker = engine(bench, seconds=None)
    state = await run_tink_worker(bench, docker, action("x", timeout_s=1))
    assert state is State.TIMEOUT
    assert bench.reports() == [("x", "RUNNING"), ("x", "TIMEOUT")]
