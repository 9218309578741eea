"""The gRPC server: a thin grpc.aio shell around the engine.

Handlers are generic and see bytes: both protocols have a ``ReportActionStatus`` of the same full
name with other messages, and only the bytes tell the two apart.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from fake_tink_server import state
from fake_tink_server.answers import (
    AllowPxe,
    BmcWanted,
    Discovered,
    Enrolled,
    Note,
    NotEnrolled,
    Removed,
)
from fake_tink_server.calls import Context, Record
from fake_tink_server.conduct import Decide
from fake_tink_server.desk import Desk, Pace, Profile
from fake_tink_server.engine import Engine
from fake_tink_server.front import Fail, Front, Issue
from fake_tink_server.inspection import Inspection
from fake_tink_server.misbehaviour import Misbehaviour, Stream, Unary
from fake_tink_server.protocol import Protocol, report_protocol
from fake_tink_server.protocol_v1 import WorkerProtocol
from fake_tink_server.protocol_v2 import AgentProtocol
from fake_tink_server.workflow import TERMINAL, State, Workflow
from harness.certificates import Certificate
from harness.errors import SetupFailed
from harness.faults.plan import Strike, no_strike

SERVICE: Final = "proto.WorkflowService"
DEFAULT_PORT: Final = 42113

_OPTIONS: Final = (
    # two labs on one port must be an error, not a lottery
    ("grpc.so_reuseport", 0),
    # Go clients may ping; without these the answer is GOAWAY "too_many_pings"
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """What the server shows and asks for, as PEM."""

    certificate_chain: bytes
    private_key: bytes
    client_ca: bytes | None = None
    """When given, clients must show a certificate that this CA signed."""


class TinkServer:
    """Serves an engine's workflows to workers."""

    name = "tink"

    def __init__(
        self,
        *,
        engine: Engine,
        record: Record,
        bind: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        tls: ServerTls | None = None,
        allow_pxe: Callable[[str, bool], None] | None = None,
        wall: Callable[[], float] = time.time,
        profile: Profile = Profile.FAST,
        pace: Pace | None = None,
        state_file: Path | None = None,
        bmc: bool = False,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        decide: Decide | None = None,
        issue: Issue | None = None,
        strike: Strike | None = None,
        identify: Callable[[str], str | None] = lambda address: None,
        image_prefix: str = "",
        fail: Fail | None = None,
    ) -> None:
        """Prepare to listen on ``bind``:``port`` (0: any free port).

        ``allow_pxe`` is called with a Hardware's name when the controller would toggle its
        ``allowPXE``; ``wall`` gives seconds since the epoch. ``profile`` says how
        v2's errors are paced, ``pace`` how exactly. ``state_file`` keeps what happened for the next
        server that is given it. With ``bmc`` what ``bootMode`` asks of a BMC is done at once.
        ``interceptors`` see every call first.
        ``decide`` says how each connection is to misbehave, and ``issue`` makes the wrong
        certificates for that. ``strike`` decides for calls as well, and for connections instead
        of ``decide``; ``identify`` tells it the MAC of a client's address.
        ``image_prefix`` is put in front of the images that v2 hands out: tink-worker does that
        with its DOCKER_REGISTRY, tink-agent does not.
        ``fail`` is told when the server died of something.
        """
        self.port = port
        self._bind = bind
        self._record = record
        self._tls = tls
        self._allow_pxe = allow_pxe
        self._desk = Desk(
            engine=engine,
            record=record,
            publish=self._publish,
            wall=wall,
            pace=pace or Pace.of(profile),
            peer_of=self._peer_of,
            numbers=itertools.count(1),
        )
        self._state_file = state_file
        self._bmc = bmc
        self._workers = WorkerProtocol(self._desk)
        self._agents = AgentProtocol(self._desk, image_prefix=image_prefix)
        self._interceptors = tuple(interceptors)
        self._server: grpc.aio.Server | None = None
        self._front: Front | None = None
        self._decide = decide
        self._issue = issue
        self._fail = fail
        self._misbehaviour: Misbehaviour | None = None
        if strike is not None and strike is not no_strike:
            self._misbehaviour = Misbehaviour(
                strike,
                record=record,
                workflows=lambda: self.engine.workflows,
                relay_of=lambda peer: self._front.relay_of(peer) if self._front else None,
                peer_of=self._peer_of,
                tls=tls is not None,
                number=lambda: next(self._desk.numbers),
                identify=identify,
            )
            self._decide = self._misbehaviour.decide
        self._alarm: asyncio.TimerHandle | None = None
        self._moved = asyncio.Event()

    @property
    def listener(self) -> socket.socket | None:
        """The listening socket; None while it does not listen."""
        return self._front.listener if self._front else None

    @property
    def engine(self) -> Engine:
        """The workflows being served."""
        return self._desk.engine

    @engine.setter
    def engine(self, engine: Engine) -> None:
        self._desk.engine = engine

    @property
    def attributes(self) -> dict[str, dict[str, object]]:
        """What each v2 agent said of the machine it runs on, by the agent's id."""
        return self._agents.attributes

    async def start(self) -> None:
        """Listen, and let the controller bring new workflows to PENDING.

        Raises ``SetupFailed`` when the port can't be had or the certificate is none, and
        ``ScenarioError`` for a state file that is none.
        """
        if self._state_file is not None:
            self.engine.restore(state.read(self._state_file))
        front = self._make_front()
        server = grpc.aio.server(interceptors=self._interceptors, options=_OPTIONS)
        server.add_generic_rpc_handlers((self._handlers(), *Inspection().handlers()))
        try:
            server.add_insecure_port(f"unix-abstract:{front.inner}")
        except RuntimeError as error:
            raise SetupFailed(f"the Tinkerbell server can't listen: {error}") from error
        await server.start()
        try:
            await front.start()
        except SetupFailed:
            await server.stop(0)
            raise
        port = front.port
        self.port, self._server, self._front = port, server, front
        self._record(
            "service.started",
            service=self.name,
            address=self._bind,
            port=port,
            transport="grpc+tls" if self._tls else "grpc",
        )
        self._publish(self.engine.start(self._desk.wall()))
        self._set_alarm()

    async def stop(self) -> None:
        """Close every connection. Idempotent; takes no longer than a second."""
        server, self._server = self._server, None
        front, self._front = self._front, None
        if self._alarm is not None:
            self._alarm.cancel()
        if server is not None and front is not None:
            await server.stop(0)
            await front.stop()
            self._record("service.stopped", service=self.name)

    async def __aenter__(self) -> TinkServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def apply(self, workflow: Workflow) -> None:
        """Serve ``workflow`` from now on, instead of one with its id."""
        self._publish(self.engine.apply(workflow, self._desk.wall()))

    def remove(self, workflow_id: str) -> None:
        """Serve a workflow no more. Raises ``KeyError``."""
        self._publish(self.engine.remove(workflow_id))

    async def wait_until_finished(self, workflow_id: str | None = None) -> dict[str, State]:
        """Return the workflows' states as soon as all (or the one named) are terminal.

        Has no deadline of its own. Raises ``KeyError`` for a workflow that is not there (any more).
        """
        while True:
            known = self.engine.workflows
            wanted = [known[workflow_id]] if workflow_id else list(known.values())
            if all(workflow.state in TERMINAL for workflow in wanted):
                return {workflow.id: workflow.state for workflow in wanted}
            self._moved.clear()
            await self._moved.wait()

    def _publish(self, notes: list[Note]) -> None:
        for note in notes:
            match note:
                case AllowPxe():
                    if self._allow_pxe is not None:
                        self._allow_pxe(note.hardware, note.allow)
                case BmcWanted():
                    self._record(
                        "tink.bmc.wanted",
                        workflow_id=note.workflow_id,
                        mode=note.mode,
                        post=note.post,
                    )
                    if self._bmc:
                        now_s = self._desk.wall()
                        self._publish(self.engine.booted(note.workflow_id, now_s))
                case Discovered():
                    self._record(
                        "tink.agent.discovered", worker_id=note.agent, hardware=note.hardware
                    )
                case Enrolled():
                    self._record(
                        "tink.agent.enrolled",
                        worker_id=note.agent,
                        workflow_id=note.workflow_id,
                        template=note.template,
                        rule_set=note.rule_set,
                    )
                case NotEnrolled():
                    self._record(
                        "tink.enrollment.failed",
                        worker_id=note.agent,
                        workflow_id=note.workflow_id,
                        rule_set=note.rule_set,
                        reason=note.reason,
                    )
                case Removed():
                    self._record(
                        "tink.workflow.removed",
                        workflow_id=note.workflow_id,
                        state=str(note.state) or None,
                    )
                    self._moved.set()
                case _:
                    self._record(
                        "tink.workflow.changed",
                        workflow_id=note.workflow_id,
                        state=str(note.state),
                        before=str(note.before) or None,
                    )
                    self._moved.set()
        if notes:
            self._set_alarm()
        if self._state_file is not None:
            self._keep(self._state_file)

    def _keep(self, file: Path) -> None:
        try:
            state.write(file, self.engine.workflows.values())
        except OSError as error:
            self._state_file = None
            self._record("tink.state.lost", file=str(file), reason=error.strerror)

    def _set_alarm(self) -> None:
        """Be woken when v0.25's controller would look at a global timeout."""
        if self._alarm is not None:
            self._alarm.cancel()
        due_s = self._desk.engine.next_wake_s
        if due_s is not None and self._server is not None:
            delay_s = max(0.0, due_s - self._desk.wall()) + 0.01
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self._publish(self._desk.engine.tick(self._desk.wall()))
        self._set_alarm()

    def _handlers(self) -> grpc.GenericRpcHandler:
        methods = {
            "GetWorkflowContexts": self._streamed("GetWorkflowContexts", self._workers.contexts),
            "GetWorkflowActions": self._single("GetWorkflowActions", self._workers.actions),
            "GetAction": self._single("GetAction", self._agents.get_action),
            "ReportActionStatus": self._single("ReportActionStatus", self._report),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _single(self, rpc: str, handler: Unary) -> grpc.RpcMethodHandler[bytes, bytes]:
        if self._misbehaviour is not None:
            handler = self._misbehaviour.unary(rpc, handler)
        return grpc.unary_unary_rpc_method_handler(handler)

    def _streamed(self, rpc: str, handler: Stream) -> grpc.RpcMethodHandler[bytes, bytes]:
        if self._misbehaviour is not None:
            handler = self._misbehaviour.stream(rpc, handler)
        return grpc.unary_stream_rpc_method_handler(handler)

    async def _report(self, request: bytes, context: Context) -> bytes:
        if report_protocol(request) is Protocol.V2:
            return await self._agents.report(request, context)
        return await self._workers.report(request, context)

    def _peer_of(self, peer: str) -> str:
        return self._front.peer_of(peer) if self._front else peer

    def _make_front(self) -> Front:
        tls, certificate = self._tls, None
        if tls is not None:
            certificate = Certificate(chain=tls.certificate_chain, key=tls.private_key)
        return Front(
            bind=self._bind,
            port=self.port,
            record=self._record,
            certificate=certificate,
            client_ca=tls.client_ca if tls else None,
            decide=self._decide,
            issue=self._issue,
            fail=self._fail,
        )
