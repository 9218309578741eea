"""The stage for one rule: a server, a docker engine's stand-in and a worker, all fresh."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from fake_tink_server.conduct import FAITHFUL, Conduct
from fake_tink_server.conformance.containers import Program
from fake_tink_server.conformance.engine import DockerEngine
from fake_tink_server.conformance.rule import Broken
from fake_tink_server.conformance.worker import WorkerProcess
from fake_tink_server.engine import Engine
from fake_tink_server.front import Issue
from fake_tink_server.protocol import Protocol
from fake_tink_server.server import ServerTls, TinkServer
from fake_tink_server.workflow import TERMINAL, Action, State, Task, Workflow
from harness.clock import Deadline
from harness.errors import DeadlineExpired
from harness.faults.plan import Strike
from harness.tasks import TaskKeeper
from harness.timeline import Event, Timeline, named

T = TypeVar("T")

WORKER_ID: Final = "52:54:00:00:00:01"
OTHER_ID: Final = "52:54:00:00:00:02"
REGISTRY: Final = "registry.example:5000"
USER: Final = "kit-user"
PASSWORD: Final = "kit-password"

POLLS: Final = {Protocol.V1: "GetWorkflowContexts", Protocol.V2: "GetAction"}
"""The call by which a worker asks for work."""
REPORT: Final = "ReportActionStatus"

_ON_PURPOSE: Final = "the kit refuses this call on purpose"

Step = Action | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the scenes of one run of the kit have in common."""

    command: Sequence[str]
    """May hold placeholders: ``{id} {authority} {host} {port} {docker} …``."""
    patience_s: float = 30.0
    """How long a worker may take for what it is expected to do next."""
    server_log: Callable[[str], None] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the worker is told besides; it wins over the caller's environment, not the kit's."""


class Refusals(grpc.aio.ServerInterceptor):
    """Answers the next calls of a method with an error, as often as was asked for."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.UNAVAILABLE
        self.left: dict[str, int] = {}
        self.refused: list[str] = []
        """The methods of the calls that were refused."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Pass the call on, or refuse it."""
        handler = await continuation(details)
        method = details.method.rpartition("/")[2]
        if handler is None or not self.left.get(method):
            return handler
        self.left[method] -= 1
        self.refused.append(method)

        async def refuse(_request: bytes, context: Any) -> bytes:
            await context.abort(self.code, _ON_PURPOSE)
            return b""

        async def refuse_stream(_request: bytes, context: Any) -> AsyncIterator[bytes]:
            await context.abort(self.code, _ON_PURPOSE)
            yield b""

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(refuse_stream)
        return grpc.unary_unary_rpc_method_handler(refuse)


class Scene:
    """Holds the three actors and what happened between them, on one timeline."""

    def __init__(self, *, setup: Setup, protocol: Protocol, folder: Path) -> None:
        self.setup = setup
        self.protocol = protocol
        self.timeline = Timeline(None)
        self.engine = Engine()
        self.refusals = Refusals()
        self.conducts: list[Conduct] = []
        """How the server behaves on the next connections; after these faithfully."""
        self.docker = DockerEngine(socket=folder / "docker.sock", record=self._recorder("docker"))
        self.strike: Strike | None = None
        """Decides instead of ``conducts``, for calls as well."""
        self.issue: Issue | None = None
        """Makes the certificates that ``conducts`` or ``strike`` ask for."""
        self._folder = folder
        self._worker: WorkerProcess | None = None
        self._server: TinkServer | None = None
        self._tls: ServerTls | None = None
        self._port = 0
        self._tasks: TaskKeeper | None = None
        self._stack = contextlib.AsyncExitStack()
        if setup.server_log:
            self.timeline.subscribe(self._tell)

    async def __aenter__(self) -> Scene:
        self._tasks = TaskKeeper()
        # The server's port, also while it is down: it would be somebody's client's by then. Two may
        # be bound to one when both ask for that and only one listens (socket(7), SO_REUSEADDR).
        held = self._stack.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        self._port = held.getsockname()[1]
        await self._stack.enter_async_context(self.docker)
        self._stack.push_async_callback(self._tasks.close)
        self._stack.push_async_callback(self.stop_server)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._worker is not None:
            await self._worker.kill()
        await self._stack.aclose()

    # -- the stage

    def image(self, name: str) -> str:
        """Return the image ``name`` as a template gives it: v1 puts the registry before it."""
        return f"{name}:v1" if self.protocol is Protocol.V1 else f"{REGISTRY}/{name}:v1"

    def action(self, name: str, **other: Any) -> Action:
        """Return an action with an image of its own name and a minute of time."""
        return Action(**{"name": name, "image": self.image(name), "timeout_s": 60, **other})

    def add(self, *steps: Step, name: str = "first", worker: str = WORKER_ID) -> Workflow:
        """Add a workflow of one task."""
        return self.add_tasks((worker, steps), name=name)

    def add_tasks(self, *tasks: tuple[str, Sequence[Step]], name: str = "first") -> Workflow:
        """Add a workflow with a task for each worker and its actions."""
        workflow = Workflow(
            name=name,
            global_timeout_s=3600,
            tasks=[
                Task(
                    name=f"{name}-task-{number}",
                    worker=worker,
                    actions=[self.action(s) if isinstance(s, str) else s for s in steps],
                )
                for number, (worker, steps) in enumerate(tasks)
            ],
        )
        self.engine.add(workflow)
        return workflow

    def behave(self, name: str, **program: Any) -> None:
        """Say what the image of the action ``name`` does."""
        self.docker.programs.insert(0, Program(image=f"*{name}:v1", **program))

    async def begin(self, **environment: str) -> None:
        """Start the server, then the worker."""
        await self.start_server()
        await self.start_worker(**environment)

    async def start_server(self, tls: ServerTls | None = None) -> None:
        """Start the server, each time on the same port."""
        self._tls = tls or self._tls
        server = TinkServer(
            engine=self.engine,
            record=self._recorder("tink"),
            port=self._port,
            tls=self._tls,
            interceptors=[self.refusals],
            decide=self._decide,
            issue=self.issue,
            strike=self.strike,
        )
        await server.start()
        self._server = server

    async def stop_server(self) -> None:
        """Cut every connection and stop listening."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()

    async def start_worker(self, **environment: str) -> None:
        """Start the worker program."""
        given = {**self.setup.environment, **self.environment(), **environment}
        self._worker = WorkerProcess(
            command=[self._filled(word) for word in self.setup.command],
            environment=given,
            log=self._folder / "worker.log",
        )
        await self._worker.start()

    def throwaway_tls(self) -> ServerTls:
        """Return a certificate for this host by an authority that nobody knows."""
        import trustme

        leaf = trustme.CA().issue_cert("127.0.0.1", "localhost")
        return ServerTls(
            certificate_chain=b"".join(blob.bytes() for blob in leaf.cert_chain_pems),
            private_key=leaf.private_key_pem.bytes(),
        )

    def environment(self) -> dict[str, str]:
        """Return what a worker is told, as hook-bootkit tells it."""
        return {
            "ID": WORKER_ID,
            "WORKER_ID": WORKER_ID,
            "TINKERBELL_GRPC_AUTHORITY": f"127.0.0.1:{self._port}",
            "TINKERBELL_TLS": "false",
            "TINKERBELL_INSECURE_TLS": "false",
            "DOCKER_HOST": self.docker.host,
            "AGENT_DOCKER_SOCKET": str(self.docker.socket),  # tink-agent looks at no other
            "DOCKER_REGISTRY": REGISTRY,
            "REGISTRY_USERNAME": USER,
            "REGISTRY_PASSWORD": PASSWORD,
        }

    @property
    def worker(self) -> WorkerProcess:
        """The worker's process. Only after it was started."""
        assert self._worker is not None
        return self._worker

    # -- what happens

    async def wait(
        self,
        awaitable: Awaitable[T],
        what: str,
        *,
        within_s: float | None = None,
        exits: bool = False,
    ) -> T:
        """Wait for something the worker is to do. Raises ``Broken`` when it does not.

        A worker that ends meanwhile has broken the rule, unless ``exits``.
        """
        assert self._tasks is not None
        limit_s = within_s if within_s is not None else self.setup.patience_s
        deadline = Deadline.after(timedelta(seconds=limit_s))
        watched = awaitable if exits else self._or_exit(awaitable, what)
        try:
            return await self._tasks.race(watched, deadline, waiting_for=what)
        except DeadlineExpired:
            raise Broken(f"{what} did not come within {limit_s:g} s") from None

    async def watch(self, seconds: float) -> None:
        """Let ``seconds`` pass in which the worker is to do something not. It must stay alive."""
        status = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                status = await self.worker.process.wait()
        if status is not None:
            raise Broken(self._ended(status, "it had nothing to do"))

    async def see(
        self, wanted: Callable[[Event], bool], what: str, *, since: int = 0,
        within_s: float | None = None,
    ) -> Event:  # fmt: skip
        """Wait for an event after number ``since``. Raises ``Broken``."""
        found = self.timeline.wait_for(wanted, since=since)
        return await self.wait(found, what, within_s=within_s)

    async def poll(self, since: int = 0) -> Event:
        """Wait until the worker asks for work."""
        name = POLLS[self.protocol]
        return await self.see(
            lambda e: e.name == "tink.rpc.received" and e.get("rpc") == name,
            f"a call of {name}", since=since,
        )  # fmt: skip

    async def report(self, action: str, *states: str, within_s: float | None = None) -> Event:
        """Wait for an accepted report of ``action``: of one of ``states``, or of its end."""
        wanted = {f"STATE_{state}" for state in states or ("SUCCESS", "FAILED", "TIMEOUT")}
        what = f"a report of {action} as {' or '.join(states) or 'ended'}"
        return await self.see(
            lambda e: _is_report(e) and e["action"] == action and e["state"] in wanted,
            what, within_s=within_s,
        )  # fmt: skip

    async def end(self, *workflows: Workflow) -> list[State]:
        """Wait until the workflows are at their end, one after the other; return their states.

        The setup's patience is for a worker's next step, and a report of something new is one.
        """
        for workflow in workflows:
            while workflow.state not in TERMINAL:
                told = self._told()
                await self.see(
                    lambda e, w=workflow, t=told: w.state in TERMINAL or self._told() > t,  # type: ignore[misc]
                    f"the end of the workflow {workflow.name}",
                    since=max(0, len(self.timeline) - 1),
                )
            if self.protocol is Protocol.V2 and workflow is not workflows[-1]:
                self._delete(workflow)
        return [workflow.state for workflow in workflows]

    def _told(self) -> int:
        """Return how many different things were reported: repeating one is no step."""
        return len({(e.get("workflow_id"), e["action"], e["state"]) for e in self.reports()})

    def _delete(self, ended: Workflow) -> None:
        """Take a workflow away, as a user does: v0.25's server looks at an agent's first only."""
        left = [other for other in self.engine.workflows.values() if other is not ended]
        self.engine = Engine(left)
        if self._server is not None:
            self._server.engine = self.engine

    def reports(self, action: str | None = None) -> list[Event]:
        """Return the accepted reports, in order."""
        found = [e for e in self.timeline if _is_report(e)]
        return [e for e in found if action is None or e["action"] == action]

    def events(self, *names: str) -> list[Event]:
        """Return the events with one of ``names``."""
        return named(self.timeline, *names)

    def created(self, action: str | None = None) -> list[Event]:
        """Return the containers made (not those refused), of one action or of all."""
        return [
            e
            for e in self.events("docker.container.created")
            if "error" not in e.fields and (action is None or is_image(e, action))
        ]

    def polls(self) -> list[Event]:
        """Return the calls for work."""
        name = POLLS[self.protocol]
        return [e for e in self.events("tink.rpc.received") if e.get("rpc") == name]

    async def _or_exit(self, awaitable: Awaitable[T], what: str) -> T:
        if self._worker is None:
            return await awaitable
        assert self._tasks is not None
        ended = self._tasks.spawn(self._worker.process.wait(), name="worker")
        work = asyncio.ensure_future(awaitable)  # noqa: TID251 - ended below, with the wait
        try:
            await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise Broken(self._ended(ended.result(), f"it waited for {what}"))
        finally:
            ended.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, ended, return_exceptions=True)

    def _ended(self, status: int, when: str) -> str:
        words = self.worker.last_words()
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"the worker {how} while {when}" + (f"; its last words: {words}" if words else "")

    def _filled(self, word: str) -> str:
        for key, value in {
            "id": WORKER_ID,
            "authority": f"127.0.0.1:{self._port}",
            "host": "127.0.0.1",
            "port": str(self._port),
            "docker": self.docker.host,
            "docker_socket": str(self.docker.socket),
            "registry": REGISTRY,
            "user": USER,
            "password": PASSWORD,
        }.items():
            word = word.replace(f"{{{key}}}", value)
        return word

    def _decide(self, _peer: str) -> Conduct:
        return self.conducts.pop(0) if self.conducts else FAITHFUL

    def _recorder(self, source: str) -> Callable[..., Event]:
        def record(name: str, /, **fields: Any) -> Event:
            return self.timeline.record(source, name, **fields)

        return record

    def _tell(self, event: Event) -> None:
        if self.setup.server_log:
            self.setup.server_log(event.to_json())


def is_image(event: Event, action: str) -> bool:
    """Tell whether an event is about the image that ``Scene.image`` gives to ``action``."""
    return str(event.get("image", "")).endswith(f"{action}:v1")


def _is_report(event: Event) -> bool:
    return event.name == "tink.action.reported" and bool(event.get("accepted"))
